"""What a step of each optimizer costs, beside Adam's: the other half of `explorer bench`."""

from __future__ import annotations

from collections.abc import Callable

import torch
import typer

from explorer import optimizers
from explorer.challenge import Challenge
from explorer.cli.timing import Row, in_turns
from explorer.training import Fleet, devices
from explorer.training.graph import capture, tensors_of

STEPS = 40
"""Steps that are timed together: a few refreshes of what some optimizers compute every tenth step."""

RIVAL = "adam"


def steps(depth: int, runs: int, device: torch.device, rounds: int) -> list[Row]:
    """Time a step of every optimizer on the shelf, all in turns, and print a table, the cheapest first."""
    challenge = Challenge.preset("tig", num_hidden_layers=depth)
    rows = [
        Row(depth, name, runs, _ready(challenge, name, runs, device), STEPS)
        for name in [RIVAL, *(name for name in optimizers.names() if name != RIVAL)]
    ]
    in_turns(rows, device, rounds)
    typer.echo(f"{'optimizer':<22} {'a step, µs':>11} {'a run, µs':>10} {'× ' + RIVAL:>7}")
    for row in sorted(rows, key=lambda row: row.a_run):
        step = row.a_run * 1e3
        typer.echo(f"{row.name:<22} {step * runs:>11.1f} {step:>10.2f} {row.a_run / rows[0].a_run:>7.2f}")
    return rows


def _ready(challenge: Challenge, name: str, runs: int, device: torch.device) -> Callable[[], object]:
    """`STEPS` updates of a fleet that has trained an epoch, as one CUDA graph where that can be."""
    fleet = Fleet(challenge, optimizers.create(name), range(runs), str(device))
    fleet.advance()

    def once() -> None:
        for _ in range(STEPS):
            fleet.update()

    with devices.at_work(fleet.device, fleet.precision):
        if fleet.captured:
            return capture(once, fleet.update, tensors_of((fleet.params, fleet.state)))

    def uncaptured() -> None:
        with devices.at_work(fleet.device, fleet.precision):
            once()

    return uncaptured
