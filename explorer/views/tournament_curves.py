"""The curves behind one cell of a tournament: a submission's trials on a workload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import holoviews as hv
import numpy as np

from explorer.views.losses import plain_ticks
from explorer.views.race import LOOKS
from explorer.views.style import FIGURE, LINE_LOOKS, LOG_TICKS, Hook, number
from explorer.views.tournament import drawn_by


class Curve(NamedTuple):
    """A trial's curve: how far the median instance is from its target, by epoch or second.

    losses: validation `[instance][epoch]`, None after a run's end.  clock: what the epochs' ends are drawn at.
    """

    study: int
    trial: int
    hyperparameters: str
    losses: Sequence[Sequence[float | None]]
    clock: Sequence[float]
    reached: float
    best: bool


def nearest(losses: Sequence[Sequence[float | None]], targets: Sequence[float]) -> np.ndarray:
    """`[E]`: best validation loss so far over the target, of the instance with which most are at theirs: at most 1 from
    the epoch on in which a trial reaches the workload."""
    found = np.array(losses, dtype=float)
    if not found.size:
        return np.empty(0)
    best = np.fmin.accumulate(np.where(np.isnan(found), np.inf, found), axis=1) / np.array(targets)[:, None]
    return np.sort(best, axis=0)[len(targets) // 2]


def curve_columns(curves: Sequence[Curve], targets: Sequence[float]) -> dict[str, dict[str, list[Any]]]:
    """`lines`: a row a trial, a colour a study, the best trial of a study strong.  `ends`: where each was reached, or
    where it was left."""
    lines: dict[str, list[Any]] = {name: [] for name in ("xs", "ys", "text", "color", "width", "alpha")}
    ends: dict[str, dict[str, list[Any]]] = {
        role: {name: [] for name in ("x", "y", "color")} for role in ("hit", "miss")
    }
    decided = {curve.study for curve in curves if np.isfinite(curve.reached)}
    for curve in curves:
        ys = nearest(curve.losses, targets)
        ys = np.where(np.isfinite(ys), ys, np.nan)
        xs = list(curve.clock[: len(ys)])
        color = LOOKS[curve.study % len(LOOKS)].color
        ended = "not there when the study’s best was" if curve.study in decided else "missed"
        said = f"{ended}, {number(float(np.nanmin(ys)))} × the target" if np.isfinite(ys).any() else "diverged"
        said = f"reached at {curve.reached:.4g}" if np.isfinite(curve.reached) else said
        text = f"study {curve.study}, trial {curve.trial}, {curve.hyperparameters}: {said}"
        width, alpha = (3.0, 1.0) if curve.best else (1.2, 0.55)
        for name, value in zip(lines, (xs, ys.tolist(), text, color, width, alpha), strict=True):
            lines[name].append(value)
        if len(ys):
            hit = np.isfinite(curve.reached)
            at = (curve.reached, 1.0, color) if hit else (xs[-1], float(ys[-1]), color)
            for name, value in zip(ends["hit"], at, strict=True):
                ends["hit" if hit else "miss"][name].append(value)
    return {"lines": lines, **ends}


def curves(hooks: Mapping[str, Hook]) -> Any:
    """An empty plot of a cell's curves.  hooks: `lines`, `hit`, `miss`, `figure`."""
    empty = curve_columns([], [])
    paths: Any = hv.Path([{"x": [1.0], "y": [1.0]}], ["x", "y"])
    target: Any = hv.HLine(1.0)
    points: dict[str, Any] = {role: hv.Points({"x": [], "y": []}, ["x", "y"]) for role in ("hit", "miss")}

    def called(role: str, **fields: str) -> list[Hook]:
        return [drawn_by(empty[role], **fields), hooks[role]]

    return hv.Overlay([
        target.opts(color=LINE_LOOKS["threshold"].color, line_width=2),
        paths.opts(
            tools=["hover"], hover_tooltips=[("", "@text")],
            hooks=called("lines", line_color="color", line_width="width", line_alpha="alpha"),
        ),
        points["hit"].opts(size=10, hooks=called("hit", line_color="color", fill_color="color")),
        points["miss"].opts(
            fill_color=None, line_width=1.8, size=11, marker="triangle", angle=-90,
            hooks=called("miss", line_color="color"),
        ),
    ]).opts(
        logy=True,
        xlim=(0, 100),
        ylim=(0.5, 10),
        xlabel="epoch",
        ylabel="best validation loss over the target",
        yticks=LOG_TICKS,
        yformatter=plain_ticks(),
        show_grid=True,
        **FIGURE,
        hooks=[hooks["figure"]],
    )  # fmt: skip
