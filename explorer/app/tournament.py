"""The page of tournaments: choose, estimate, start; the scores fill in as fleets end."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from html import escape
from typing import Any

import panel as pn
import panel_material_ui as pmui

from explorer.app import html
from explorer.app import tournament_report as report
from explorer.app.presentation import Presentation
from explorer.app.tournament_form import Form, harmless
from explorer.app.tournament_scores import ScorePanel
from explorer.records import Phase
from explorer.tournament import Store, Tournament, described, estimate
from explorer.tournament.estimate import Cost, Kind
from explorer.tournament.host import Host, Report

log = logging.getLogger(__name__)

REFRESH = 200
"""Milliseconds between two looks at what the thread reported."""
LOOK_EVERY = 1.0
"""Seconds between two looks into the store, where other processes' outcomes land too."""
NEW = "New tournament"
ICONS = {"Start": "play_arrow", "Pause": "pause", "Stop": "stop", "Estimate time": "timer", "Delete": "delete"}
GOING = (Phase.PREPARING, Phase.RUNNING, Phase.PAUSED)


class TournamentPage:
    """Everything about one tournament at a time: a new one, or one that the store remembers.

    presentation: says at which scale figures are drawn.
    """

    def __init__(self, presentation: Presentation) -> None:
        self._presentation = presentation
        self._document = pn.state.curdoc
        self._host = Host()
        self._report: Report | None = None
        self._generation, self._measuring = 0, False
        self._holding = ""
        self._costs: dict[tuple[Any, ...], dict[Kind, Cost]] = {}
        self._tournament: Tournament | None = None
        self._looked, self._stale = 0.0, True
        self._sure = False
        self._form = Form(self._new, self._complain)
        self._choice = pmui.Select(label="Tournament", options={NEW: ""}, value="", size="small")
        self._choice.param.update(sizing_mode="stretch_width")
        self._choice.param.watch(lambda event: self._open(event.new), "value")
        self._html = {name: html.pane() for name in ("status", "notice", "about")}
        self._notice = pmui.Alert(self._html["notice"], severity="warning", closeable=True, visible=False, margin=10)
        self._notice.param.update(sizing_mode="stretch_width")
        self._buttons = {name: self._button(name) for name in ICONS}
        self._scores = ScorePanel(self._dirty)
        self.sidebar = pmui.Column(
            self._choice, self._form.panel, self._html["about"], self._form.device, sizing_mode="stretch_width"
        )
        self.main = pmui.Column(
            pmui.FlexBox(*self._buttons.values(), gap="6px", align_items="center", sizing_mode="stretch_width"),
            self._html["status"],
            self._notice,
            self._scores.panel,
            sizing_mode="stretch_width",
        )
        self.main.param.watch(self._dirty, "visible")
        presentation.switch.param.watch(self._dirty, "value")
        self._store = self._open_store()
        self._list()
        self._new()
        self._callback = pn.state.add_periodic_callback(self._tick, period=REFRESH)  # pyright: ignore[reportArgumentType]
        if self._document is not None:
            pn.state.on_session_destroyed(lambda context: self._host.stop())

    def close(self) -> None:
        """End the thread and the updates."""
        self._callback.stop()
        self._host.close()

    @property
    def going(self) -> bool:
        """Whether this page holds a tournament now."""
        return self._report is not None and self._report.phase in GOING and not self._measuring

    # What the buttons do

    def start(self) -> None:
        """Begin the tournament, go on after a pause, or with what is left of it."""
        if self._report is not None and self._report.phase is Phase.PAUSED:
            self._host.resume()
            return
        if self._tournament is None or self._store is None:
            return
        held = self._tournament
        self._store.hold(held.spec.key, held.spec.name, held.spec.told(), held.units)
        self._begin(measuring=False)
        self._list()
        self._choose(held.spec.key)

    def pause(self) -> None:
        """Hold before the next epoch."""
        self._host.pause()

    def stop(self) -> None:
        """Give up the fleet in hand; what has ended is kept, and Start goes on from there."""
        self._host.stop()

    def measure(self) -> None:
        """Time a few epochs of what the tournament consists of."""
        if self._tournament is not None:
            self._begin(measuring=True)

    def delete(self) -> None:
        """Forget the tournament that is shown; asks once."""
        if not self._sure:
            self._sure = True
        elif self._store is not None and self._choice.value:
            self._store.forget(self._choice.value)
            self._choose("")
            self._list()
            self._new()
        self._dirty()

    def _begin(self, measuring: bool) -> None:
        if self._tournament is None or self._store is None:
            return
        self._measuring = measuring
        begin = self._host.measure if measuring else self._host.start
        self._generation = begin(self._tournament.spec, self._store, self._form.budget.device)
        self._report = Report(self._generation, Phase.PREPARING)
        self._holding = self._tournament.spec.key
        self._notice.visible = False
        self._dirty()

    # Which tournament is shown

    def _open_store(self) -> Store | None:
        try:
            return Store()
        except ValueError as error:
            self._complain(str(error))
            return None

    def _list(self) -> None:
        """Offer what the store remembers."""
        options = {NEW: ""}
        for held in [] if self._store is None else self._store.held():
            when = datetime.fromtimestamp(held.began).strftime("%d %b %H:%M")
            options[f"{held.name}: {held.done} of {held.total}, {when} ({held.key[:4]})"] = held.key
        if options != self._choice.options:
            self._choice.options = options

    def _choose(self, key: str) -> None:
        if key in self._choice.options.values():
            self._choice.value = key

    def _new(self) -> None:
        """Take the tournament that the form tells."""
        if self._choice.value or self._store is None:
            return
        try:
            self._tournament = Tournament(self._form.spec(), self._store)
            self._notice.visible = False
        except ValueError as error:
            self._tournament = None
            self._complain(str(error))
        self._dirty()

    def _open(self, key: str) -> None:
        """Take a tournament of the store, or the form's."""
        self._sure = False
        if not key:
            self._new()
            return
        if self._store is None or (self._tournament is not None and self._tournament.spec.key == key):
            self._dirty()
            return
        self._tournament = None
        try:
            told = next((held.told for held in self._store.held() if held.key == key), None)
            if told is None:
                raise ValueError("This tournament has been deleted elsewhere.")
            self._tournament = Tournament(harmless(told), self._store)
            self._notice.visible = False
        except ValueError as error:
            self._complain(str(error))
        self._dirty()

    # Showing

    def _dirty(self, _: Any = None) -> None:
        """Draw at the next look: Bokeh's models must not change in between."""
        self._stale = True

    def _complain(self, sentence: str) -> None:
        self._html["notice"].object = f"<p>{escape(sentence)}</p>"
        self._notice.param.update(closed=False, visible=True)

    async def _tick(self) -> None:
        """Take in what the thread and the store have.  A coroutine: it runs on the event loop whatever threads are."""
        try:
            self._take_in()
            if self._stale and self.main.visible:
                self._stale = False
                with pn.io.hold(self._document, policy="collect"):
                    self._draw()
        except Exception as error:
            log.exception("A refresh failed.")
            told = isinstance(error, ValueError)  # the store's troubles are sentences
            self._complain(str(error) if told else "The display could not be updated; the log has the details.")

    def _take_in(self) -> None:
        for fresh in self._host.drain():
            if fresh.generation == self._generation:
                self._report = fresh
                self._known |= dict(fresh.costs)
                if fresh.message:
                    self._complain(fresh.message)
                self._dirty()
        if time.monotonic() - self._looked >= LOOK_EVERY:
            self._looked = time.monotonic()
            if self._tournament is not None and self._tournament.pending and self._tournament.refresh():
                self._dirty()

    @property
    def _known(self) -> dict[Kind, Cost]:
        """What was measured here of fleets as large as those of the tournament that is shown, on the same device."""
        if self._tournament is None:
            return {}
        spec = self._tournament.spec
        sizes = tuple(len(workload.instances) for workload in spec.workloads)
        return self._costs.setdefault((sizes[0], spec.precision, self._form.budget.device), {})

    @_known.setter
    def _known(self, costs: dict[Kind, Cost]) -> None:
        self._known.update(costs)

    def _draw(self) -> None:
        held = self._tournament
        fresh = not self._choice.value
        self._form.panel.visible = fresh
        self._html["about"].object = "" if fresh or held is None else _about(held)
        mine = self.going and held is not None and held.spec.key == self._holding
        phase = self._report.phase if self._report is not None and mine else Phase.IDLE
        busy = self._report is not None and self._report.phase in GOING
        able = held is not None and self._store is not None
        for name, enabled in {
            "Start": able and bool(held and held.pending) and (phase is Phase.PAUSED or not self.going),
            "Pause": phase is Phase.RUNNING,
            "Stop": busy,
            "Estimate time": able and bool(held and held.pending) and not busy,
            "Delete": not fresh and not mine,
        }.items():
            self._buttons[name].disabled = not enabled
        begun = held is not None and held.outcomes and held.pending
        self._buttons["Start"].label = "Continue" if begun or phase is Phase.PAUSED else "Start"
        self._buttons["Delete"].label = "Delete for good?" if self._sure else "Delete"
        self._html["status"].object = f'<div role="status">{self._status(held, phase)}</div>'
        self._scores.refresh(held, self._store)
        self._presentation.fit(self._scores.panel)

    def _status(self, held: Tournament | None, phase: Phase) -> str:
        if held is None:
            return "<p>Nothing to hold: the notice says why.</p>"
        done, total = len(held.units) - len(held.pending), len(held.units)
        said = f"<b>{done} of {total} fleets</b>"
        now = self._report
        if not held.pending:
            said = f"<b>Finished</b>, {total} fleets"
        elif self.going and phase is Phase.IDLE:
            said += ".  Another tournament is being held: Stop ends it"
        elif phase is Phase.PREPARING:
            said += ".  Preparing …"
        elif phase in (Phase.RUNNING, Phase.PAUSED) and now is not None and now.unit is not None:
            word = "Paused" if phase is Phase.PAUSED else "Training"
            word = f"Waiting for others’ fleets, place {now.place} in the line" if now.place else word
            said += f".  {word}: {escape(now.unit.title)}, epoch {now.epoch} of {now.unit.max_epochs}"
        return f"<p>{said}.  {self._estimate(held)}</p>{report.progress(done, total)}"

    def _estimate(self, held: Tournament) -> str:
        if not held.pending:
            return ""
        left = held.left()
        known = self._known | held.costs(self._form.budget.device)
        if self._measuring and self._report is not None and self._report.phase is Phase.PREPARING:
            return f"Timing a few epochs: {len(self._report.costs)} of {self._report.wanted or '…'} kinds of fleets."
        most = estimate.at_most(held.pending, known)
        guess = min(left, most) if most == most else left
        said = "" if left != left else f"About {report.duration(guess)} left, if the rest ends as early as these.  "
        if most != most:
            return said or "How long it takes is not known yet: <i>Estimate time</i> trains a few epochs."
        kinds = {estimate.kind(unit) for unit in held.pending}
        scaled = len(kinds - set(known))
        how = f"; {len(kinds) - scaled} of {len(kinds)} kinds of fleets timed, the others scaled" if scaled else ""
        where = escape(described(self._form.budget.device))
        return f"{said}At most {report.duration(most)} on {where}, if every run needs all its epochs{how}."

    def _button(self, name: str) -> Any:
        action = {"Estimate time": self.measure}.get(name) or getattr(self, name.lower())
        # No `description`: it would take the place of the accessible name.
        return pmui.Button(
            label=name,
            icon=ICONS[name],
            variant="contained" if name == "Start" else "outlined",
            margin=(6, 4),
            on_click=lambda event: action(),
        )


def _about(held: Tournament) -> str:
    """What a tournament of the store consists of."""
    spec = held.spec
    rules = ", ".join(
        f"{ruleset.key.replace('_', '-')}: " + ", ".join(f"{name} {value:g}" for name, value in ruleset.values.items())
        for ruleset in spec.rulesets
    )
    lines = {
        "Entrants": ", ".join(submission.name for submission in spec.submissions),
        "Workloads": ", ".join(workload.name for workload in spec.workloads),
        "Rules": rules,
        "Budget": f"{spec.max_epochs} epochs, {len(spec.workloads[0].instances)} instances, {spec.precision}",
        "Baseline": spec.baseline or "none",
    }
    return "".join(f"<p><b>{name}</b>: {escape(value)}</p>" for name, value in lines.items())
