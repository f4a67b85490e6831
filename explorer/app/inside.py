"""The view inside one run, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from explorer.app import html
from explorer.app.figure import drop_closed, extend
from explorer.app.runs import RunInput
from explorer.app.session import Session
from explorer.challenge import Challenge
from explorer.records.inside import InsideSample
from explorer.training.inside import InsideLook
from explorer.views import inside as view

INTERVALS = {"at every epoch": 1, **{f"every {every} epochs": every for every in (2, 5, 10, 20, 50, 100)}}
NOTHING = "Press Start and leave this view open: a run is looked into only while it is shown."


HALF = {"flex": "1 1 max(440px, 34%)", "max-width": "max(50%, (880px - 100%) * 999)"}
"""Two maps a row, the last one alone no wider than the others; one a row where two have no room."""


class Map:
    """The heat map of one quantity, drawn when there is first something to show.  `visible` hides it."""

    def __init__(self, quantity: str, samples: Sequence[InsideSample], limit: int, changed: Callable[[], None]) -> None:
        self._quantity, self._changed, self._drawn = quantity, changed, False
        self._rendered: dict[Any, dict[str, Any]] = {}
        look = view.QUANTITIES[quantity]
        said = f"<p><b>{escape(look.title)}</b>, {escape(look.unit)}.  {escape(look.meaning)}</p>"
        plot = pn.pane.HoloViews(
            view.inside(samples, quantity, limit, {"cells": self._found}),
            sizing_mode="stretch_width",
            height=260,
            linked_axes=False,
        )
        self.panel = pn.Column(html.pane(said), plot, sizing_mode="stretch_width", styles=HALF, margin=0)

    def refresh(self, samples: Sequence[InsideSample], limit: int) -> None:
        """Show these looks; a longer list of the same is streamed."""
        self._drawn = True
        drop_closed(self._rendered)
        last, rest = samples[-1], (len(samples), limit)
        behind = [plots for plots in self._rendered.values() if plots.get("last") is not last or plots["rest"] != rest]
        if not behind:
            return
        table, shown = view.columns(samples, self._quantity), view.window(samples, self._quantity, limit)
        ticks = view.layer_ticks(samples)
        for plots in behind:
            plots |= {"last": last, "rest": rest}
            handles = plots["cells"].handles
            sent = plots.get("sent", {})
            held = len(sent.get("color", []))
            restarted = not held or any(values[:held] != sent[name] for name, values in table.items())
            plots["sent"], held = table, 0 if restarted else held
            extend(handles["cds"], {name: values[held:] for name, values in table.items()}, restarted)
            if plots.get("shown") != (shown, ticks):  # only then: a person may have zoomed
                plots["shown"] = (shown, ticks)
                place(handles["x_range"], 0.0, shown.end)
                place(handles["y_range"], -0.5, shown.layers - 0.5)
                view.set_colours(handles, shown.low, shown.high)
                view.set_layers(handles["yaxis"], ticks)

    def _found(self, plot: Any, element: Any) -> None:
        self._rendered.setdefault(plot.state, {})["cells"] = plot
        plot.handles["cds"].name = f"inside {self._quantity}"
        if self._drawn:  # anew, for a second view or another theme, from what there was when it was made
            self._changed()


def place(axis: Any, start: float, end: float) -> None:
    """Set the ends of an axis, and where its reset leads."""
    axis.update(start=start, end=end, reset_start=start, reset_end=end)


class InsidePanel:
    """`changed` is called when the person asks for another interval; `look` is what is asked for; `run` holds the run
    in hand."""

    def __init__(self, changed: Callable[[], None], run: RunInput) -> None:
        self._changed, self._run = changed, run
        self._input = run.input()
        self._every = pmui.Select(label="Look", options=INTERVALS, value=InsideLook().every, width=170, size="small")
        self._every.param.watch(lambda event: changed(), "value")
        self._maps: dict[str, Map] = {}
        # Not a `FlexBox`: what comes to that after the page has loaded is drawn without the theme.
        self._grid = pn.Row(styles={"flex-wrap": "wrap"}, sizing_mode="stretch_width", margin=0)
        self._said = html.pane(f"<p>{NOTHING}</p>")
        self.panel = pmui.Column(
            pmui.FlexBox(self._input, self._every, sizing_mode="stretch_width"),
            self._said,
            self._grid,
            sizing_mode="stretch_width",
            margin=0,
        )

    @property
    def look(self) -> InsideLook:
        """The run that is asked for, and how often."""
        return InsideLook(self._run.value, self._every.value)

    def refresh(self, session: Session, challenge: Challenge) -> None:
        """Show the looks that were taken."""
        self._run.show(self._input)
        samples, history = view.shown(session.inside), session.history
        self._draw(samples, challenge.max_epochs)
        said = NOTHING
        if history is not None and samples:
            trained = float(history.seconds[-1]) if history.epoch else 0.0
            spent = sum(sample.cost for sample in session.inside)
            said = view.caption(samples, history.runs[samples[-1].run].seed, spent, trained)
        self._said.object = f"<p>{said}</p>"

    def _draw(self, samples: Sequence[InsideSample], limit: int) -> None:
        """One map for each quantity that applies, in the order of `QUANTITIES`; a map once made is only hidden."""
        wanted = [quantity for quantity in view.QUANTITIES if view.applies(samples, quantity)]
        fresh = {
            quantity: Map(quantity, samples, limit, self._changed) for quantity in wanted if quantity not in self._maps
        }
        self._maps |= fresh
        if fresh:
            self._grid.objects = [self._maps[quantity].panel for quantity in view.QUANTITIES if quantity in self._maps]
        for quantity, drawn in self._maps.items():
            drawn.panel.visible = quantity in wanted
            if quantity in wanted:
                drawn.refresh(samples, limit)
