"""The live plot: HoloViews draws it once, then the elements' own data sources carry the stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import holoviews as hv
import holoviews.plotting.bokeh  # the backend
import panel as pn

from explorer.records import History
from explorer.views import losses as view
from explorer.views.losses import Line
from explorer.views.style import LINE_LOOKS, LOSS_LOOKS, Hook

# Not `hv.extension`, which would have a notebook's page fetch scripts from outside: `notebook.prepare` brings its own.
hv.Store.set_current_backend("bokeh")
# Without a graphics card in the browser, WebGL (HoloViews' default) is several times slower than the canvas.
hv.renderer("bokeh").param.update(webgl=False)

ROLES = [*LOSS_LOOKS, *LINE_LOOKS, "best", "stop", "figure"]


class LossFigure:
    """The losses on a logarithmic and on a linear axis, one of them shown.

    `refresh` brings every rendered copy (a second view, a new theme) up to date.  A data source itself says how far it
    is: what it lacks is streamed, so a copy that is rendered or shown late catches up.

    log, singles, follow: what is shown; run: the one in hand, whose own curve stands out.  They take effect at the next
    `refresh`.  `on_pick(run)` is called when a run's own curve is tapped.  name: before those of the data sources.
    height: in pixels.
    """

    def __init__(
        self,
        on_zoom: Callable[[], None],
        on_render: Callable[[], None],
        on_pick: Callable[[int], None],
        name: str = "",
        height: int = 470,
    ) -> None:
        self.name, self.height = name, height
        self.log = True
        self.singles = False
        self.follow = True
        self.run = 0
        self._on_zoom = on_zoom
        self.on_pick = on_pick
        self.on_render = on_render
        self._axes = {True: _Axis(self, True)}
        self.panel = pn.Column(self._axes[True].panel, sizing_mode="stretch_width", margin=0)

    def refresh(self, history: History | None, drawn: Sequence[Line], limit: int) -> None:
        """Show this history (a longer one of the same runs is streamed, another replaces it) and these lines."""
        if self.log not in self._axes:  # drawn when it is first asked for: it costs as much as the rest of the page
            self._axes[self.log] = _Axis(self, self.log)
            self.panel.append(self._axes[self.log].panel)
        shown = self._axes[self.log]
        returned = not shown.panel.visible
        for axis in self._axes.values():
            axis.panel.visible = axis is shown
        shown.refresh(history, drawn, limit, self.follow or returned)

    def zoomed(self) -> None:
        """A person moved the axes: leave them alone."""
        if self.follow:
            self.follow = False
            self._on_zoom()


class _Axis:
    """One of the two plots, with what HoloViews made of it."""

    def __init__(self, owner: LossFigure, log: bool) -> None:
        self._owner, self._log = owner, log
        self._rendered: dict[Any, dict[str, Any]] = {}
        self._shown: tuple[float, ...] = ()
        hooks = {role: self._hook(role) for role in ROLES}
        plot = pn.pane.HoloViews(
            view.losses(None, [], 1000, log, hooks), sizing_mode="stretch_width", height=owner.height, linked_axes=False
        )
        # The box is hidden, never the pane: Panel 1.9 would hand the pane's own properties to Bokeh's figure.
        self.panel = pn.Column(plot, sizing_mode="stretch_width", margin=0)

    def refresh(self, history: History | None, drawn: Sequence[Line], limit: int, whole: bool) -> None:
        """whole: show the whole run, whatever was zoomed to."""
        window = view.window(history, drawn, limit, self._log)
        self._shown = (0.0, window.end, window.low, window.high)
        texts = view.labels(drawn, window, self._log)
        known = {line.name: [line.value] for line in drawn}
        marks = view.mark_columns(history)
        drop_closed(self._rendered)
        for figure, plots in self._rendered.items():
            if whole:
                move(plots["figure"].handles["x_range"], 0.0, window.end)
                move(plots["figure"].handles["y_range"], window.low, window.high)
            restarted = plots.get("history", ()) is not history
            plots["history"] = history
            self._stream(history, {name: plots[name].handles["cds"] for name in LOSS_LOOKS}, view.columns, restarted)
            self._refresh_singles(figure, plots, history if self._owner.singles else None, restarted)
            for name, data in marks.items():
                replace(plots[name].handles["cds"], data)
            for name in LINE_LOOKS:
                replace(plots[name].handles["cds"], {"y": known.get(name, [])})
            # Not `figure.select`, which walks through all of the figure's models.
            (axis,) = (axis for axis in figure.right if axis.name == view.LABEL_AXIS)
            if axis.major_label_overrides != texts:
                view.set_labels(axis, texts)

    def _refresh_singles(self, figure: Any, plots: dict[str, Any], history: History | None, restarted: bool) -> None:
        """Show each run's own curve; none without a history."""
        # Given whole with the curves: the page would get what is streamed meanwhile twice.
        whole = restarted or history is None or "singles" not in plots
        if "singles" not in plots:
            if history is None:
                return
            plots["singles"] = view.draw_singles(figure)
            for run, curve in enumerate(plots["singles"].values()):
                source = curve.data_source
                source.name = self._named(view.single(run))
                source.selected.on_change("line_indices", self._taken(source.selected, run))
        curves = plots["singles"]
        sources = {name: curve.data_source for name, curve in curves.items()}
        self._stream(history, sources, view.single_columns, whole)
        for run, curve in enumerate(curves.values()):
            view.light(figure, curve.glyph, run == self._owner.run)

    def _stream(
        self,
        history: History | None,
        sources: dict[str, Any],
        columns: Callable[[History | None, int], dict[str, view.Columns]],
        restarted: bool,
    ) -> None:
        """Append what the sources lack, in plain lists: each NumPy chunk would take a message of its own."""
        held = 0 if restarted else max(len(source.data["epoch"]) for source in sources.values())
        table = columns(history, held)
        for name, source in sources.items():
            extend(source, {column: table.get(name, {}).get(column, []) for column in source.data}, restarted)

    def _hook(self, role: str) -> Hook:
        def found(plot: Any, element: Any) -> None:
            self._rendered.setdefault(plot.state, {})[role] = plot
            if "cds" in plot.handles:
                plot.handles["cds"].name = self._named(role)
            if role == "figure":
                self._owner.on_render()
                for name in ("x_range", "y_range"):
                    plot.handles[name].on_change("start", self._moved)
                    plot.handles[name].on_change("end", self._moved)

        return found

    def _named(self, role: str) -> str:
        return f"{self._owner.name}{'log' if self._log else 'linear'} {role}"

    def _taken(self, selected: Any, run: int) -> Callable[[str, Any, Any], None]:
        """What happens when this run's own curve is tapped."""

        def tapped(attribute: str, old: Any, new: Any) -> None:
            if selected.line_indices:
                selected.line_indices = []  # so that the same curve can be tapped again
                self._owner.on_pick(run)

        return tapped

    def _moved(self, attribute: str, old: float, new: float) -> None:
        """A range changed: if not to where we put it, then a person zoomed or panned."""
        if self._shown and new not in self._shown:
            self._owner.zoomed()


def drop_closed(rendered: dict[Any, Any]) -> None:
    """Forget the figures of views that are gone: those without a document that had one before."""
    for figure in list(rendered):
        if figure.document is not None:
            rendered[figure]["open"] = True
        elif rendered[figure].get("open"):
            del rendered[figure]


def extend(source: Any, fresh: view.Columns, restarted: bool) -> None:
    """Append to a data source, or start it anew."""
    if restarted:
        replace(source, fresh)
    elif any(fresh.values()):
        source.stream(fresh)


def replace(source: Any, data: view.Columns) -> None:
    """Give a data source other data, if they are other data."""
    if any(len(source.data[name]) != len(values) or list(source.data[name]) != values for name, values in data.items()):
        source.data = data


def move(axis: Any, start: float, end: float) -> None:
    """Set the ends of an axis, if they are elsewhere."""
    if (axis.start, axis.end) != (start, end):
        axis.update(start=start, end=end)
