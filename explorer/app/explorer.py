"""The Panel app: the challenge, live."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import panel as pn
import panel_material_ui as pmui

from explorer.app import address, notebook
from explorer.app.controls import Controls
from explorer.app.display import Display
from explorer.app.driver import Driver
from explorer.app.entrants import Entrant
from explorer.app.lesson import LessonPanel
from explorer.app.notice import Notice
from explorer.app.presentation import Presentation
from explorer.app.replay import ReplayBar
from explorer.app.runs import RunInput
from explorer.app.session import Lane, Session, unused
from explorer.app.state import State
from explorer.app.stored import Setting
from explorer.app.viewing import Asked, Views
from explorer.base.jupyter import kernel
from explorer.challenge import Challenge
from explorer.lessons import Lesson, shelf
from explorer.optimizers import Optimizer
from explorer.records import Phase
from explorer.records.store import shared
from explorer.training.inside import InsideLook
from explorer.training.landscape import LandscapeLook
from explorer.training.plan import Plan
from explorer.training.probes import FunctionLook
from explorer.training.result import Result, Results
from explorer.views.race import LOOKS


def _alone(name: str) -> property:
    return property(
        lambda self: self._part(name), doc=f"The view {name} by itself, with the buttons that drive the training."
    )


class Explorer(pn.viewable.Viewer):
    """The whole explorer: settings, buttons, figures and the live plot.

    `.servable()` under `panel serve`; as a cell's last line it shows itself in Jupyter, and so does each of its views:
    `Explorer(optimizers=["adam", "muon"]).race`.  A cell that is run again closes what it made before.

    challenge: to begin with.  optimizers: one lane each, names or from `explorer.optimizers.create`.  setup: by name,
    what else can be set: seeds (how many), first_seed, device, precision, pace.  `ValueError` names what is forbidden.
    linked: entries of the address that belong to who shows it.  lessons: by key, those of the package if not given.
    """

    def __init__(
        self,
        challenge: Challenge | None = None,
        optimizers: Sequence[str | Optimizer] = (),
        linked: Mapping[str, address.Linked] | None = None,
        lessons: Mapping[str, Lesson] | None = None,
        **setup: Any,
    ) -> None:
        super().__init__()
        if kernel() is not None:
            notebook.claim(self)
            notebook.prepare()
        self.session = session = Session(recorder=shared())
        self.notice = notice = Notice()
        self._run = run = RunInput(self._turn)
        self.replay = replay = ReplayBar(self._turn)
        self.lesson = lesson = LessonPanel(shelf() if lessons is None else lessons, lambda step: state.open_step(step))
        self.driver = driver = Driver(session, lesson, replay, notice, self._show, self._turn)
        asked = Asked(run, self._show, self._turn, self._race_value, self._map_loss, self._train_depths)
        self.views = views = Views(asked)
        self.presentation = Presentation(self._show)
        linked = {"presentation": self.presentation.linked, **(linked or {})}
        self.state = state = State(driver, views, replay, lesson, notice, linked)
        # On a phone the settings' drawer covers everything, and a lesson is to be read beside what it speaks of.
        phone = "Mobi" in pn.state.headers.get("User-Agent", "")
        above, beside = ([lesson.panel], []) if phone else ([], [lesson.panel])
        self.display = Display(session, driver, views, replay, lesson, run, notice, state, self.presentation, above)
        self.sidebar = pmui.Column(*beside, self.controls.panel, sizing_mode="stretch_width", margin=0)
        self.main = self.display.panel
        self.main.param.watch(self._turn, "visible")  # what went by while another page was shown
        driver.take(challenge, optimizers, setup)
        state.load()
        views.draw()
        # Not before the page has loaded: what changes earlier can get lost on its way, and a request that no browser
        # follows up would leave a thread behind.
        pn.state.onload(self._live)
        if pn.state.curdoc is not None:
            pn.state.on_session_destroyed(lambda context: self.session.close())

    @property
    def controls(self) -> Controls:
        """What is set, and the widgets that set it."""
        return self.driver.controls

    # In a notebook

    def __panel__(self) -> pn.viewable.Viewable:
        sidebar = pmui.Column(self.sidebar, width=330, scroll=True)
        whole = notebook.Shown(pn.Row(sidebar, self.main, sizing_mode="stretch_width", min_height=760))
        self.display.shown.append(whole)
        return whole

    losses, race, sweep, function = map(_alone, ("Losses", "Race", "Sweep", "Function"))
    inside, landscape, frontier = map(_alone, ("Inside", "Landscape", "Frontier"))

    def _part(self, name: str) -> pn.viewable.Viewable:
        part = self.display.part(name)
        self._turn()
        return part

    @property
    def results(self) -> Results:
        """What the lanes have reached by now, each as `explorer.train` gives it."""
        self.display.take_in()
        found = {}
        for lane in self.session.lanes:
            result = lane.result(self.session.device)
            if result is not None:
                found[unused(lane.name, found)] = result
        return Results(found)

    def add(self, result: Result, name: str = "") -> None:
        """Let a result from elsewhere join the race, for good; name: the optimizer's own if none is given."""
        session = self.session
        if len(self.controls.lanes.entrants) + len(session.guests) >= len(LOOKS):
            raise ValueError(f"The race has room for {len(LOOKS)} lanes, and they are taken.")
        session.guests.append(Lane.of(name or result.optimizer.described, result))
        self._turn()

    def wait(self, timeout: float | None = None) -> None:
        """Hold this thread until nothing trains any more; `TimeoutError` after `timeout` seconds."""
        began = time.monotonic()
        while self.display.take_in() in (Phase.PREPARING, Phase.RUNNING):
            if timeout is not None and time.monotonic() - began > timeout:
                raise TimeoutError(f"The training goes on after {timeout:g} seconds.")
            time.sleep(0.05)

    def close(self) -> None:
        """End the training thread and the updates."""
        self.display.end()
        self.session.close()

    # What the buttons do, for whoever has no buttons

    def start(self) -> None:
        """Train every lane from the beginning, or go on after a pause."""
        self.driver.start()

    def pause(self) -> None:
        """Hold after the current epoch."""
        self.driver.pause()

    def step(self) -> None:
        """Train exactly one epoch."""
        self.driver.step()

    def stop(self) -> None:
        """End the runs where they are."""
        self.driver.stop()

    def reset(self) -> None:
        """Back to epoch 0 with the same instances and the same start."""
        self.driver.reset()

    def reseed(self) -> None:
        """Back to epoch 0 with new instances."""
        self.driver.reseed()

    # What other pages ask for

    def reopen(self, setting: Setting) -> None:
        """Set everything as it was for a stored experiment; what trains goes on until the next start."""
        self.driver.reopen(setting)

    def go_on(self, plan: Plan, setting: Setting) -> None:
        """Train a stored experiment on, instead of what is in hand."""
        self.driver.go_on(plan, setting)

    def compare(self, lanes: Sequence[Lane]) -> None:
        """Race against these lanes, out of the store, too; none: against no stored ones any more."""
        self.session.guests = list(lanes)
        self.views.choose("Race")
        self._turn()

    # What the views ask for

    def _live(self) -> None:
        self.display.begin()
        self.driver.look_ahead()

    def _show(self) -> None:
        self.display.show()

    def _turn(self, _=None) -> None:
        """Show the chosen view.  What only it needs is sampled while it is shown, and only then."""
        if not self.display.live:
            return
        session = self.session
        session.replay(self.replay.epoch)
        session.follow(self._run.value)
        looks = []
        for look in self._looks():
            if isinstance(look, FunctionLook):
                looks.append(replace(look, epoch=session.replayed))
            elif isinstance(look, InsideLook):
                looks.append(look)
        session.look(*dict.fromkeys(looks))
        self._show()

    def _looks(self) -> list[Any]:
        return self.views.looks(self.main.visible)

    def _train_depths(self, depths: list[int]) -> None:
        self.driver.begin(self.controls.entries(depths))

    def _race_value(self, lane: int, values: dict[str, Any]) -> None:
        self.controls.lanes.add(Entrant.of(self.session.lanes[lane].optimizer, values))

    def _map_loss(self) -> None:
        look = next((look for look in self._looks() if isinstance(look, LandscapeLook)), None)
        if look is not None:
            self.session.map_loss(look)
