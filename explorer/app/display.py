"""The middle of the page, and what brings it up to date: the buttons, the figures, the chosen view, what is folded."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from explorer.app import figures, html, notebook, words
from explorer.app.controls import folded
from explorer.app.driver import Driver
from explorer.app.lesson import LessonPanel
from explorer.app.notice import Notice
from explorer.app.presentation import Presentation
from explorer.app.replay import ReplayBar
from explorer.app.runs import RunInput
from explorer.app.session import Session
from explorer.app.share import Share
from explorer.app.state import State
from explorer.app.transport import ICONS, Transport
from explorer.app.viewing import Views
from explorer.app.wire import send_at_once, send_left_behind
from explorer.records import Phase, Place

log = logging.getLogger(__name__)

REFRESH = 200
"""Milliseconds between two looks at the worker: faster costs the page more than it shows."""


class Display:
    """panel: the whole middle; shown: what cells of a notebook show; above: what stands over the buttons.

    Nothing is drawn before `begin`: what changes while the page still loads can get lost on its way.
    """

    def __init__(
        self,
        session: Session,
        driver: Driver,
        views: Views,
        replay: ReplayBar,
        lesson: LessonPanel,
        run: RunInput,
        notice: Notice,
        state: State,
        presentation: Presentation,
        above: Sequence[Any] = (),
    ) -> None:
        self._session, self._driver, self._views, self._replay = session, driver, views, replay
        self._lesson, self._run, self._notice, self._state = lesson, run, notice, state
        self._presentation = presentation
        self._document = pn.state.curdoc
        self._callback = None
        self._asked = False
        self._waiting = ""
        self._place: Place | None = None
        self._warned: tuple[str, object] = "", None
        self.shown: list[notebook.Shown] = []
        self._html = {name: html.pane() for name in ("cards", "runs", "status")}
        self.transport = Transport({name: getattr(driver, name.lower()) for name in ICONS})
        share = Share(session, lambda: views.name, lambda: views.chosen.panel, notice.say)
        self._folds = folded(
            ("Runs", self._html["runs"]),
            ("About the optimizer", driver.controls.about),
            ("Share and download", share.panel),
            at_once=["Share and download"],  # BokehJS cannot tell the server of buttons that come later and run code
            margin=10,
        )
        self._folds.param.watch(lambda event: self.show(), "active")
        self.panel = pmui.Column(
            *above,
            self.transport.panel,
            self._html["status"],
            notice.panel,
            self._html["cards"],
            pmui.FlexBox(views.choice, replay.panel, align_items="center", sizing_mode="stretch_width"),
            pmui.Paper(views.panel, sizing_mode="stretch_width", margin=10),
            self._folds,
            sizing_mode="stretch_width",
        )

    def begin(self) -> None:
        """The page is there: look at the worker from now on."""
        send_at_once(self._document)
        # In the background: Panel would say twice a look that the page is busy, which is most of what the look costs.
        self._callback = pn.io.PeriodicCallback(callback=self._tick, period=REFRESH, background=True)
        self._callback.start()

    @property
    def live(self) -> bool:
        """Whether the page is there."""
        return self._callback is not None

    def end(self) -> None:
        """Look no more."""
        if self._callback is not None:
            self._callback.stop()

    def part(self, name: str) -> notebook.Shown:
        """The view of this name by itself, with the buttons that drive the training."""
        view = self._views.part(name).panel
        self.shown.append(notebook.Shown(self.transport.panel, self._html["status"], self._notice.panel, view))
        return self.shown[-1]

    def take_in(self) -> Phase:
        """Take in what the worker reported, and show it; what is going on."""
        try:
            fresh = self._session.drain()
        except Exception:
            log.exception("What the worker reported could not be taken in.")
            self._notice.say("The display could not be updated; the log has the details.")
        else:
            troubled = self._session.trouble != self._warned[0]  # the store may fail after all is trained
            if self.panel.visible:
                if fresh or troubled:
                    self.draw()
                elif self._session.place is not self._place:  # a class waits, and all move up whenever one is called
                    with self._sent():
                        self._tell(self._session.outcomes)
        return self._session.phase

    def show(self) -> None:
        """Bring the page up to date as soon as the document is ours: Bokeh's models must not change before."""
        if not self.live:
            return
        waits, self._asked = self._asked, True
        if self._document is None:
            self.draw()
        elif not waits:
            self._document.add_next_tick_callback(self.draw)

    def draw(self) -> None:
        """Bring the page up to date."""
        asked, self._asked = self._asked, False
        try:
            with self._sent():
                if asked:  # by a person: what only their settings decide
                    self._state.write()
                    self._waiting = self._driver.waiting
                self._update()
        except Exception:
            log.exception("A refresh failed.")
            self._notice.say("The display could not be updated; the log has the details.")

    async def _tick(self) -> None:
        """A coroutine: it runs on the event loop whatever threads the server has."""
        send_left_behind(self._document)
        self.take_in()

    def _sent(self) -> AbstractContextManager[None]:
        """What changes within goes to the page in one piece."""
        if self._document is None:
            return notebook.pushed(self.shown)
        return pn.io.hold(self._document, policy="collect")

    def _update(self) -> None:
        session = self._session
        challenge = session.challenge or self._driver.controls.challenge
        outcomes = session.outcomes
        chosen = self._views.draw()
        self._run.refresh(session)
        for view in (chosen, *self._views.parts.values()):
            view.refresh(session, challenge)
            self._presentation.fit(view.panel)
        self._folds.visible = not self._presentation.on
        self._replay.refresh(session)
        swept = [] if session.lane is None else list(session.lane.optimizer.sweeps)
        self._html["cards"].object = figures.cards(session, outcomes)
        # A folded table would still be sent, and Tab would find its way into it.
        self._html["runs"].object = figures.runs(outcomes, swept, self._run.value) if 0 in self._folds.active else ""
        self._tell(outcomes)
        if session.message:
            self._notice.say(session.message)
        self._lesson.refresh(session)
        trouble, plan = self._warned
        if session.trouble != trouble or session.plan is not plan:  # a start hides what was said before
            self._warned = session.trouble, session.plan
            if session.trouble:
                self._notice.say(session.trouble)
        self.transport.refresh(session)

    def _tell(self, outcomes: Any) -> None:
        """Say what is going on."""
        self._place = self._session.place
        self._html["status"].object = f'<p role="status">{self._status(outcomes)}</p>'

    def _status(self, table: Any) -> str:
        session = self._session
        said = f"<b>{words.PHASES[session.phase]}</b>"
        if session.place is not None:
            said += f", {words.place(session.place)}"
        if table is not None and len(table) > 1:
            said += f", {len(table)} runs (figures are medians)"
        if table is not None and session.phase in (Phase.FINISHED, Phase.STOPPED, Phase.FAILED):
            said += f": {words.ending(table)}"
        if self._waiting:
            said += f".  At the next start: {self._waiting}"
        return said + (f".  Device: {escape(session.device)}." if session.device else ".")
