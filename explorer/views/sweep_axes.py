"""Where the values and the scores of a sweep stand on its axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from explorer.views.losses import nice
from explorer.views.sensitivity import SCORES, Point

NAN = float("nan")
REACH = {True: 1000.0, False: 10.0}
"""How many times the best loss (or the threshold) is drawn at most, on a log axis and on a linear one."""


class Scale(NamedTuple):
    """Places of values along an axis: where it is logarithmic log₁₀, and for 0 `zero`, a decade under the least."""

    log: bool
    zero: float

    def at(self, value: float) -> float:
        """The place of a value."""
        if not self.log:
            return value
        return float(np.log10(value)) if value > 0 else self.zero


class Frame(NamedTuple):
    """What the axes show.  bound: the threshold, NaN if there is none.  edge: the height at which everything worse is
    drawn.  loss: whether worse is higher.  ticks: along x, text by place."""

    start: float
    end: float
    low: float
    high: float
    bound: float
    edge: float
    loss: bool
    scale: Scale
    ticks: dict[float, str]

    def within(self, height: float) -> float:
        """A score as it is drawn: at the edge if it is worse."""
        if np.isnan(height):
            return NAN
        return min(height, self.edge) if self.loss else max(height, self.edge)


def scale(values: Iterable[float]) -> Scale:
    """Logarithmic where the positive values span a decade or more and none is negative."""
    values = list(values)
    positive = [value for value in values if value > 0]
    if not positive or min(values) < 0 or max(positive) < 10 * (1 - 1e-9) * min(positive):
        return Scale(False, 0.0)
    return Scale(True, float(np.log10(min(positive))) - 1)


def frame(tables: Sequence[Sequence[Point]], bound: float, score: str) -> Frame:
    """Axes for these lanes' points: what is far worse than the best, or than the threshold, goes to the edge."""
    shown = SCORES[score]
    values = sorted({point.values[0] for table in tables for point in table})
    across = scale(values)
    places = [across.at(value) for value in values] or [0.0]
    margin = 0.05 * (places[-1] - places[0]) or 0.5
    ticks = _apart({across.at(value): spell(value) for value in values}, places[-1] - places[0])
    losses = [shown.turned(part) for table in tables for point in table for part in point[1:4]]
    least, most = span(losses, shown.turned(bound), shown.loss)
    if shown.loss:
        low, high = 1 / nice(1.25 / least), nice(1.6 * most)
        edge = high * (low / high) ** 0.04
    else:
        low, high = float(np.floor(9.5 - 10 * most) / 10), float(np.ceil(10.5 - 10 * least) / 10)
        edge = low + 0.04 * (high - low)
    return Frame(places[0] - margin, places[-1] + margin, low, high, bound, edge, shown.loss, across, ticks)


def spell(value: float) -> str:
    """A hyperparameter's value as one would type it."""
    return f"{value:.6g}"


def span(losses: Iterable[float], bound: float, log: bool) -> tuple[float, float]:
    """Least and greatest of losses and bound, without what is far worse than both; 0.1 to 1 where all is open."""
    known = [loss for loss in losses if np.isfinite(loss) and loss > 0]
    drawn = known + [bound] * bool(np.isfinite(bound) and bound > 0)
    if not drawn:
        return 0.1, 1.0
    return min(drawn), min(max(drawn), REACH[log] * max(min(known, default=0.0), *drawn[len(known) :], 0.0))


def _apart(texts: dict[float, str], span: float) -> dict[float, str]:
    """Without those that would stand closer than a sixteenth of the span to the one before."""
    kept: dict[float, str] = {}
    for place, text in texts.items():
        if not kept or place - list(kept)[-1] >= span / 16:
            kept[place] = text
    return kept
