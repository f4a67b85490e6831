"""The live plots of a sweep: HoloViews draws them once, then their data sources are filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import panel as pn

from explorer.app.figure import drop_closed, move, replace
from explorer.views import sweep as view
from explorer.views.losses import set_labels
from explorer.views.race import LOOKS, role
from explorer.views.sensitivity import SCORES, Point
from explorer.views.sweep import Pick
from explorer.views.sweep_axes import frame

CURVES = ("threshold", "points", "rings", *map(role, range(len(LOOKS))), "figure")
HEAT = ("cells", "figure")
"""Roles of the elements of the two kinds of figure."""


class SweepFigure:
    """Curves on a logarithmic or a linear axis, or a heat map: one of the three is shown.

    `on_tap` is called with what a person taps, `on_render` when a copy of a figure has been made.
    """

    def __init__(self, on_render: Callable[[], None], on_tap: Callable[[Pick], None]) -> None:
        self._on_render, self._on_tap = on_render, on_tap
        self._picks: list[Pick] = []
        self._rendered: dict[str, dict[Any, dict[str, Any]]] = {}
        self._boxes: dict[str, pn.Column] = {}
        self.panel = pn.Column(sizing_mode="stretch_width", margin=0)

    def curves(
        self, tables: Sequence[Sequence[Point]], threshold: float, score: str, name: str, picked: Pick | None
    ) -> None:
        """Show a curve a lane; name: what the values are of."""
        axes = frame(tables, threshold, score)
        data = view.curve_columns(tables, axes)
        data["points"], self._picks = view.point_columns(tables, axes)
        data["rings"] = view.ring_columns(tables, axes, score, picked)
        data["threshold"] = {"y": [] if np.isnan(threshold) else [threshold]}
        for plots in self._shown("log" if SCORES[score].loss else "linear"):
            for key, columns in data.items():
                replace(plots[key].handles["cds"], columns)
            span = (axes.start, axes.end, axes.low, axes.high)
            self._frame(plots, span, (name, SCORES[score].axis), {"xaxis": axes.ticks})

    def heat(self, table: Sequence[Point], lane: int, score: str, names: Sequence[str], picked: Pick | None) -> None:
        """Show the cells of one lane; names: what the values are of, along x and along y."""
        cells, shades = view.heat_columns(table, lane, score, picked)
        self._picks = [(lane, point.values) for point in table]
        for plots in self._shown("heat"):
            handles = plots["cells"].handles
            handles["color_color_mapper"].update(
                low=shades.low, high=shades.high, palette=view.PALETTES[SCORES[score].loss]
            )
            handles["color_colorbar"].title = f"{SCORES[score].axis}, median"
            _label(handles["color_colorbar"], shades.bar)
            replace(handles["cds"], cells)
            span = (-0.5, len(shades.x) - 0.5, -0.5, len(shades.y) - 0.5)
            self._frame(plots, span, names, {"xaxis": shades.x, "yaxis": shades.y})

    def _shown(self, kind: str) -> list[dict[str, Any]]:
        """Show one of the three, drawn when it is first needed: that takes a third of a second."""
        if kind not in self._boxes:
            self._rendered[kind] = {}
            names = HEAT if kind == "heat" else CURVES
            hooks = {name: self._hook(kind, name) for name in names}
            element = view.heat(hooks) if kind == "heat" else view.curves(kind == "log", hooks)
            plot = pn.pane.HoloViews(element, sizing_mode="stretch_width", height=440, linked_axes=False)
            self._boxes[kind] = pn.Column(plot, sizing_mode="stretch_width", margin=0)
            self.panel.append(self._boxes[kind])
        for name, box in self._boxes.items():
            box.visible = name == kind
        drop_closed(self._rendered[kind])
        return list(self._rendered[kind].values())

    def _frame(
        self,
        plots: dict[str, Any],
        span: tuple[float, ...],
        names: Sequence[str],
        ticks: Mapping[str, dict[float, str]],
    ) -> None:
        """Bring the axes up to date; only where they should move, so that a person may zoom."""
        handles = plots["figure"].handles
        if plots.get("span") != span:
            plots["span"] = span
            move(handles["x_range"], *span[:2])
            move(handles["y_range"], *span[2:])
        for axis, name in zip(("xaxis", "yaxis"), names, strict=True):
            handles[axis].axis_label = name
        for axis, texts in ticks.items():
            _label(handles[axis], texts)

    def _hook(self, kind: str, name: str) -> Any:
        def found(plot: Any, element: Any) -> None:
            self._rendered[kind].setdefault(plot.state, {})[name] = plot
            if "cds" in plot.handles:
                plot.handles["cds"].name = f"sweep {kind} {name}"
            if name in ("points", "cells"):
                selected = plot.handles["cds"].selected
                selected.on_change("indices", lambda attribute, old, new: self._tapped(selected, new))
            if name == "figure":
                self._on_render()

        return found

    def _tapped(self, selected: Any, indices: list[int]) -> None:
        if indices:
            selected.indices = []  # so that the same point can be tapped again
            if indices[0] < len(self._picks):
                self._on_tap(self._picks[indices[0]])


def _label(axis: Any, texts: dict[float, str]) -> None:
    if axis.major_label_overrides != texts:
        set_labels(axis, texts)
