"""The Panel app: the challenge, live."""

from __future__ import annotations

import logging
from html import escape

import panel as pn
import panel_material_ui as pmui

from explorer.app import figures, html, words
from explorer.app.controls import Controls, folded
from explorer.app.fields import changes
from explorer.app.function import FunctionPanel
from explorer.app.losses import LossPanel
from explorer.app.race import RacePanel
from explorer.app.session import Session
from explorer.app.setup import PACES
from explorer.challenge.data import FIELDS
from explorer.optimizers import Optimizer
from explorer.records import Phase
from explorer.training.worker import Plan

log = logging.getLogger(__name__)

INSTANCE = {*FIELDS, "preset", "frozen_layers", "seeds", "first_seed"}
"""Settings that another instance, or another floor, comes with."""
REFRESH = 200
"""Milliseconds between two looks at the worker: faster costs the page more than it shows."""


class Explorer(pn.viewable.Viewer):
    """The whole explorer: settings, buttons, figures and the live plot.

    `.servable()` under `panel serve`; as a cell's last line it shows itself in Jupyter.
    """

    def __init__(self, **params) -> None:
        super().__init__(**params)
        self._document = pn.state.curdoc
        self._asked = False
        self.session = Session()
        self.controls = Controls(self._changed, self._complain)
        self.losses = LossPanel(self._show)
        self.function = FunctionPanel(self._turn)
        self.race = RacePanel(self._show)
        self._loading = False
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
        self._buttons = self._make_buttons()
        self.function.panel.visible = self.race.panel.visible = False
        self._views = {"Losses": self.losses, "Function": self.function, "Race": self.race}
        self._view = pmui.RadioButtonGroup(options=list(self._views), value="Losses", size="small", margin=(0, 10))
        self._view.param.watch(self._turn, "value")
        self._folds = folded(("Runs", self._html["runs"]), ("About the optimizer", self.controls.about), margin=10)
        self._folds.param.watch(lambda event: self._show(), "active")
        self.sidebar = self.controls.panel
        self.main = self._make_main()
        self._load_address()
        self._callback = None
        # Not before the page has loaded: what changes earlier can get lost on its way, and a request that no browser
        # follows up would leave a thread behind.
        pn.state.onload(self._live)
        if pn.state.curdoc is not None:
            pn.state.on_session_destroyed(lambda context: self.session.close())

    def __panel__(self) -> pn.viewable.Viewable:
        return pn.Row(
            pmui.Column(self.sidebar, width=330, scroll=True), self.main, sizing_mode="stretch_width", min_height=760
        )

    def close(self) -> None:
        """End the training thread and the updates."""
        if self._callback is not None:
            self._callback.stop()
        self.session.close()

    # What the buttons do

    def start(self, _=None) -> None:
        """Train from the beginning, or go on after a pause."""
        if self.session.phase is Phase.PAUSED:
            self.session.worker.resume()
        elif not self.session.busy:
            self._begin(paused=False)

    def pause(self, _=None) -> None:
        """Hold after the current epoch."""
        self.session.worker.pause()

    def step(self, _=None) -> None:
        """Train exactly one epoch."""
        if not self.session.busy:
            self._begin(paused=True)
        self.session.worker.step()

    def stop(self, _=None) -> None:
        """End the runs where they are."""
        self.session.worker.stop()

    def reset(self, _=None) -> None:
        """Back to epoch 0 with the same instances and the same start."""
        self._preview()

    def reseed(self, _=None) -> None:
        """Back to epoch 0 with new instances."""
        setup = self.controls.setup
        setup.first_seed = (setup.first_seed + setup.seeds) % setup.param.first_seed.bounds[1]
        self.controls.show("first_seed")
        self._write_address()
        self._preview()

    def keep(self, _=None) -> None:
        """Keep these runs as a lane of the race, to compare the next ones with."""
        said = self.race.keep(self.session)
        if said:
            self._complain(said)
        self._show()

    def _begin(self, paused: bool) -> None:
        setup = self.controls.setup
        plan = Plan(
            self.controls.challenge.replace(),
            self.controls.optimizer,
            setup.seed_list,
            setup.device,
            setup.precision,
        )
        self._notice.visible = False
        self.session.start(plan, paused)
        self._settings = self._planned()
        self._show()

    def _preview(self) -> None:
        self.session.preview(self.controls.challenge, self.controls.setup.seed_list)
        self._show()

    # What changes bring

    def _changed(self, name: str) -> None:
        """A setting changed: apply at once what can be, and say what waits for the next start."""
        if self._loading:
            return
        setup, session = self.controls.setup, self.session
        session.set_pace(PACES[setup.pace])
        if name == "accuracy_factor" and session.challenge is not None:
            session.challenge.accuracy_factor = self.controls.challenge.accuracy_factor
        elif session.history is None and not session.busy:
            if name in INSTANCE:
                self._preview()
        elif session.busy and session.plan is not None:
            self._tune(session.plan.optimizer, name)
        self._write_address()
        self._show()

    def _tune(self, running: Optimizer, name: str) -> None:
        """Hand a hyperparameter to the running fleet, unless it is swept or fixed there."""
        if running.key != self.controls.kind.key or name not in running.fields():
            return
        value = self.controls.hyperparameters[name]
        if running.sweepable(name) and name not in running.sweeps and not isinstance(value, list):
            self.session.worker.tune(**{name: value})
            self._settings[name] = value

    def _planned(self) -> dict:
        """Everything that a start takes over."""
        waiting = (
            self.controls.setup.values
            | {"optimizer": self.controls.kind.key}
            | self.controls.challenge.values
            | self.controls.hyperparameters
        )
        for immediate in ("pace", "accuracy_factor"):
            waiting.pop(immediate)
        return waiting

    def _complain(self, sentence: str) -> None:
        self._html["notice"].object = f"<p>{escape(sentence)}</p>"
        self._notice.param.update(closed=False, visible=True)

    def _turn(self, _=None) -> None:
        """Show the chosen view.  What only it needs is sampled while it is shown, and only then."""
        self.session.look(self.function.look if self._view.value == "Function" else None)
        self._show()

    # Address

    def _load_address(self) -> None:
        location = pn.state.location
        if location is None:
            return
        self._loading = True
        complaints = self.controls.load(location.search or "")
        self._loading = False
        if complaints:
            self._complain("  ".join(complaints))
        self.session.set_pace(PACES[self.controls.setup.pace])

    def _write_address(self) -> None:
        if pn.state.location is not None:
            pn.state.location.search = self.controls.address

    # Showing

    def _live(self) -> None:
        """The page is there: look at the instances, and at the worker from now on."""
        self._callback = pn.state.add_periodic_callback(self._tick, period=REFRESH)  # pyright: ignore[reportArgumentType]
        self._write_address()
        self._preview()

    async def _tick(self) -> None:
        """Take in what the worker reported.  A coroutine: it runs on the event loop whatever threads the server has."""
        try:
            fresh = self.session.drain()
        except Exception:
            log.exception("What the worker reported could not be taken in.")
            self._complain("The display could not be updated; the log has the details.")
        else:
            if fresh:
                self._draw()

    def _show(self) -> None:
        """Bring the page up to date as soon as the document is ours: Bokeh's models must not change before."""
        if self._callback is None:
            return
        if self._document is None:
            self._draw()
        elif not self._asked:
            self._asked = True
            self._document.add_next_tick_callback(self._draw)

    def _draw(self) -> None:
        self._asked = False
        try:
            with pn.io.hold(self._document, policy="collect"):
                self._update()
        except Exception:
            log.exception("A refresh failed.")
            self._complain("The display could not be updated; the log has the details.")

    def _update(self) -> None:
        session = self.session
        challenge = session.challenge or self.controls.challenge
        outcomes = session.outcomes
        for name, view in self._views.items():
            view.panel.visible = name == self._view.value
        self._views[self._view.value].refresh(session, challenge)
        swept = [] if session.plan is None else list(session.plan.optimizer.sweeps)
        self._html["cards"].object = figures.cards(session, outcomes)
        # A folded table would still be sent, and Tab would find its way into it.
        self._html["runs"].object = figures.runs(outcomes, swept) if 0 in self._folds.active else ""
        self._html["status"].object = f'<p role="status">{self._status(outcomes)}</p>'
        if session.message:
            self._complain(session.message)
        phase = session.phase
        for name, enabled in {
            "Start": phase not in (Phase.RUNNING, Phase.PREPARING),
            "Pause": phase is Phase.RUNNING,
            "Step": phase in (Phase.IDLE, Phase.PAUSED, Phase.FAILED),
            "Stop": session.busy,
            "Keep": session.history is not None,
        }.items():
            self._buttons[name].disabled = not enabled

    def _status(self, table) -> str:
        session = self.session
        said = f"<b>{words.PHASES[session.phase]}</b>"
        if table is not None and len(table) > 1:
            said += f", {len(table)} runs (figures are medians)"
        if table is not None and session.phase in (Phase.FINISHED, Phase.STOPPED, Phase.FAILED):
            said += f": {words.ending(table)}"
        if session.plan is not None and (waiting := changes(self._settings, self._planned())):
            said += f".  At the next start: {waiting}"
        return said + (f".  Device: {escape(session.device)}." if session.device else ".")

    # Layout

    def _make_buttons(self) -> dict[str, pmui.Button]:
        buttons = {}
        # No `description`: it would take the place of the accessible name.
        for name, icon, action in (
            ("Start", "play_arrow", self.start),
            ("Pause", "pause", self.pause),
            ("Step", "skip_next", self.step),
            ("Stop", "stop", self.stop),
            ("Reset", "replay", self.reset),
            ("Reseed", "casino", self.reseed),
            ("Keep", "push_pin", self.keep),
        ):
            variant = "contained" if name == "Start" else "outlined"
            buttons[name] = pmui.Button(label=name, icon=icon, variant=variant, margin=(6, 4), on_click=action)
        return buttons

    def _make_main(self) -> pmui.Column:
        transport = pmui.FlexBox(*self._buttons.values(), gap="6px", align_items="center", sizing_mode="stretch_width")
        return pmui.Column(
            transport,
            self._html["status"],
            self._notice,
            self._html["cards"],
            self._view,
            pmui.Paper(*(view.panel for view in self._views.values()), sizing_mode="stretch_width", margin=10),
            self._folds,
            sizing_mode="stretch_width",
        )
