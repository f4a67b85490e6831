"""The live race: kept lanes and the one that trains now, on one plot."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from explorer.app import html, words
from explorer.app.figure import drop_closed, extend, move, replace
from explorer.app.leaderboard import Leaderboard
from explorer.app.runs import RunInput
from explorer.app.session import Session
from explorer.challenge import Challenge
from explorer.records import Phase
from explorer.views import race as view
from explorer.views.race import Lane
from explorer.views.style import LINE_LOOKS, number

SCORE_EVERY = 1.0
"""Seconds between two leaderboards while training: numbers that change faster cannot be read."""


class RaceFigure:
    """One curve a lane.  `loss` (a key of the loss view's looks) and `seconds` say what is shown over what; `run` whose
    loss that is, None for the median over all."""

    def __init__(self, on_render: Callable[[], None]) -> None:
        self._on_render = on_render
        self.loss, self.seconds = "test", False
        self.run: int | None = None
        self._rendered: dict[Any, dict[str, Any]] = {}
        roles = ["threshold", "figure", *map(view.role, range(len(view.LOOKS)))]
        self.panel = pn.Column(
            pn.pane.HoloViews(
                view.race({role: self._hook(role) for role in roles}),
                sizing_mode="stretch_width",
                height=440,
                linked_axes=False,
            ),
            sizing_mode="stretch_width",
            margin=0,
        )

    def refresh(self, lanes: Sequence[Lane], threshold: float | None) -> None:
        """Show these lanes, at most as many as there are looks, and the threshold if it is known."""
        lanes = lanes[: len(view.LOOKS)]
        drop_closed(self._rendered)
        for plots in self._rendered.values():
            held = plots.setdefault("held", [()] * len(view.LOOKS))
            for index in range(len(view.LOOKS)):
                lane = lanes[index] if index < len(lanes) else None
                holds = (lane and lane.history, self.loss, self.seconds, self.run)
                source = plots[view.role(index)].handles["cds"]
                restarted, held[index] = holds != held[index], holds
                start = 0 if restarted else len(source.data["x"])
                extend(source, view.columns(lane, self.loss, self.seconds, start, self.run), restarted)
            shown = view.window((plots[view.role(i)].handles["cds"].data for i in range(len(view.LOOKS))), threshold)
            replace(plots["threshold"].handles["cds"], {"y": [] if threshold is None else [threshold]})
            move(plots["figure"].handles["x_range"], 0.0, shown.end)
            move(plots["figure"].handles["y_range"], shown.low, shown.high)
            plots["figure"].handles["xaxis"].axis_label = "seconds" if self.seconds else "epoch"

    def _hook(self, role: str) -> Any:
        def found(plot: Any, element: Any) -> None:
            self._rendered.setdefault(plot.state, {})[role] = plot
            if "cds" in plot.handles:
                plot.handles["cds"].name = f"race {role}"
            if role == "figure":
                self._on_render()

        return found


def legend(lanes: Sequence[Lane], run: int | None) -> str:
    """Above the plot, where it covers no curve: a sample of each lane's line, and the threshold with its value."""
    if not lanes:
        return ""
    looks = {lane.name: look for lane, look in zip(lanes, view.LOOKS, strict=False)}
    curves = [f"<span>{html.sample(*look)}{escape(name)}</span>" for name, look in looks.items()]
    limit = f"<span>{html.sample(*LINE_LOOKS['threshold'])}threshold ε*² <b>{number(threshold(lanes))}</b></span>"
    note = "" if len(lanes[0].history.runs) == 1 else "medians and quartiles over the runs"
    note = note if run is None else f"run {run} alone"
    return f'<div class="chips">{"".join(curves)}{limit}<span>{note}</span></div>'


def threshold(lanes: Sequence[Lane]) -> float | None:
    """The median threshold of the lanes' instances."""
    return float(np.median(lanes[0].outcomes.threshold)) if lanes else None


class RacePanel:
    """The lanes on one plot, and how they compare.

    `changed` is called when the person asks for something else to be shown; `run` holds the run in hand.
    """

    def __init__(self, changed: Callable[[], None], run: RunInput) -> None:
        self._run = run
        self._input = run.input()
        self._figure = RaceFigure(changed)
        self._loss = pmui.Select(label="Loss", value="test", options=list(view.CHOICES), width=150, size="small")
        self._clock = pmui.Select(label="Over", value="epochs", options=["epochs", "seconds"], width=150, size="small")
        self._alone = pmui.Switch(label="One run", value=False, visible=False)
        for widget in (self._loss, self._clock, self._alone):
            widget.param.watch(lambda event: changed(), "value")
        self._legend, self._unlike = html.pane(), html.pane()
        self._board = Leaderboard()
        self._scored = -SCORE_EVERY
        self.panel = pmui.Column(
            self._legend,
            pmui.FlexBox(
                self._loss, self._clock, self._alone, self._input, align_items="center", sizing_mode="stretch_width"
            ),
            self._unlike,
            self._figure.panel,
            self._board.panel,
            sizing_mode="stretch_width",
            margin=0,
        )

    def refresh(self, session: Session, challenge: Challenge) -> None:
        """Show the lanes of the session that are to be compared."""
        self._run.show(self._input)
        lanes = session.compared
        self._figure.loss, self._figure.seconds = self._loss.value, self._clock.value == "seconds"
        self._alone.visible = any(len(lane.history.runs) > 1 for lane in lanes)
        self._figure.run = self._run.value if self._alone.visible and self._alone.value else None
        self._figure.refresh(lanes, threshold(lanes))
        self._legend.object = legend(lanes, self._figure.run)
        unlike = words.differing({name: lane.challenge for name, lane in session.contest.items()})
        self._unlike.object = f'<p class="note hint" role="status">{escape(unlike)}</p>' if unlike else ""
        if session.phase is not Phase.RUNNING or time.monotonic() - self._scored >= SCORE_EVERY:
            self._board.refresh(lanes)
            self._scored = time.monotonic()
