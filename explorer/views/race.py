"""Optimizers side by side: the same instances, starts and batches, one colour a lane."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import holoviews as hv
import numpy as np
import pandas as pd

from explorer.records import History
from explorer.views import losses
from explorer.views.losses import Columns
from explorer.views.style import FIGURE, LINE_LOOKS, LOG_TICKS, LOSS_LOOKS, Hook, Look, called

LOOKS = (
    Look("#3b82d6", "solid", 2.5),
    Look("#e07b00", "dashed", 2.5),
    Look("#12936f", "solid", 2.5),
    Look("#c2468f", "dashed", 2.5),
    Look("#8a6d00", "dotdash", 2.5),
    Look("#6f5bd0", "solid", 2.5),
    Look("#00868f", "dashed", 2.5),
    Look("#b3423a", "dotdash", 2.5),
)
"""Colour and dash of each lane, which bounds their number."""


class Lane(NamedTuple):
    """One optimizer in the race: its name, its losses, and its outcomes (one row a run, as a result has them)."""

    name: str
    history: History
    outcomes: pd.DataFrame


def columns(lane: Lane | None, loss: str, seconds: bool, start: int = 0, run: int | None = None) -> Columns:
    """Median and quartiles of a loss (a key of `LOSS_LOOKS`) from epoch `start` + 1 on, over epochs or seconds.

    run: that run's loss instead.
    """
    if lane is None or (run is not None and run >= len(lane.history.runs)):
        return {"x": [], "loss": [], "low": [], "high": []}
    table = losses.columns(lane.history, start, [loss], run)[loss]
    clock = lane.history.seconds[start:].tolist() if seconds else table["epoch"]
    return {"x": clock, "loss": table["loss"], "low": table["low"], "high": table["high"]}


def kept_test(history: History) -> np.ndarray:
    """`[R, E]`: after each epoch, the test loss of the model that has the best validation loss so far."""
    _, val, test = history.losses
    finite = np.where(np.isfinite(val), val, np.inf)
    best = np.minimum.accumulate(finite, axis=1)
    improved = np.concatenate([np.ones((len(best), 1), bool), best[:, 1:] < best[:, :-1]], axis=1)
    at = np.maximum.accumulate(np.where(improved, np.arange(best.shape[1]), 0), axis=1)
    return np.take_along_axis(test, at, axis=1)


def epochs_to_threshold(lane: Lane) -> np.ndarray:
    """`[R]`: the first epoch after which the kept model's test loss is at or under the threshold; ∞ if never."""
    if not lane.history.epoch:
        return np.full(len(lane.history.runs), np.inf)
    passed = kept_test(lane.history) <= lane.outcomes.threshold.to_numpy()[:, None]
    return np.where(passed.any(axis=1), passed.argmax(axis=1) + 1.0, np.inf)


def leaderboard(lanes: Sequence[Lane]) -> pd.DataFrame:
    """One row a lane, best first by median α: pass rate, medians of α and quality, median epochs and seconds to the
    threshold (∞ where most runs never get there), and by how many instances it beats and loses to the first lane."""
    rows = []
    for lane in lanes:
        reached = epochs_to_threshold(lane)
        clock = np.concatenate([[0.0], lane.history.seconds])
        seconds = np.array([clock[int(epoch)] if np.isfinite(epoch) else np.inf for epoch in reached])
        wins, defeats = _duels(lane.outcomes, lanes[0].outcomes)
        rows.append(
            {
                "optimizer": lane.name,
                "pass rate": float(lane.outcomes.passed.to_numpy().mean()),
                "α": _median(lane.outcomes.alpha),
                "quality": _median(lane.outcomes.quality),
                "epochs to threshold": float(np.median(reached)),
                "seconds to threshold": float(np.median(seconds)),
                "wins": wins,
                "losses": defeats,
            }
        )
    return pd.DataFrame(rows).sort_values("α", na_position="last", ignore_index=True) if rows else pd.DataFrame()


def _median(column: pd.Series) -> float:
    """The median of what is known; NaN where nothing is."""
    values = column.to_numpy()
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")


def _duels(mine: pd.DataFrame, theirs: pd.DataFrame) -> tuple[int, int]:
    """On how many pairs of runs with the same seed the test loss is below and above the other's."""
    same = mine.seed.to_numpy()[:, None] == theirs.seed.to_numpy()
    here, there = mine.test_loss.to_numpy()[:, None], theirs.test_loss.to_numpy()
    return int((same & (here < there)).sum()), int((same & (here > there)).sum())


def window(drawn: Iterable[Columns], threshold: float | None) -> losses.Window:
    """Axes that hold every curve that is drawn."""
    ends, values = [1.0], [] if threshold is None else [threshold]
    for curve in drawn:
        shown = np.array(curve["loss"], dtype=float)
        shown = shown[np.isfinite(shown)]
        if shown.size:
            ends.append(curve["x"][-1])
            values += [float(shown.min()), float(shown.max())]
    low, high = (min(values), max(values)) if values else (0.01, 1.0)
    return losses.Window(losses.nice(max(ends) * 1.02), 1 / losses.nice(1.2 / low), losses.nice(1.1 * high))


def race(hooks: Mapping[str, Hook] | None = None) -> hv.Overlay:
    """An empty plot with room for every lane: data comes through the hooks' data sources, as in the loss view.

    hooks: by role (`lane 0` …, `threshold`, `figure`).
    """
    line: Any = hv.HLines([], label="threshold")
    look = LINE_LOOKS["threshold"]
    options = {"color": look.color, "line_dash": look.dash, "line_width": look.width, "show_legend": False}
    elements = [line.opts(hooks=called(hooks, "threshold"), **options)]
    for index, look in enumerate(LOOKS):
        curve: Any = hv.Curve(([], [], [], []), "x", ["loss", "low", "high"], label=role(index))
        elements.append(
            curve.opts(
                color=look.color,
                line_dash=look.dash,
                line_width=look.width,
                tools=["hover"],
                hover_tooltips=[
                    ("at", "@x{0.0}"),
                    ("median", "@loss{0.0000}"),
                    ("quartiles", "@low{0.000}–@high{0.000}"),
                ],
                hooks=[losses.band("x"), *called(hooks, role(index))],
                show_legend=False,
            )
        )
    overlay: Any = hv.Overlay(elements)
    return overlay.opts(
        logy=True,
        xlim=(0, 50),
        ylim=(0.02, 2),
        yticks=LOG_TICKS,
        yformatter=losses.plain_ticks(),
        xlabel="epoch",
        ylabel="mean squared error",
        show_grid=True,
        **FIGURE,
        hooks=called(hooks, "figure"),
    )


def role(index: int) -> str:
    """The role of a lane's curve."""
    return f"lane {index}"


CHOICES = tuple(LOSS_LOOKS)
"""Losses that can be raced."""
