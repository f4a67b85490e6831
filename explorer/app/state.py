"""The whole app in its address: settings, view, epoch, the step of a lesson; and what others link to it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

import panel as pn

from explorer.app import address
from explorer.app.driver import Driver
from explorer.app.lesson import LessonPanel
from explorer.app.notice import Notice
from explorer.app.replay import ReplayBar
from explorer.app.viewing import Views
from explorer.lessons import Step


class State:
    """Reads the address when the page opens, and writes it when a person has changed something.

    others: entries of the address that somebody else looks after.
    """

    def __init__(
        self,
        driver: Driver,
        views: Views,
        replay: ReplayBar,
        lesson: LessonPanel,
        notice: Notice,
        others: Mapping[str, address.Linked],
    ) -> None:
        self._driver, self._views, self._replay, self._lesson = driver, views, replay, lesson
        self._notice = notice
        self._begun: tuple[object, ...] = ()
        self.linked = {
            "view": address.Linked(views.choose, lambda: views.name if views.name != "Losses" else None),
            "epoch": address.Linked(self._load_epoch, lambda: replay.epoch),
            "lesson": address.Linked(lesson.load, lambda: lesson.lesson and lesson.lesson.key),
            "step": address.Linked(lesson.load_step, lambda: lesson.lesson and lesson.place),
            **others,
        }

    def load(self) -> None:
        """Take the page's address over; what is wrong in it is told."""
        if pn.state.location is None:
            return
        search = pn.state.location.search or ""
        with self._driver.loading():
            complaints = self._driver.controls.load(search, {name: own.load for name, own in self.linked.items()})
            step = self._lesson.step
            if step is not None:
                if set(dict(parse_qsl(search.removeprefix("?")))) <= {"lesson", "step", "page"}:
                    self._set_up(step)  # else the address says how things are by then
                self._driver.controls.only(step.open)
        if complaints:
            self._notice.say("  ".join(complaints))

    def write(self) -> None:
        """Let the address say how everything stands."""
        if pn.state.location is None:
            return
        own = {name: linked.value() for name, linked in self.linked.items()}
        if self._lesson.step is not None and self._stand() == self._begun:
            own, settings = {name: own[name] for name in own if name not in ("view", "epoch")}, {}
        else:
            settings = self._driver.controls.values
        pn.state.location.search = address.write(
            settings | {name: value for name, value in own.items() if value is not None}
        )

    def open_step(self, step: Step | None) -> None:
        """Another step of a lesson, or none any more, where everything stays as it is."""
        with self._driver.loading():
            if step is not None:
                self._set_up(step)
            self._driver.controls.only(None if step is None else step.open)
        if step is not None:
            self._notice.hide()
            self._driver.reset()

    def _set_up(self, step: Step) -> None:
        """Bring every setting to where the step begins."""
        self._driver.controls.reset()
        self._views.choose("Losses")
        self._driver.controls.load(address.write(step.address), {"view": self._views.choose})
        self._begun = self._stand()

    def _load_epoch(self, text: str) -> None:
        if not text.isdecimal() or int(text) > 100_000:
            raise ValueError(f"epoch = {text!r} is not allowed: it must be an integer from 0 to 100000.")
        self._replay.load(int(text))

    def _stand(self) -> tuple[object, ...]:
        """What the address of a lesson's step leaves out while it is as the step began."""
        return self._driver.controls.values, self._views.name, self._replay.epoch
