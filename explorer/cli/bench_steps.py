"""What a step of each optimizer costs, beside Adam's: the other half of `explorer bench`."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
import typer

from explorer import optimizers
from explorer.challenge import Challenge
from explorer.cli.timing import Row, in_turns
from explorer.training import Fleet

RIVAL, YARDSTICK = "adam", "adam, apart"
WARM_UP = 10
"""Epochs before the first that counts, after two cycles of who refreshes something: by then both kinds are captured."""


class Apart(Fleet):
    """A fleet whose optimizer makes its step after all gradients are there, as a kernel of its own."""

    joins = False


class Still(Apart):
    """A fleet that never moves: what its epochs take is everything but the optimizer."""

    def update(self) -> None:
        pass


def steps(depth: int, runs: int, device: torch.device, rounds: int) -> list[Row]:
    """Time epochs with every optimizer on the shelf and with none, in turns; print what a step adds, the least first.

    The first row is the epoch with none.  The measure of all is Adam's step as a kernel of its own; optimizers that
    move weights where their gradients arise hide part of their cost in the backward.  Proposals count as part of the
    step, and refreshes by their share.
    """
    challenge = Challenge.preset("tig", num_hidden_layers=depth, max_epochs=10000, patience=10000)
    made = [("no optimizer", Still, RIVAL), (YARDSTICK, Apart, RIVAL)]
    made += [(name, Fleet, name) for name in optimizers.names()]
    rows = []
    for name, kind, key in made:
        fleet = kind(challenge, optimizers.create(key), range(runs), str(device))
        together = fleet._bound.cycle()
        for _ in range(2 * together + WARM_UP if fleet.captured else 1):
            fleet.advance()
        rows.append(Row(depth, name, runs, _epochs(fleet, together), together))
    in_turns(rows, device, rounds)
    batches = len(challenge.batches())
    rival = rows[1]
    typer.echo(f"{'optimizer':<22} {'epoch, ms':>10} {'a step, µs':>11} {'× ' + RIVAL:>7}")
    for row in sorted(rows, key=lambda row: row.a_run):
        step, beside = added(row, rows[0]) / batches, added(row, rows[0]) / added(rival, rows[0])
        typer.echo(f"{row.name:<22} {row.a_run * runs:>10.3f} {step * 1e3:>11.1f} {beside:>7.2f}")
    return rows


def _epochs(fleet: Fleet, count: int) -> Callable[[], object]:
    return lambda: [fleet.advance() for _ in range(count)]


def added(row: Row, nothing: Row) -> float:
    """Milliseconds that an epoch of `row` takes longer than one of `nothing`: the median of their differences."""
    pairs = zip(row.milliseconds, nothing.milliseconds, strict=True)
    return statistics.median(mine - other for mine, other in pairs)
