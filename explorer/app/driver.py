"""What the buttons and the settings do to the training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from explorer.app.controls import Controls
from explorer.app.entrants import Entrant
from explorer.app.fields import changes
from explorer.app.lesson import LessonPanel
from explorer.app.notice import Notice
from explorer.app.replay import ReplayBar
from explorer.app.session import Session
from explorer.app.setup import PACES
from explorer.app.stored import Setting
from explorer.challenge import Challenge
from explorer.challenge.data import FIELDS
from explorer.optimizers import Optimizer, create
from explorer.records import Phase
from explorer.training.plan import Entry, Plan
from explorer.views.race import LOOKS

INSTANCE = {*FIELDS, "preset", "frozen_layers", "seeds", "first_seed"}
"""Settings that another instance, or another floor, comes with."""


class Driver:
    """Starts, holds and ends training as `controls` are set, and hands on to it what can be changed meanwhile.

    `show()` brings the page up to date, `turn()` has the views' samples taken, too.
    """

    def __init__(
        self,
        session: Session,
        lesson: LessonPanel,
        replay: ReplayBar,
        notice: Notice,
        show: Callable[[], None],
        turn: Callable[[], None],
    ) -> None:
        self._session, self._lesson, self._replay, self._notice = session, lesson, replay, notice
        self._show, self._turn = show, turn
        self._loading = False
        self._settings: dict[str, Any] = {}
        self.controls = Controls(self._changed, notice.say)

    @property
    def waiting(self) -> str:
        """What was changed and waits for the next start, in words."""
        return changes(self._settings, self._planned()) if self._session.plan else ""

    # What the buttons do

    def start(self) -> None:
        """Train every lane from the beginning, or go on after a pause."""
        if self._session.phase is Phase.PAUSED:
            self._session.worker.resume()
        elif not self._session.busy:
            self.begin(self.controls.entries())

    def pause(self) -> None:
        """Hold after the current epoch."""
        self._session.worker.pause()

    def step(self) -> None:
        """Train exactly one epoch."""
        if not self._session.busy:
            self.begin(self.controls.entries(), paused=True)
        self._session.worker.step()

    def stop(self) -> None:
        """End the runs where they are."""
        self._session.worker.stop()

    def reset(self) -> None:
        """Back to epoch 0 with the same instances and the same start."""
        self._replay.forget()
        self.look_ahead()

    def reseed(self) -> None:
        """Back to epoch 0 with new instances."""
        setup = self.controls.setup
        setup.first_seed = (setup.first_seed + setup.seeds) % setup.param.first_seed.bounds[1]
        self.controls.show("first_seed")
        self.reset()

    def begin(self, entries: list[tuple[int, Entry]], paused: bool = False) -> None:
        """Train these lanes, each with its entrant's key, unless a lesson's question is still to be answered."""
        if self._lesson.waits:
            self._notice.say("Predict first: answer the lesson’s question, then start.")
            return
        setup = self.controls.setup
        plan = Plan(tuple(entry for _, entry in entries), setup.seed_list, setup.device, setup.precision)
        if self._session.history is not None:  # an epoch that the address asks for is met by the first start
            self._replay.forget()
        self._launch(plan, [key for key, _ in entries], paused)

    def look_ahead(self) -> None:
        """Show the instances that the next start will meet."""
        controls = self.controls
        self._session.preview(controls.challenge, controls.entrant.built, controls.setup.seed_list)
        self._turn()

    def _launch(self, plan: Plan, keys: list[int], paused: bool = False) -> None:
        self._notice.hide()
        self._session.start(plan, keys, paused)
        self._settings = self._planned()
        self._turn()

    # What comes from elsewhere than the widgets

    @contextmanager
    def loading(self) -> Iterator[None]:
        """What is set within is nobody's change: it starts, previews and shows nothing by itself."""
        self._loading = True
        try:
            yield
        finally:
            self._loading = False
        self._session.set_pace(PACES[self.controls.setup.pace])

    def take(self, challenge: Challenge | None, stack: Sequence[str | Optimizer], setup: dict[str, Any]) -> None:
        """Be set as a notebook says; `ValueError` with a sentence where that is not allowed."""
        made = [create(one) if isinstance(one, str) else one for one in stack]
        if len(made) > len(LOOKS):
            raise ValueError(f"There is room for {len(LOOKS)} optimizers, not for {len(made)}.")
        with self.loading():
            self.controls.take(challenge, [Entrant.of(optimizer, {}) for optimizer in made], setup)

    def reopen(self, setting: Setting) -> None:
        """Set everything as it was for a stored experiment; what trains goes on until the next start."""
        self._put(setting)
        if not self._session.busy:
            self.reset()
        self._show()

    def go_on(self, plan: Plan, setting: Setting) -> None:
        """Train a stored experiment on, instead of what is in hand."""
        self._put(setting)
        keys = [entrant.key for entrant in setting.entrants[: len(plan.entries)]]
        keys += range(-2, -2 - len(plan.entries) + len(keys), -1)  # lanes beyond what the panel has room for
        self._replay.forget()
        self._launch(plan, keys)

    def _put(self, setting: Setting) -> None:
        with self.loading():
            self.controls.take(setting.challenge, setting.entrants, setting.setup)

    # What changes bring

    def _changed(self, name: str) -> None:
        """A setting changed: apply at once what can be, and say what waits for the next start."""
        if self._loading:
            return
        controls, session = self.controls, self._session
        session.set_pace(PACES[controls.setup.pace])
        session.hidden = {entrant.key for entrant in controls.lanes.entrants if entrant.hidden}
        if name == "lane":
            session.select(controls.entrant.key)
            self._turn()
        elif name == "accuracy_factor":
            session.set_accuracy_factor(controls.challenge.accuracy_factor)
        elif session.history is None and not session.busy:
            if name in INSTANCE:
                self.reset()
        elif session.busy:
            self._tune(name)
        self._show()

    def _tune(self, name: str) -> None:
        """Hand a hyperparameter to the running fleets of its lane, unless it is swept or fixed there."""
        entrant = self.controls.entrant
        for index, lane in enumerate(self._session.lanes):
            running = lane.optimizer
            if lane.key != entrant.key or running.key != entrant.kind.key or name not in running.fields():
                continue
            value = entrant.hyperparameters[name]
            if running.sweepable(name) and name not in running.sweeps and not isinstance(value, list):
                self._session.worker.tune(index, **{name: value})
                self._settings[self._spelt(entrant, name)] = value

    def _planned(self) -> dict[str, Any]:
        """Everything that a start takes over."""
        waiting = self.controls.setup.values | self.controls.challenge.values
        for other in ("pace", "accuracy_factor", "optimizer"):
            waiting.pop(other)
        for entrant in self.controls.lanes.entrants:
            own = {"optimizer": entrant.optimizer, "modifiers": entrant.modify} | entrant.hyperparameters
            waiting |= {self._spelt(entrant, name): value for name, value in own.items()}
        return waiting | {"lanes": len(self.controls.lanes.entrants)}

    def _spelt(self, entrant: Entrant, name: str) -> str:
        """A setting of a lane by the name that a person is told."""
        entrants = self.controls.lanes.entrants
        return name if len(entrants) == 1 else f"{name} of lane {entrants.index(entrant) + 1}"
