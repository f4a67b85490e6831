"""How long a tournament takes: measured here in a few epochs, or read off fleets that have ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from explorer.tournament.training import train
from explorer.tournament.units import Outcome, Unit

CALIBRATION = 3
"""Epochs that a calibration trains; the first one compiles."""


class Kind(NamedTuple):
    """What decides how long an epoch of a fleet takes."""

    submission: str
    workload: str
    trials: int


class Cost(NamedTuple):
    """Seconds by the clock on the wall: to set a fleet up, and for each epoch with its evaluation."""

    start: float
    epoch: float


def kind(unit: Unit) -> Kind:
    """The kind of a unit."""
    return Kind(unit.submission, unit.workload, len(unit.points))


def costs(units: Iterable[Unit], outcomes: Mapping[str, Outcome], device: str) -> dict[Kind, Cost]:
    """What fleets of each kind have cost that ended on this device (in words, as outcomes have it)."""
    found: dict[Kind, list[float]] = {}
    for unit in units:
        outcome = outcomes.get(unit.key)
        if outcome is not None and outcome.device == device:
            epochs = max((trial.trained for trial in outcome.trials), default=0)
            found.setdefault(kind(unit), []).extend([outcome.seconds / epochs] if epochs else [])
    return {each: Cost(0.0, float(np.median(seconds))) for each, seconds in found.items() if seconds}


def samples(units: Sequence[Unit], known: Iterable[Kind]) -> list[Unit]:
    """Units to calibrate so that every kind can be told: each submission on one workload, and one submission on each
    workload, for each number of trials."""
    firsts, wanted = {unit.ruleset: unit for unit in reversed(units)}, {}
    for unit in units:
        first = firsts[unit.ruleset]
        if first.submission == unit.submission or first.workload == unit.workload:
            wanted.setdefault(kind(unit), unit)
    return [unit for each, unit in wanted.items() if each not in set(known)]


def calibrate(
    units: Iterable[Unit], device: str = "auto", interrupted: Callable[[], bool] = lambda: False
) -> Iterator[tuple[Kind, Cost]]:
    """Train a few epochs of each unit, and say what its kind costs as soon as that is known."""
    for unit in units:
        began = time.perf_counter()
        outcome = train(replace(unit, targets=(), max_epochs=CALIBRATION), device, interrupted)
        if outcome is None:
            return
        if len(outcome.clock) > 1:
            # The clock has no evaluation in it, `seconds` has: its share is that of the whole.
            epoch = float(np.median(np.diff(outcome.clock))) * outcome.seconds / outcome.clock[-1]
            whole = time.perf_counter() - began
            yield kind(unit), Cost(max(0.0, whole - epoch * len(outcome.clock)), epoch)


def at_most(pending: Sequence[Unit], known: Mapping[Kind, Cost]) -> float:
    """Seconds that these units take, one after the other, if every run needs all its epochs; NaN if nothing is known.

    A kind that is not known is scaled from those that are, as if an optimizer cost the same share on every workload:
    log t = a(submission) + b(workload) + c log(trials), by least squares.
    """
    if not known:
        return float("nan") if pending else 0.0
    kinds = list(dict.fromkeys([*known, *map(kind, pending)]))
    columns = [sorted({each[place] for each in kinds}) for place in (0, 1)]
    terms = np.array([
        [
            1.0,
            np.log(each.trials),
            *(each.submission == name for name in columns[0]),
            *(each.workload == name for name in columns[1]),
        ]
        for each in kinds
    ])  # fmt: skip
    measured = np.log([cost.epoch for cost in known.values()])
    fitted = np.exp(terms @ np.linalg.lstsq(terms[: len(known)], measured, rcond=None)[0])
    start = float(np.mean([cost.start for cost in known.values()]))
    costs = {each: known.get(each, Cost(start, float(epoch))) for each, epoch in zip(kinds, fitted, strict=True)}
    return float(sum(costs[kind(unit)].start + unit.max_epochs * costs[kind(unit)].epoch for unit in pending))


def likely(units: Iterable[Unit], outcomes: Mapping[str, Outcome]) -> float:
    """Seconds that the units without an outcome will take, one after the other, if they end as early as those that have
    one: of their own kind, else of their workload, else all; NaN if there is none."""
    taken: dict[object, list[float]] = {}
    pending = []
    for unit in units:
        if unit.key not in outcomes:
            pending.append(unit)
            continue
        for group in (kind(unit), unit.workload, None):
            taken.setdefault(group, []).append(outcomes[unit.key].seconds)
    nothing = [float("nan")]
    return float(
        sum(np.mean(taken.get(kind(unit)) or taken.get(unit.workload) or taken.get(None, nothing)) for unit in pending)
    )
