"""The live plots of a tournament: HoloViews draws them once, then their data sources are filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import panel as pn

from explorer.app.figure import drop_closed, move, replace
from explorer.views import tournament as view
from explorer.views import tournament_curves as curves
from explorer.views import tournament_times as times
from explorer.views.losses import nice, set_labels
from explorer.views.tournament_curves import Curve


class _Figure:
    """A plot, and what HoloViews made of it in every document that shows it."""

    def __init__(
        self, make: Callable[[Mapping[str, Any]], Any], roles: Sequence[str], height: int, on_render: Callable[[], None]
    ) -> None:
        self._name = make.__name__
        self._on_render = on_render
        self._rendered: dict[Any, dict[str, Any]] = {}
        element = make({role: self._hook(role) for role in [*roles, "figure"]})
        self._pane = pn.pane.HoloViews(element, sizing_mode="stretch_width", height=height, linked_axes=False)
        # The box is hidden, never the pane: Panel 1.9 would hand the pane's own properties to Bokeh's figure.
        self.panel = pn.Column(self._pane, sizing_mode="stretch_width", margin=0)

    def plots(self) -> list[dict[str, Any]]:
        """The plots by role, one dictionary a document."""
        drop_closed(self._rendered)
        return list(self._rendered.values())

    def fill(self, columns: Mapping[str, Mapping[str, Any]]) -> None:
        """Give the data sources these columns, by role."""
        for plots in self.plots():
            for role, data in columns.items():
                replace(plots[role].handles["cds"], dict(data))

    def frame(self, span: tuple[float, float, float, float], label: str = "") -> None:
        """Move the axes where they should be, unless they are there already, so that a person may zoom."""
        for plots in self.plots():
            if plots.get("span") != span:
                plots["span"] = span
                move(plots["figure"].handles["x_range"], *span[:2])
                move(plots["figure"].handles["y_range"], *span[2:])
            if label:
                plots["figure"].handles["xaxis"].axis_label = label

    def _hook(self, role: str) -> Any:
        def found(plot: Any, element: Any) -> None:
            self._rendered.setdefault(plot.state, {})[role] = plot
            if "cds" in plot.handles:
                plot.handles["cds"].name = f"tournament {self._name} {role}"
            self._made(role, plot)
            if role == "figure":
                self._on_render()

        return found

    def _made(self, role: str, plot: Any) -> None:
        """What else is to be done with an element that has been drawn."""


class ProfileFigure(_Figure):
    """Performance profiles: ρ(τ) of each submission."""

    def __init__(self, on_render: Callable[[], None]) -> None:
        super().__init__(view.profiles, ["profiles"], 400, on_render)

    def refresh(self, ratios: pd.DataFrame, scores: pd.Series, places: Mapping[str, int]) -> None:
        """Show these ratios, by submission and workload."""
        self.fill({"profiles": view.profile_columns(ratios, scores, places)})


class TimesFigure(_Figure):
    """The times of all submissions on one workload; `on_tap` is called with the submission that a person taps."""

    def __init__(self, on_render: Callable[[], None], on_tap: Callable[[str], None]) -> None:
        self._on_tap = on_tap
        super().__init__(times.strip, times.STRIP, 320, on_render)

    def refresh(self, table: pd.DataFrame, measure: str, places: Mapping[str, int]) -> None:
        """Show the trials of one ruleset and workload."""
        drawn = times.strip_columns(table, measure, places)
        self._pane.height = max(200, 90 + 44 * len(places))
        self.fill(drawn.columns)
        self.frame((drawn.start, drawn.end, -0.6, len(places) - 0.4), f"{measure} to the target")
        for plots in self.plots():
            axis = plots["figure"].handles["yaxis"]
            if axis.major_label_overrides != drawn.labels:
                set_labels(axis, drawn.labels)

    def _made(self, role: str, plot: Any) -> None:
        if role in ("reached", "missed"):
            source = plot.handles["cds"]

            def tapped(attribute: str, old: list[int], new: list[int]) -> None:
                if new:
                    source.selected.indices = []  # so that the same point can be tapped again
                    self._on_tap(source.data["submission"][new[0]])

            source.selected.on_change("indices", tapped)


class CurvesFigure(_Figure):
    """The trials of one submission on one workload."""

    def __init__(self, on_render: Callable[[], None]) -> None:
        super().__init__(curves.curves, ["lines", "hit", "miss"], 360, on_render)

    def refresh(self, drawn: Sequence[Curve], targets: Sequence[float], measure: str) -> None:
        """Show these curves over the measure that their clock is in."""
        columns = curves.curve_columns(drawn, targets)
        self.fill(columns)
        lines = columns["lines"]
        values = np.array([y for ys in lines["ys"] for y in ys], dtype=float)
        values = values[np.isfinite(values)]
        low, high = (float(values.min()), float(values.max())) if len(values) else (1.0, 1.0)
        end = max((x for xs in lines["xs"] for x in xs), default=1.0)
        self.frame((0.0, end * 1.03, min(0.8, low / 1.1), nice(max(2.0, high * 1.05))), measure)
