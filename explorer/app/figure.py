"""The live plot: HoloViews draws it once, then the elements' own data sources carry the stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import holoviews as hv
import panel as pn
from bokeh.models import Range1d

from explorer.records import History
from explorer.views import losses as view
from explorer.views.losses import Line, Window
from explorer.views.style import LINE_LOOKS, LOSS_LOOKS

hv.extension("bokeh", logo=False)
# Without a graphics card in the browser, WebGL (HoloViews' default) is several times slower than the canvas.
hv.renderer("bokeh").webgl = False


class LossFigure:
    """A pane with the losses; `refresh` brings every rendered copy of it (a second view, a new theme) up to date.

    A data source itself says how far it is: what it lacks is streamed, so a figure that is rendered late catches up.
    """

    def __init__(self, on_zoom: Callable[[], None]) -> None:
        self.pane = pn.pane.HoloViews(
            None, sizing_mode="stretch_width", height=470, linked_axes=False, css_classes=["losses"]
        )
        self.log = True
        self.singles = False
        self.follow = True
        self._on_zoom = on_zoom
        self._rendered: dict[Any, dict[str, Any]] = {}
        self._history: History | None = None
        self._lines: Sequence[Line] = ()
        self._limit = 1000
        self._shape: tuple[Any, ...] = ()

    def refresh(self, history: History | None, drawn: Sequence[Line], limit: int) -> None:
        """Show this history (a longer one of the same runs is streamed, another replaces it) and these lines."""
        restarted = history is not self._history
        self._history, self._lines, self._limit = history, drawn, limit
        runs = 1 if history is None else len(history.runs)
        shape = (self.log, runs > 1, min(runs, view.SINGLES) if self.singles and runs > 1 else 0)
        if shape != self._shape:
            self._shape = shape
            self._rendered.clear()
            self.pane.object = self._draw()
            return
        self._rendered = {
            figure: plots
            for figure, plots in self._rendered.items()
            if figure.document is not None or "figure" not in plots
        }
        for figure, plots in self._rendered.items():
            self._update(figure, plots, restarted)

    def refollow(self) -> None:
        """Return to the whole run."""
        self.follow = True
        for plots in self._rendered.values():
            self._show_window(plots)

    def _draw(self) -> hv.Overlay:
        singles = bool(self._shape[-1])
        names = [*LOSS_LOOKS, *LINE_LOOKS, "best", "stop", "figure", *map(view.single, range(view.SINGLES))]
        hooks = {name: self._find(name) for name in names}
        return view.losses(self._history, self._lines, self._limit, self.log, singles, hooks)

    def _find(self, role: str) -> view.Hook:
        def found(plot: Any, element: hv.Element) -> None:
            plots = self._rendered.setdefault(plot.state, {})
            plots[role] = plot
            if role == "figure":
                self._watch(plot)

        return found

    def _watch(self, plot: Any) -> None:
        """Notice when a person zooms or pans, to leave the axes alone from then on; the reset tool follows again."""

        def moved(attribute: str, old: float, new: float) -> None:
            shown = self._window()
            ours = {shown.end, shown.low, shown.high, 0.0}
            if self.follow and new not in ours:
                self.follow = False
                self._on_zoom()

        for name in ("x_range", "y_range"):
            plot.handles[name].on_change("start", moved)
            plot.handles[name].on_change("end", moved)

    def _window(self) -> Window:
        return view.window(self._history, self._lines, self._limit, self.log)

    def _show_window(self, plots: dict[str, Any]) -> None:
        shown, handles = self._window(), plots["figure"].handles
        if self.follow:
            _move(handles["x_range"], 0, shown.end)
            _move(handles["y_range"], shown.low, shown.high)

    def _update(self, figure: Any, plots: dict[str, Any], restarted: bool) -> None:
        self._show_window(plots)
        for tables, names in (
            (view.columns, list(LOSS_LOOKS)),
            (view.single_columns, [view.single(run) for run in range(self._shape[-1])]),
        ):
            sources = {name: plots[name].handles["cds"] for name in names}
            held = 0 if restarted else min((len(source.data["epoch"]) for source in sources.values()), default=0)
            fresh = tables(self._history, held) if sources else {}
            for name, source in sources.items():
                _stream(source, fresh.get(name, {}), restarted)
        for name, data in view.mark_columns(self._history).items():
            _replace(plots[name].handles["cds"], data)
        known = {line.name: [line.value] for line in self._lines}
        for name in LINE_LOOKS:
            _replace(plots[name].handles["cds"], {"y": known.get(name, [])})
        shown = self._window()
        (axis,) = figure.select({"name": view.LABEL_AXIS})
        texts = view.labels(self._lines, shown, self.log)
        if axis.major_label_overrides != texts:
            view.set_labels(axis, texts)


def _stream(source: Any, fresh: dict[str, list[float]], restarted: bool) -> None:
    """Append what is new, in plain lists: NumPy chunks would each take a message of their own."""
    fresh = {column: fresh.get(column, []) for column in source.data}
    if restarted:
        source.data = fresh
    elif fresh["epoch"]:
        source.stream(fresh)


def _replace(source: Any, data: dict[str, list[float]]) -> None:
    if {name: list(values) for name, values in source.data.items()} != data:
        source.data = data


def _move(axis: Range1d, start: float, end: float) -> None:
    if (axis.start, axis.end) != (start, end):
        axis.update(start=start, end=end)
