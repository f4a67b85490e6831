"""The Panel app: the challenge, live."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from html import escape
from typing import Any, Protocol
from urllib.parse import parse_qsl

import panel as pn
import panel_material_ui as pmui

from explorer.app import address, figures, html, notebook, words
from explorer.app.controls import Controls, folded
from explorer.app.entrants import Entrant
from explorer.app.fields import changes
from explorer.app.frontier import FrontierPanel
from explorer.app.function import FunctionPanel
from explorer.app.inside import InsidePanel
from explorer.app.landscape import LandscapePanel
from explorer.app.lesson import LessonPanel
from explorer.app.losses import LossPanel
from explorer.app.race import RacePanel
from explorer.app.replay import ReplayBar
from explorer.app.runs import RunInput
from explorer.app.session import Lane, Session, unused
from explorer.app.setup import PACES
from explorer.app.share import Share
from explorer.app.stored import Setting
from explorer.app.sweep import SweepPanel
from explorer.app.transport import ICONS, Transport
from explorer.app.wire import send_at_once
from explorer.base.jupyter import kernel
from explorer.challenge import Challenge
from explorer.challenge.data import FIELDS
from explorer.lessons import Lesson, Step, shelf
from explorer.optimizers import Optimizer, create
from explorer.records import Phase
from explorer.records.store import shared
from explorer.training.inside import InsideLook
from explorer.training.landscape import LandscapeLook
from explorer.training.plan import Entry, Plan
from explorer.training.probes import FunctionLook
from explorer.training.result import Result, Results
from explorer.views.race import LOOKS

log = logging.getLogger(__name__)


class View(Protocol):
    """One way to look at the experiment: a layout, and what brings it up to date."""

    panel: Any

    def refresh(self, session: Session, challenge: Challenge) -> None:
        """Show the session as it is."""


INSTANCE = {*FIELDS, "preset", "frozen_layers", "seeds", "first_seed"}
"""Settings that another instance, or another floor, comes with."""
REFRESH = 200
"""Milliseconds between two looks at the worker: faster costs the page more than it shows."""


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
        self._document = pn.state.curdoc
        self._shown: list[notebook.Shown] = []
        self._parts: dict[str, View] = {}
        self._asked = False
        self._loading = False
        self._settings: dict[str, Any] = {}
        self._waiting = ""
        self._begun: tuple[object, ...] = ()
        self._trouble = ""
        self.session = Session(recorder=shared())
        self.controls = Controls(self._changed, self._complain)
        self._run = RunInput(self._turn)
        self._makers: dict[str, Callable[[], View]] = {
            "Losses": lambda: LossPanel(self._show, self._run),
            "Race": lambda: RacePanel(self._show, self._run),
            "Sweep": lambda: SweepPanel(self._show, self._race_value),
            "Function": lambda: FunctionPanel(self._turn, self._run),
            "Inside": lambda: InsidePanel(self._turn, self._run),
            "Landscape": lambda: LandscapePanel(self._show, self._map_loss, self._run),
            "Frontier": lambda: FrontierPanel(self._show, self._train_depths),
        }
        self._made: dict[str, View] = {}
        # Bokeh's own column: a layout of pmui would build all views anew for each that is added.
        self._frame = pn.Column(sizing_mode="stretch_width", margin=0)
        self._html = {name: html.pane() for name in ("cards", "runs", "status", "notice")}
        # The alert's own text would be taken for HTML, tags from the address included: a pane with escaped text is not.
        self._notice = pmui.Alert(
            self._html["notice"],
            severity="warning",
            closeable=True,
            visible=False,
            sizing_mode="stretch_width",
            margin=10,
        )
        self._transport = Transport({name: getattr(self, name.lower()) for name in ICONS})
        self._view = pmui.RadioButtonGroup(options=list(self._makers), value="Losses", size="small", margin=(0, 10))
        self._view.param.watch(self._turn, "value")
        self._replay = ReplayBar(self._turn)
        share = Share(self.session, lambda: self._view.value, lambda: self.view.panel, self._complain)
        self._folds = folded(
            ("Runs", self._html["runs"]),
            ("About the optimizer", self.controls.about),
            ("Share and download", share.panel),
            margin=10,
        )
        self._folds.param.watch(lambda event: self._show(), "active")
        self.lesson = LessonPanel(shelf() if lessons is None else lessons, self._open_step)
        # On a phone the settings' drawer covers everything, and a lesson is to be read beside what it speaks of.
        phone = "Mobi" in pn.state.headers.get("User-Agent", "")
        above, beside = ([self.lesson.panel], []) if phone else ([], [self.lesson.panel])
        self.sidebar = pmui.Column(*beside, self.controls.panel, sizing_mode="stretch_width", margin=0)
        self.main = self._make_main(above)
        self.main.param.watch(self._turn, "visible")  # what went by while another page was shown
        self._linked = {
            "view": address.Linked(self._load_view, lambda: self._view.value if self._view.value != "Losses" else None),
            "epoch": address.Linked(self._load_epoch, lambda: self._replay.epoch),
            "lesson": address.Linked(self.lesson.load, lambda: self.lesson.lesson and self.lesson.lesson.key),
            "step": address.Linked(self.lesson.load_step, lambda: self.lesson.lesson and self.lesson.place),
            **(linked or {}),
        }
        self._callback = None
        self._take(challenge, optimizers, setup)
        self._load_address()
        self._frame.append(self.view.panel)
        # Not before the page has loaded: what changes earlier can get lost on its way, and a request that no browser
        # follows up would leave a thread behind.
        pn.state.onload(self._live)
        if pn.state.curdoc is not None:
            pn.state.on_session_destroyed(lambda context: self.session.close())

    @property
    def view(self) -> View:
        """The view that is shown; drawn when it is first shown, since each costs the page's first second."""
        name = self._view.value
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __panel__(self) -> pn.viewable.Viewable:
        sidebar = pmui.Column(self.sidebar, width=330, scroll=True)
        self._shown.append(notebook.Shown(pn.Row(sidebar, self.main, sizing_mode="stretch_width", min_height=760)))
        return self._shown[-1]

    losses, race, sweep, function = map(_alone, ("Losses", "Race", "Sweep", "Function"))
    inside, landscape, frontier = map(_alone, ("Inside", "Landscape", "Frontier"))

    def _part(self, name: str) -> pn.viewable.Viewable:
        if name not in self._parts:
            self._parts[name] = self._makers[name]()
        view = self._parts[name].panel
        self._shown.append(notebook.Shown(self._transport.panel, self._html["status"], self._notice, view))
        self._turn()
        return self._shown[-1]

    @property
    def results(self) -> Results:
        """What the lanes have reached by now, each as `explorer.train` gives it."""
        self._take_in()
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
        while self._take_in() in (Phase.PREPARING, Phase.RUNNING):
            if timeout is not None and time.monotonic() - began > timeout:
                raise TimeoutError(f"The training goes on after {timeout:g} seconds.")
            time.sleep(0.05)

    def close(self) -> None:
        """End the training thread and the updates."""
        if self._callback is not None:
            self._callback.stop()
        self.session.close()

    def _take(self, challenge: Challenge | None, stack: Sequence[str | Optimizer], setup: dict[str, Any]) -> None:
        self._loading = True
        made = [create(one) if isinstance(one, str) else one for one in stack]
        if len(made) > len(LOOKS):
            raise ValueError(f"There is room for {len(LOOKS)} optimizers, not for {len(made)}.")
        self.controls.take(challenge, [Entrant.of(optimizer, {}) for optimizer in made], setup)
        self.session.set_pace(PACES[self.controls.setup.pace])
        self._loading = False

    # What the buttons do

    def start(self) -> None:
        """Train every lane from the beginning, or go on after a pause."""
        if self.session.phase is Phase.PAUSED:
            self.session.worker.resume()
        elif not self.session.busy:
            self._begin(self.controls.entries())

    def pause(self) -> None:
        """Hold after the current epoch."""
        self.session.worker.pause()

    def step(self) -> None:
        """Train exactly one epoch."""
        if not self.session.busy:
            self._begin(self.controls.entries(), paused=True)
        self.session.worker.step()

    def stop(self) -> None:
        """End the runs where they are."""
        self.session.worker.stop()

    def reset(self) -> None:
        """Back to epoch 0 with the same instances and the same start."""
        self._preview()

    def reseed(self) -> None:
        """Back to epoch 0 with new instances."""
        setup = self.controls.setup
        setup.first_seed = (setup.first_seed + setup.seeds) % setup.param.first_seed.bounds[1]
        self.controls.show("first_seed")
        self._preview()

    def _begin(self, entries: list[tuple[int, Entry]], paused: bool = False) -> None:
        if self.lesson.waits:
            self._complain("Predict first: answer the lesson’s question, then start.")
            return
        setup = self.controls.setup
        plan = Plan(tuple(entry for _, entry in entries), setup.seed_list, setup.device, setup.precision)
        self._notice.visible = False
        if self.session.history is not None:  # an epoch that the address asks for is met by the first start
            self._replay.forget()
        self.session.start(plan, [key for key, _ in entries], paused)
        self._settings = self._planned()
        self._turn()

    def _preview(self) -> None:
        self._replay.forget()
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Show the instances that the next start will meet."""
        self.session.preview(self.controls.challenge, self.controls.entrant.built, self.controls.setup.seed_list)
        self._turn()

    # What other pages ask for

    def reopen(self, setting: Setting) -> None:
        """Set everything as it was for a stored experiment; what trains goes on until the next start."""
        self._put(setting)
        if not self.session.busy:
            self._preview()
        self._show()

    def go_on(self, plan: Plan, setting: Setting) -> None:
        """Train a stored experiment on, instead of what is in hand."""
        self._put(setting)
        keys = [entrant.key for entrant in setting.entrants[: len(plan.entries)]]
        keys += range(-2, -2 - len(plan.entries) + len(keys), -1)  # lanes beyond what the panel has room for
        self._notice.visible = False
        self._replay.forget()
        self.session.start(plan, keys)
        self._settings = self._planned()
        self._turn()

    def _put(self, setting: Setting) -> None:
        """Take over what a stored experiment was set to; nothing of it is a person's change."""
        self._loading = True
        self.controls.take(setting.challenge, setting.entrants, setting.setup)
        self._loading = False

    def compare(self, lanes: Sequence[Lane]) -> None:
        """Race against these lanes, out of the store, too; none: against no stored ones any more."""
        self.session.guests = list(lanes)
        self._view.value = "Race"
        self._turn()

    # What the views ask for

    def _turn(self, _=None) -> None:
        """Show the chosen view.  What only it needs is sampled while it is shown, and only then."""
        if self._callback is None:
            return
        session = self.session
        session.replay(self._replay.epoch)
        looks = []
        for look in self._looks():
            if isinstance(look, FunctionLook):
                looks.append(replace(look, epoch=session.replayed))
            elif isinstance(look, InsideLook):
                looks.append(look)
        session.look(*dict.fromkeys(looks))
        self._show()

    def _train_depths(self, depths: list[int]) -> None:
        """Train every lane at each of these depths."""
        self._begin(self.controls.entries(depths))

    def _race_value(self, lane: int, values: dict[str, Any]) -> None:
        """A lane of its own for a value out of a sweep."""
        entrant = Entrant.of(self.session.lanes[lane].optimizer, values)
        self.controls.lanes.add(entrant)

    def _map_loss(self) -> None:
        """Compute the loss around the paths."""
        look = next((look for look in self._looks() if isinstance(look, LandscapeLook)), None)
        if look is not None:
            self.session.map_loss(look)

    def _looks(self) -> list[Any]:
        """What the views that are shown need to see of a fleet."""
        shown = [*([self.view] if self.main.visible else []), *self._parts.values()]
        return [view.look for view in shown if hasattr(view, "look")]  # pyright: ignore[reportAttributeAccessIssue]

    # What changes bring

    def _changed(self, name: str) -> None:
        """A setting changed: apply at once what can be, and say what waits for the next start."""
        if self._loading:
            return
        controls, session = self.controls, self.session
        session.set_pace(PACES[controls.setup.pace])
        session.hidden = {entrant.key for entrant in controls.lanes.entrants if entrant.hidden}
        if name == "lane":
            session.select(controls.entrant.key)
            self._turn()
        elif name == "accuracy_factor":
            session.set_accuracy_factor(controls.challenge.accuracy_factor)
        elif session.history is None and not session.busy:
            if name in INSTANCE:
                self._preview()
        elif session.busy:
            self._tune(name)
        self._show()

    def _tune(self, name: str) -> None:
        """Hand a hyperparameter to the running fleets of its lane, unless it is swept or fixed there."""
        entrant = self.controls.entrant
        for index, lane in enumerate(self.session.lanes):
            running = lane.optimizer
            if lane.key != entrant.key or running.key != entrant.kind.key or name not in running.fields():
                continue
            value = entrant.hyperparameters[name]
            if running.sweepable(name) and name not in running.sweeps and not isinstance(value, list):
                self.session.worker.tune(index, **{name: value})
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

    def _complain(self, sentence: str) -> None:
        self._html["notice"].object = f"<p>{escape(sentence)}</p>"
        self._notice.param.update(closed=False, visible=True)

    # Address

    def _load_address(self) -> None:
        location = pn.state.location
        if location is None:
            return
        self._loading = True
        complaints = self.controls.load(location.search or "", {name: own.load for name, own in self._linked.items()})
        step = self.lesson.step
        if step is not None:
            given = dict(parse_qsl((location.search or "").removeprefix("?")))
            if set(given) <= {"lesson", "step", "page"}:  # else the address says how things are by then
                self._set_up(step)
            self.controls.only(step.open)
        self._loading = False
        if complaints:
            self._complain("  ".join(complaints))
        self.session.set_pace(PACES[self.controls.setup.pace])

    def _set_up(self, step: Step) -> None:
        """Bring every setting to where the step begins."""
        self.controls.reset()
        self._view.value = "Losses"
        self.controls.load(address.write(step.address), {"view": self._load_view})
        self._begun = self._stand()

    def _open_step(self, step: Step | None) -> None:
        """Another step of a lesson, or none any more, where everything stays as it is."""
        self._loading = True
        if step is not None:
            self._set_up(step)
        self.controls.only(None if step is None else step.open)
        self._loading = False
        if step is not None:
            self._notice.visible = False
            self.session.set_pace(PACES[self.controls.setup.pace])
            self._preview()
        self._show()

    def _load_view(self, text: str) -> None:
        if text not in self._makers:
            raise ValueError(f"view = {text!r} is not known: it must be one of {', '.join(self._makers)}.")
        self._view.value = text

    def _load_epoch(self, text: str) -> None:
        if not text.isdecimal() or int(text) > 100_000:
            raise ValueError(f"epoch = {text!r} is not allowed: it must be an integer from 0 to 100000.")
        self._replay.load(int(text))

    def _write_address(self) -> None:
        if pn.state.location is None:
            return
        own = {name: linked.value() for name, linked in self._linked.items()}
        if self.lesson.step is not None and self._stand() == self._begun:
            own, settings = {name: own[name] for name in own if name not in ("view", "epoch")}, {}
        else:
            settings = self.controls.values
        pn.state.location.search = address.write(
            settings | {name: value for name, value in own.items() if value is not None}
        )

    def _stand(self) -> tuple[object, ...]:
        """What the address of a lesson's step leaves out while it is as the step began."""
        return self.controls.values, self._view.value, self._replay.epoch

    # Showing

    def _live(self) -> None:
        """The page is there: look at the instances, and at the worker from now on."""
        send_at_once(self._document)
        self._callback = pn.state.add_periodic_callback(self._tick, period=REFRESH)  # pyright: ignore[reportArgumentType]
        self._look_ahead()

    async def _tick(self) -> None:
        """Take in what the worker reported.  A coroutine: it runs on the event loop whatever threads the server has."""
        self._take_in()

    def _take_in(self) -> Phase:
        try:
            fresh = self.session.drain()
        except Exception:
            log.exception("What the worker reported could not be taken in.")
            self._complain("The display could not be updated; the log has the details.")
        else:
            if fresh and self.main.visible:
                self._draw()
        return self.session.phase

    def _show(self) -> None:
        """Bring the page up to date as soon as the document is ours: Bokeh's models must not change before."""
        if self._callback is None:
            return
        waits, self._asked = self._asked, True
        if self._document is None:
            self._draw()
        elif not waits:
            self._document.add_next_tick_callback(self._draw)

    def _draw(self) -> None:
        asked, self._asked = self._asked, False
        try:
            with self._sent():
                if asked:  # by a person: what only their settings decide
                    self._write_address()
                    self._waiting = changes(self._settings, self._planned()) if self.session.plan else ""
                self._update()
        except Exception:
            log.exception("A refresh failed.")
            self._complain("The display could not be updated; the log has the details.")

    def _sent(self) -> AbstractContextManager[None]:
        """What changes within goes to the page in one piece."""
        if self._document is None:
            return notebook.pushed(self._shown)
        return pn.io.hold(self._document, policy="collect")

    def _update(self) -> None:
        session = self.session
        challenge = session.challenge or self.controls.challenge
        outcomes = session.outcomes
        shown = self.view
        if shown.panel not in self._frame.objects:
            self._frame.append(shown.panel)
        for view in self._made.values():
            view.panel.visible = view is shown
        self._run.refresh(session)
        for view in (shown, *self._parts.values()):
            view.refresh(session, challenge)
        self._replay.refresh(session)
        swept = [] if session.lane is None else list(session.lane.optimizer.sweeps)
        self._html["cards"].object = figures.cards(session, outcomes)
        # A folded table would still be sent, and Tab would find its way into it.
        self._html["runs"].object = figures.runs(outcomes, swept, self._run.value) if 0 in self._folds.active else ""
        self._html["status"].object = f'<p role="status">{self._status(outcomes)}</p>'
        if session.message:
            self._complain(session.message)
        self.lesson.refresh(session)
        if session.trouble != self._trouble:
            self._trouble = session.trouble
            if self._trouble:
                self._complain(self._trouble)
        self._transport.refresh(session)

    def _status(self, table) -> str:
        session = self.session
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

    # Layout

    def _make_main(self, above: list[Any]) -> pmui.Column:
        return pmui.Column(
            *above,
            self._transport.panel,
            self._html["status"],
            self._notice,
            self._html["cards"],
            pmui.FlexBox(self._view, self._replay.panel, align_items="center", sizing_mode="stretch_width"),
            pmui.Paper(self._frame, sizing_mode="stretch_width", margin=10),
            self._folds,
            sizing_mode="stretch_width",
        )
