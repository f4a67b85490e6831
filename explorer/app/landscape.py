"""The view of the paths of the weights, and of the loss around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from explorer.app import html
from explorer.app.figure import drop_closed, move, replace
from explorer.app.runs import RunInput
from explorer.app.session import Session
from explorer.challenge import Challenge
from explorer.records import LandscapeSample
from explorer.training.landscape import LandscapeLook
from explorer.views import landscape as view
from explorer.views.race import LOOKS
from explorer.views.style import Hook

NOTHING = "Train, then press Compute surface: it shows the paths of all lanes from one start, and the loss around them."


class LandscapePanel:
    """`changed` is called when a figure was rendered, `compute` when the person asks for what `look` says; `run` holds
    the run in hand."""

    def __init__(self, changed: Callable[[], None], compute: Callable[[], None], run: RunInput) -> None:
        self._on_render, self._run = changed, run
        self._input = run.input()
        self._loss = pmui.Select(
            label="Loss", value=view.CHOICES[0], options=list(view.CHOICES), width=150, size="small"
        )
        self._button = pmui.Button(label="Compute surface", icon="landscape", variant="outlined", disabled=True)
        self._button.on_click(lambda event: compute())
        self._legend, self._said = html.pane(), html.pane()
        self._planes: dict[Any, dict[str, Any]] = {}
        self._alongs: dict[Any, dict[str, Any]] = {}
        plane = view.landscape(None, self._hooks(self._planes, "landscape", view.ROLES))
        along = view.along(None, self._hooks(self._alongs, "along", (*view.LANES, "figure")))
        self.panel = pmui.Column(
            self._legend,
            pmui.FlexBox(self._input, self._loss, self._button, align_items="center", sizing_mode="stretch_width"),
            pn.FlexBox(_box(plane, 500, "3 1 400px"), _box(along, 300, "2 1 340px"), sizing_mode="stretch_width"),
            self._said,
            sizing_mode="stretch_width",
            margin=0,
        )

    @property
    def look(self) -> LandscapeLook:
        """The run and the loss that are asked for."""
        return LandscapeLook(self._run.value, self._loss.value)

    def refresh(self, session: Session, challenge: Challenge) -> None:
        """Show the session's landscape, its paths up to the epoch that is replayed."""
        self._run.show(self._input)
        self._button.disabled = session.history is None
        self._plot(session.landscape, session.replayed)
        said = NOTHING
        if session.landscape is not None:
            history = session.lanes[session.landscape.selected].history
            seed = None if history is None else history.runs[session.landscape.run].seed
            said = view.caption(session.landscape, seed)
        self._said.object = f"<p>{escape(said)}</p>"
        self._legend.object = _legend(session.landscape)

    def _plot(self, whole: LandscapeSample | None, epoch: int | None) -> None:
        shown = whole if whole is None or epoch is None else view.upto(whole, epoch)
        for figures, draw in ((self._planes, _draw_plane), (self._alongs, _draw_along)):
            drop_closed(figures)
            for plots in figures.values():
                held = plots.get("held")
                if held is None or held[0] is not whole or held[1] != epoch:
                    draw(plots, whole, shown)
                    plots["held"] = whole, epoch

    def _hooks(self, figures: dict[Any, dict[str, Any]], name: str, roles: Sequence[str]) -> dict[str, Hook]:
        return {role: self._hook(figures, name, role) for role in roles}

    def _hook(self, figures: dict[Any, dict[str, Any]], name: str, role: str) -> Hook:
        def found(plot: Any, element: Any) -> None:
            figures.setdefault(plot.state, {})[role] = plot
            if "cds" in plot.handles:
                plot.handles["cds"].name = f"{name} {role}"
            if role == "figure":
                self._on_render()

        return found


def _draw_plane(plots: dict[str, Any], whole: LandscapeSample | None, shown: LandscapeSample | None) -> None:
    for role, data in view.columns(shown).items():
        replace(plots[role].handles["cds"], data)
    plots["surface"].handles["cds"].data = view.image(whole)
    low, high = view.colours(whole)
    plots["surface"].handles["color_mapper"].update(low=low, high=high)
    for axis, label in zip(("xaxis", "yaxis"), view.axis_labels(whole), strict=True):
        plots["figure"].handles[axis].axis_label = label


def _draw_along(plots: dict[str, Any], whole: LandscapeSample | None, shown: LandscapeSample | None) -> None:
    for role, data in view.along_columns(shown).items():
        replace(plots[role].handles["cds"], data)
    move(plots["figure"].handles["x_range"], 0.0, view.epochs_end(whole))
    move(plots["figure"].handles["y_range"], *view.loss_span(whole))
    plots["figure"].handles["yaxis"].axis_label = view.loss_label(whole)


def _box(element: Any, height: int, flex: str) -> pn.Column:
    plot = pn.pane.HoloViews(element, sizing_mode="stretch_width", height=height, linked_axes=False)
    return pn.Column(plot, sizing_mode="stretch_width", styles={"flex": flex}, margin=0)


def _legend(sample: LandscapeSample | None) -> str:
    """A sample of each lane's line, and what the marks are."""
    if sample is None:
        return ""
    drawn = zip(sample.names, sample.epochs, LOOKS, strict=False)
    lines = [f"<span>{html.sample(*look)}{escape(name)}</span>" for name, epochs, look in drawn if len(epochs)]
    return f'<div class="chips">{"".join(lines)}<span>○ start</span><span>◆ end</span></div>'
