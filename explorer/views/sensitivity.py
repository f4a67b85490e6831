"""What each value of a swept hyperparameter reaches, over the runs that share it.  Numbers only."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from explorer.records import Status
from explorer.views.race import Lane


class Score(NamedTuple):
    """A column of the outcomes; what its axis is called; whether it is a loss (low is good, drawn on a log axis)."""

    column: str
    axis: str
    loss: bool

    def turned(self, values: Any) -> Any:
        """The score as a loss, or such a loss as the score: quality is (reference − MSE) / reference, 1 − quality a
        loss."""
        return values if self.loss else 1 - values


SCORES = {
    "test loss": Score("test_loss", "test MSE of the kept model", True),
    "validation loss": Score("val_loss", "validation MSE of the kept model", True),
    "α": Score("alpha", "α at which a run would just pass", True),
    "quality": Score("quality", "quality", False),
}


class Point(NamedTuple):
    """The runs of one lane that share their values of some hyperparameters.

    values: those.  median, low, high: of the score over the runs, with its quartiles; a run that ended without a model
    is worse than any other (±∞), one before its first epoch is left out (NaN if all are).  runs, passed: how many.
    lost: how many diverged, with or without a model kept from before, or failed without one.
    """

    values: tuple[float, ...]
    median: float
    low: float
    high: float
    runs: int
    passed: int
    lost: int


def swept(lane: Lane) -> list[str]:
    """The hyperparameters that differ between the lane's runs."""
    runs = [run.hyperparameters for run in lane.history.runs]
    return [name for name in runs[0] if len({run[name] for run in runs}) > 1]


def choices(lanes: Sequence[Lane]) -> list[tuple[str, ...]]:
    """What can be looked at: each hyperparameter that some lane sweeps, then each two that one lane sweeps together."""
    names = [swept(lane) for lane in lanes]
    singles = [(name,) for found in names for name in found]
    return list(dict.fromkeys(singles + [pair for found in names for pair in combinations(found, 2)]))


def points(lane: Lane, names: Sequence[str], score: str) -> list[Point]:
    """One entry for each value (or pair of values) of these hyperparameters, ascending; whatever else differs between
    the runs is pooled."""
    shown, table = SCORES[score], lane.outcomes
    values = np.array([[float(run.hyperparameters[name]) for name in names] for run in lane.history.runs])
    at, group = np.unique(values, axis=0, return_inverse=True)
    group = group.reshape(-1)
    reached = shown.turned(table[shown.column].to_numpy(float))
    status = table.status.to_numpy(str)
    gone = ~np.isfinite(reached) & ~np.isin(status, [Status.RUNNING, Status.STOPPED])
    quartiles = _quartiles(np.where(gone, np.inf, reached), group)
    low, median, high = (shown.turned(part).tolist() for part in quartiles)
    if not shown.loss:
        low, high = high, low
    lost = gone | (status == Status.DIVERGED)
    counts = [np.bincount(group, of).astype(int).tolist() for of in (None, table.passed.to_numpy(float), lost)]
    return [Point(tuple(where), *rest) for where, *rest in zip(at.tolist(), median, low, high, *counts, strict=True)]


def best(table: Sequence[Point], score: str) -> Point | None:
    """The point with the best median; None where there is none yet."""
    known = [point for point in table if np.isfinite(point.median)]
    return min(known, key=lambda point: SCORES[score].turned(point.median), default=None)


def tolerance(table: Sequence[Point], score: str) -> tuple[float, float] | None:
    """From which value to which, around the best one, every median is (as a loss) at most twice the best; None where
    there is no best.  `table`: of one hyperparameter."""
    winner = best(table, score)
    if winner is None:
        return None
    turned = SCORES[score].turned
    good = [turned(point.median) <= 2 * turned(winner.median) for point in table]
    first = last = [point is winner for point in table].index(True)
    while first > 0 and good[first - 1]:
        first -= 1
    while last < len(table) - 1 and good[last + 1]:
        last += 1
    return table[first].values[0], table[last].values[0]


def bound(lanes: Sequence[Lane], score: str) -> float:
    """What a model that is just at the threshold would score, median over the runs; NaN where it is not known, and for
    the validation loss, which no threshold is about."""
    shown, found = SCORES[score], [np.empty(0)]
    for lane in lanes:
        table = lane.outcomes
        if score == "test loss":
            found.append(table.threshold.to_numpy(float))
        elif score != "validation loss":
            # α and 1 − quality are proportional to the test loss, except where a quality was clamped at ±10.
            table = table[(table.quality.abs() != 10) | (score == "α")]
            scored = shown.turned(table[shown.column]) * table.threshold / table.test_loss
            found.append(shown.turned(scored.to_numpy(float)))
    known = np.concatenate(found)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if known.size else float("nan")


def _quartiles(values: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower quartile, median, upper quartile of `values [R]` in each group, interpolated; NaN is left out, ∞ is not."""
    order = np.lexsort((values, group))  # NaN last in each group
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))
    known = np.bincount(group, ~np.isnan(values)).astype(int)
    ordered = values[order]
    parts = []
    for share in (0.25, 0.5, 0.75):
        at = np.maximum(known - 1, 0) * share
        below, above = ordered[starts + np.floor(at).astype(int)], ordered[starts + np.ceil(at).astype(int)]
        # Not below + (above − below) · rest alone: between ∞ and ∞, and 0 of the way to ∞, that is NaN.
        rest = at % 1
        with np.errstate(invalid="ignore"):
            parts.append(np.where((rest == 0) | (below == above), below, below + (above - below) * rest))
    return tuple(parts)  # pyright: ignore[reportReturnType]
