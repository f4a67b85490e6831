"""How hard a challenge an optimizer passes: hidden layers against accuracy factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

import holoviews as hv
import numpy as np
import pandas as pd
from bokeh.models import FixedTicker
from bokeh.palettes import Cividis256

from explorer.records import Status
from explorer.views.losses import TOOLS
from explorer.views.race import LOOKS, role
from explorer.views.style import FIGURE, LINE_LOOKS, Hook, called

Table = dict[str, list[Any]]
NAN = float("nan")
HARDEST = 3999
"""The greatest accuracy factor: at 4000 the threshold would be 0."""
STEP = 50
FACTORS = np.arange(STEP / 2, 4000, STEP)
"""Accuracy factors at which pass rates are drawn, each for the `STEP` around it."""
FLOORS = {"read-out floor": "readout_floor", "kernel floor": "kernel_floor"}
"""Column of the outcomes that each floor is in; the names are those of their looks."""


class Cell(NamedTuple):
    """What an optimizer reached with some number of hidden layers: one row of outcomes a run."""

    optimizer: str
    depth: int
    outcomes: pd.DataFrame


def pass_rate(outcomes: pd.DataFrame, factors: np.ndarray) -> np.ndarray:
    """The share of runs that pass at each accuracy factor; those without a model do not."""
    return (outcomes.alpha.to_numpy(float)[:, None] <= 4 - np.asarray(factors) / 1000).mean(axis=0)


def frontier(outcomes: pd.DataFrame) -> float:
    """The greatest accuracy factor, a whole number, that at least half of the runs pass; NaN if more fail even 0."""
    return _hardest(outcomes.alpha.to_numpy(float))


def floor_frontier(outcomes: pd.DataFrame, floor: str) -> float:
    """The frontier of runs that end at a floor (a key of `FLOORS`); NaN if more of the floors fail even 0, where the
    floor does not apply, and before any run has finished an epoch."""
    # α is test MSE / (outputs · noise MSE): any run that has both tells the number of outputs.
    names = ("test_loss", "alpha", "noise_mse", FLOORS[floor])
    test, alpha, noise, at_floor = (outcomes[name].to_numpy(float) for name in names)
    known = np.isfinite(test) & (alpha > 0)
    outputs = np.round(np.median((test / (alpha * noise))[known])) if known.any() else np.nan
    return _hardest(at_floor / (outputs * noise))


def _hardest(alpha: np.ndarray) -> float:
    ordered = np.sort(np.where(np.isnan(alpha), np.inf, alpha))
    half = float(ordered[ceil(len(ordered) / 2) - 1])
    if not half <= 4:
        return NAN
    factor = np.floor(1000 * (4 - half))
    factor += half <= 4 - (factor + 1) / 1000  # 1000 (4 − α) may have been rounded down past a whole number
    return float(min(factor, HARDEST))


def optimizers(cells: Sequence[Cell]) -> list[str]:
    """The optimizers in the order in which they come, which their looks follow."""
    return list(dict.fromkeys(cell.optimizer for cell in cells))[: len(LOOKS)]


def rate_columns(cells: Sequence[Cell], optimizer: str) -> dict[str, Table]:
    """The columns of the map of an optimizer's pass rate as plain lists: `cells`, a rectangle for each stretch of
    accuracy factors with the same rate, and on top of them `frontier`, whose `edge` is the same line again."""
    mine = _by_depth(cells, optimizer)
    depths = sorted({cell.depth for cell in cells})
    half = 0.45 * min(np.diff(depths), default=1)
    rows = []
    for cell in mine:
        rates = pass_rate(cell.outcomes, FACTORS)
        starts = np.flatnonzero(np.diff(rates, prepend=-1.0))
        for start, end in zip(starts, [*starts[1:], len(rates)], strict=True):
            rows.append((cell, int(start) * STEP, int(end) * STEP, float(rates[start])))
    rectangles = {
        "left": [float(cell.depth - half) for cell, *_ in rows],
        "bottom": [low for _, low, _, _ in rows],
        "right": [float(cell.depth + half) for cell, *_ in rows],
        "top": [high for _, _, high, _ in rows],
        "color": [rate for *_, rate in rows],
        "depth": [cell.depth for cell, *_ in rows],
        "factors": [f"{low} to {high}" for _, low, high, _ in rows],
        "passes": [f"{round(rate * len(cell.outcomes))} of {len(cell.outcomes)}" for cell, _, _, rate in rows],
    }
    return {"cells": rectangles, "edge": _line(mine), "frontier": _line(mine)}


def line_columns(cells: Sequence[Cell]) -> dict[str, Table]:
    """The columns of the frontiers as plain lists: a curve for each optimizer, each floor's, and all their `points`.

    Where more than half of the runs fail even accuracy factor 0 the curve has a gap, and a ✕ stands at 0.
    """
    found = optimizers(cells)
    curves = [_by_depth(cells, name) for name in found]
    table = {role(index): _line(curves[index] if index < len(curves) else []) for index in range(len(LOOKS))}
    alike = list({cell.depth: cell for cell in reversed(cells)}.values())  # the instances, and their floors, are shared
    for floor in FLOORS:
        heights = {cell.depth: floor_frontier(cell.outcomes, floor) for cell in alike}
        table[floor] = {"x": sorted(heights), "y": [heights[depth] for depth in sorted(heights)]}
    rows = [
        (index, cell, height)
        for index, curve in enumerate(curves)
        for cell, height in zip(curve, table[role(index)]["y"], strict=True)
        if np.isfinite(height) or _tried(cell.outcomes)
    ]
    table["points"] = {
        "x": [cell.depth for _, cell, _ in rows],
        "y": [height if np.isfinite(height) else 0.0 for *_, height in rows],
        "color": [LOOKS[index].color for index, *_ in rows],
        "marker": ["circle" if np.isfinite(height) else "x" for *_, height in rows],
        "optimizer": [cell.optimizer for _, cell, _ in rows],
        "factor": [f"{height:.0f}" if np.isfinite(height) else "not even 0" for *_, height in rows],
        "runs": [len(cell.outcomes) for _, cell, _ in rows],
    }
    return table


def rates(hooks: Mapping[str, Hook] | None = None) -> hv.Overlay:
    """An empty map of the pass rate.  hooks: by role (`cells`, `edge`, `frontier`, `figure`)."""
    columns = rate_columns([], "")
    names = list(columns["cells"])
    tips = [("hidden layers", "@depth"), ("accuracy factor", "@factors"), ("pass", "@passes")]
    cells: Any = hv.Rectangles([], names[:4], names[4:], label="cells")
    colors: dict[str, Any] = {"color": "color", "cmap": list(Cividis256), "clim": (0, 1), "colorbar": True}
    hover: dict[str, Any] = {"tools": ["hover"], "hover_tooltips": tips, "clabel": "share of runs that pass"}
    cells = cells.opts(line_color=None, hooks=called(hooks, "cells"), **colors, **hover, **_COMMON)
    elements = [cells]
    for name, color, width in (("edge", "black", 6), ("frontier", "white", 3)):  # seen on dark cells and on bright ones
        curve: Any = hv.Curve(([], []), "x", "y", label=name)
        elements.append(curve.opts(color=color, line_width=width, hooks=[_dot, *called(hooks, name)], **_COMMON))
    return _figure(elements, hooks)


def lines(hooks: Mapping[str, Hook] | None = None) -> hv.Overlay:
    """An empty plot of frontiers.  hooks: by role (`lane 0` …, a key of `FLOORS`, `points`, `figure`)."""
    looks = LINE_LOOKS | {role(index): look for index, look in enumerate(LOOKS)}
    elements = []
    for name in [*FLOORS, *map(role, range(len(LOOKS)))]:
        curve: Any = hv.Curve(([], []), "x", "y", label=name)
        look = looks[name]
        options: dict[str, Any] = {"color": look.color, "line_dash": look.dash, "line_width": look.width}
        elements.append(curve.opts(hooks=called(hooks, name), **options, **_COMMON))
    columns = line_columns([])["points"]
    tips = [("", "@optimizer"), ("hidden layers", "@x"), ("half pass up to", "@factor"), ("runs", "@runs")]
    points: Any = hv.Scatter(tuple(columns.values()), "x", list(columns)[1:], label="points")
    hover: dict[str, Any] = {"tools": ["hover"], "hover_tooltips": tips, "size": 9}
    elements.append(points.opts(hooks=[_mark, *called(hooks, "points")], **hover, **_COMMON))
    return _figure(elements, hooks, show_grid=True)


_COMMON: dict[str, Any] = {"show_legend": False, "default_tools": TOOLS}


def _figure(elements: list[Any], hooks: Mapping[str, Hook] | None, **options: Any) -> hv.Overlay:
    overlay: Any = hv.Overlay(elements)
    return overlay.opts(
        xlim=(0.5, 10.5),
        ylim=(-100, 4100),
        xlabel="hidden layers",
        ylabel="accuracy factor",
        default_tools=TOOLS,
        **FIGURE,
        hooks=[_fix_ticks, *called(hooks, "figure")],
        **options,
    )


def _fix_ticks(plot: Any, element: Any) -> None:
    """Ticks at the numbers of layers that were trained, which come later."""
    plot.handles["xaxis"].ticker = plot.state.xgrid.ticker = FixedTicker(ticks=[])


def _dot(plot: Any, element: Any) -> None:
    """Markers along a curve, without which one depth alone would show nothing."""
    look = plot.handles["glyph"]
    size = 4 + 2 * look.line_width
    plot.state.scatter("x", "y", source=plot.handles["cds"], size=size, color=look.line_color)


def _mark(plot: Any, element: Any) -> None:
    """Colour and shape of each marker from the data source."""
    source, color = plot.handles["cds"], {"field": "color"}
    # No browser takes HoloViews' empty arrays of numbers for colours; Bokeh takes empty lists for the same as those.
    columns, source.data = list(source.data), {}
    source.data = {name: [] for name in columns}
    plot.handles["glyph"].update(marker={"field": "marker"}, line_color=color, fill_color=color, line_width=2.5)


def _by_depth(cells: Sequence[Cell], optimizer: str) -> list[Cell]:
    return sorted((cell for cell in cells if cell.optimizer == optimizer), key=lambda cell: cell.depth)


def _line(cells: Sequence[Cell]) -> Table:
    return {"x": [cell.depth for cell in cells], "y": [frontier(cell.outcomes) for cell in cells]}


def _tried(outcomes: pd.DataFrame) -> bool:
    """Whether at least half of the runs have a model, or will never have one."""
    return bool((outcomes.alpha.notna() | (outcomes.status != Status.RUNNING)).mean() >= 0.5)
