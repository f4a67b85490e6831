"""The view of the losses: legend, switches, plot, and what the numbers allow."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import panel_material_ui as pmui

from explorer.app import figures, html, words
from explorer.app.figure import LossFigure
from explorer.app.runs import RunInput
from explorer.app.session import Session
from explorer.challenge import Challenge
from explorer.views.losses import lines


class LossPanel:
    """`changed` is called when the person asks for something else to be shown; `run` holds the run in hand."""

    def __init__(self, changed: Callable[[], None], run: RunInput) -> None:
        self._changed, self._run = changed, run
        self._input = run.input()
        self._figure = LossFigure(self._zoomed, changed, run.take)
        self._chips, self._chances = html.pane(), html.pane()
        self._log = pmui.Switch(value=True, label="Log scale")
        self._follow = pmui.Switch(value=True, label="Follow")
        self._singles = pmui.Switch(value=False, label="Single runs", visible=False)
        for switch in (self._log, self._follow, self._singles):
            switch.param.watch(self._switched, "value")
        switches = pmui.FlexBox(
            self._log, self._follow, self._singles, self._input, align_items="center", sizing_mode="stretch_width"
        )
        self.panel = pmui.Column(
            self._chips, switches, self._figure.panel, self._chances, sizing_mode="stretch_width", margin=0
        )

    def refresh(self, session: Session, challenge: Challenge) -> None:
        """Show the session as it is."""
        self._run.show(self._input)
        drawn = lines(session.instances, session.threshold)
        self._figure.run = self._run.value
        self._figure.refresh(session.history, drawn, challenge.max_epochs)
        self._chips.object = figures.chips(session)
        self._singles.visible = session.history is not None and len(session.history.runs) > 1
        chances = ""
        if session.instances is not None and session.threshold is not None:
            chances = words.chances(challenge, session.instances, session.threshold)
        hindrance = "" if session.lane is None else words.hindrance(challenge, session.lane.optimizer)
        self._chances.object = "".join(f"<p>{escape(said)}</p>" for said in (hindrance, chances) if said)

    def _switched(self, _) -> None:
        self._figure.log, self._figure.singles = self._log.value, self._singles.value
        self._figure.follow = self._follow.value
        self._changed()

    def _zoomed(self) -> None:
        self._follow.value = False
