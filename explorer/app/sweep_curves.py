"""The curves of one value out of a sweep, under the figure that it was picked in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

import panel as pn

from explorer.app import html
from explorer.app.figure import LossFigure
from explorer.app.runs import RunInput
from explorer.app.session import Lane
from explorer.records import History
from explorer.views.losses import SINGLES, lines
from explorer.views.style import LOSS_LOOKS


class SweepCurves:
    """The losses of the runs that share a value; not there before one is picked.

    `on_render` is called when a copy of the figure has been made; `run` holds the run in hand, whose own curve stands
    out, and which a tap on another one's changes.
    """

    def __init__(self, on_render: Callable[[], None], run: RunInput) -> None:
        self._on_render, self._run = on_render, run
        self._figure: LossFigure | None = None
        self._held: tuple[object, ...] = ()
        self._part: History | None = None
        self._rows: list[int] = []
        self._legend = html.pane()
        # Bokeh's own column: in one of pmui, a figure that is added later has no layout until React has drawn it, and
        # the browser fails on it if it measures the page before.
        self.panel = pn.Column(self._legend, visible=False, sizing_mode="stretch_width", margin=0)

    def hide(self) -> None:
        """Nothing is picked."""
        self.panel.visible = False

    def refresh(self, lane: Lane, chosen: Mapping[str, float], what: str) -> None:
        """Show the lane's runs with these hyperparameters; what: the same for a person."""
        whole = lane.shown
        assert whole is not None
        held = (whole, *chosen.items())
        if held != self._held:
            self._held = held
            self._rows = [
                row
                for row, run in enumerate(whole.runs)
                if all(float(run.hyperparameters[name]) == value for name, value in chosen.items())
            ]
            self._part = whole.part(self._rows)
        assert self._part is not None
        self._part.follow(whole, self._rows)
        if self._figure is None:  # a third of a second, for who has picked something
            self._figure = LossFigure(lambda: None, self._on_render, self._take, "picked ", 340)
            self._figure.singles = True
            self.panel.append(self._figure.panel)
        self.panel.visible = True
        self._figure.run = self._rows.index(self._run.value) if self._run.value in self._rows else -1
        self._figure.refresh(self._part, lines(lane.instances, lane.threshold), lane.challenge.max_epochs)
        self._legend.object = _legend(f"{escape(lane.name)} with {escape(what)}", len(self._rows))

    def _take(self, place: int) -> None:
        self._run.take(self._rows[place])


def _legend(what: str, runs: int) -> str:
    curves = [f"<span>{html.sample(*look)}{name}</span>" for name, look in LOSS_LOOKS.items()]
    note = "" if runs == 1 else f"<span>medians and quartiles of {runs} runs</span><span>thin: test, run by run"
    note += f" (the first {SINGLES})</span>" if runs > SINGLES else "</span>" if note else ""
    return f'<div class="chips"><span><b>{what}</b></span>{"".join(curves)}{note}</div>'
