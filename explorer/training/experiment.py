"""The fleets of a plan, trained side by side and looked at.  No threads: the worker's loop calls it."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

from explorer.records import (
    Fault,
    Filmed,
    FunctionSample,
    InsideSample,
    Instances,
    LandscapeSample,
    Phase,
    Place,
    Run,
    Snapshot,
    Status,
)
from explorer.records.store import Checkpoint
from explorer.training import devices
from explorer.training.continuation import Checkpoints, thaw
from explorer.training.faults import sentence
from explorer.training.film import Film
from explorer.training.fleet import Fleet, needed_a_run
from explorer.training.inside import InsideLook, inside_sample
from explorer.training.landscape import Landscape, LandscapeLook
from explorer.training.plan import Plan
from explorer.training.probes import FunctionLook, function_sample
from explorer.training.survey import Survey

log = logging.getLogger(__name__)

REPORT_EVERY = 0.1
"""Seconds between two snapshots while training."""
LOOKING = 0.05
"""The share of training time that looks inside may cost: where one is dear, they become rarer."""


@dataclass(frozen=True)
class Started:
    """The first record of a generation: the runs of each lane."""

    generation: int
    lanes: tuple[tuple[Run, ...], ...]


Record = (
    Started
    | Instances
    | Snapshot
    | Filmed
    | FunctionSample
    | InsideSample
    | LandscapeSample
    | Place
    | Fault
    | Checkpoint
)
Look = FunctionLook | InsideLook


@dataclass
class Lane:
    """A fleet, with what goes along beside it.

    filmed: what was last told of the film.  finished: nothing goes on in it.  readable: its device still answers.
    message: what there is to say of it.  looked: epoch of the last look inside.  spent: seconds that such looks took
    since the fleet's clock stood at `since`.
    """

    index: int
    name: str
    fleet: Fleet
    survey: Survey
    film: Film
    filmed: Filmed | None = None
    finished: bool = False
    readable: bool = True
    message: str = ""
    looked: int | None = None
    spent: float = 0.0
    since: float = 0.0


def needed(plan: Plan) -> int:
    """Bytes of the device's memory that the fleets of `plan` take at most, to first order."""
    device = devices.resolve(plan.device)
    return sum(
        len(entry.optimizer.grid())
        * len(plan.seeds)
        * needed_a_run(entry.challenge, entry.optimizer, device, plan.precision)
        for entry in plan.entries
    )


class Experiment:
    """The lanes of `plan`; every lane trains an epoch in turn, so that they can be compared at any moment.

    An exception in one lane ends that lane, as `failed`; the others go on.  Everything that there is to tell goes to
    `tell`, checkpoints too if there are any to be taken.  What building a fleet raises (`ValueError` for a setting that
    is not allowed) comes out of the constructor.
    """

    def __init__(
        self,
        generation: int,
        plan: Plan,
        tell: Callable[[Record], None],
        paused: bool = False,
        run: int = 0,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self.generation, self.plan, self._tell = generation, plan, tell
        self.phase = Phase.PAUSED if paused else Phase.RUNNING
        self._steps = 0
        self._run = run
        self._turns: list[Lane] = []
        self._at = 0
        self._looks: tuple[Look, ...] = ()
        self._due = time.monotonic()
        self._reported = 0.0
        self._landscape: Landscape | None = None
        self._checkpoints = checkpoints
        self.lanes: list[Lane] = []
        for index, entry in enumerate(plan.entries):
            fleet = Fleet(entry.challenge, entry.optimizer, plan.seeds, plan.device, plan.precision)
            if entry.past is not None:
                thaw(entry.past.data, fleet)
            survey = Survey(fleet.challenge, fleet.runs, fleet.datasets, generation, index)
            self.lanes.append(Lane(index, entry.name, fleet, survey, Film(self._filmed(fleet))))
        tell(Started(generation, tuple(lane.fleet.runs for lane in self.lanes)))
        for lane in self.lanes:
            lane.film.offer(lane.fleet)
            tell(lane.survey.instances)
        self.report()

    @property
    def trained(self) -> int:
        """Epochs so far, of all lanes together."""
        return sum(lane.fleet.epoch for lane in self.lanes)

    @property
    def trains(self) -> bool:
        """Whether anything can still be trained."""
        return self.phase in (Phase.RUNNING, Phase.PAUSED)

    def patience(self, pace: float | None) -> float | None:
        """Seconds until there is something to do: None if there is nothing until a command comes."""
        if self._landscape is not None or any(not lane.survey.done for lane in self.lanes):
            return 0
        if self.trains and (self._steps or self._turns):
            return 0
        if self.phase is not Phase.RUNNING:
            return None
        return max(0.0, self._due - time.monotonic()) if pace else 0

    def advance(self, pace: float | None, interrupted: Callable[[], bool]) -> None:
        """Whatever is next: an epoch of one lane, if it is time, then one look that takes long."""
        if self.trains:
            self._train(pace, interrupted)
        for lane in self.lanes:
            if not lane.survey.done:
                self._survey(lane)
                break
        self._compute()

    def hold(self, before: Phase, after: Phase) -> None:
        """Pause, or go on; a round that has begun is trained to its end."""
        if self.phase is before:
            self.phase, self._due, self._steps = after, time.monotonic(), 0
            self.report()

    def step(self) -> None:
        """Train exactly one epoch of every lane while paused."""
        if self.phase is Phase.PAUSED:
            self._steps += 1

    def stop(self) -> None:
        """End every run where it is."""
        if self.trains:
            for lane in self.lanes:
                lane.fleet.stop()
            self.phase, self._steps, self._turns = Phase.STOPPED, 0, []
            self.report()

    def tune(self, lane: int, hyperparameters: dict[str, float]) -> None:
        """Change hyperparameters of a lane from the next batch on."""
        try:
            self.lanes[lane].fleet.tune(**hyperparameters)
        except ValueError as error:
            self.report(str(error))

    def look(self, lane: int, looks: tuple[Look, ...]) -> None:
        """Sample these from now on, of this lane; what is not asked for costs nothing."""
        self._at, self._looks = min(lane, len(self.lanes) - 1), looks
        chosen = self.lanes[self._at]
        chosen.looked, chosen.spent, chosen.since = None, 0.0, chosen.fleet.seconds
        self._sample_function(chosen)

    def follow(self, run: int) -> None:
        """Film this run from now on instead."""
        if run != self._run:
            self._run = run
            for lane in self.lanes:
                lane.film = Film(self._filmed(lane.fleet))
                lane.film.offer(lane.fleet)
            self._tell_films()

    def map_loss(self, selected: int, look: LandscapeLook) -> None:
        """Compute the loss around the lanes' paths; the selected one's end is the origin."""
        for lane in self.lanes:
            lane.film.close(lane.fleet)
        self._tell_films()
        films = [(lane.name, lane.film) for lane in self.lanes]
        self._landscape = Landscape(films, self.lanes[selected].fleet, selected, look, self.generation)
        self._tell(self._landscape.record)

    def report(self, message: str = "") -> None:
        """Tell how every lane stands."""
        told = [self._snapshot(lane, self.phase, message) for lane in self.lanes if lane.readable]
        for snapshot in told:
            lane = self.lanes[snapshot.lane]
            lane.finished |= snapshot.finished
            if snapshot.status[lane.film.run] != Status.RUNNING:
                lane.film.end(int(snapshot.epochs[lane.film.run]))
        if self.trains and all(lane.finished for lane in self.lanes):
            failed = all(status == Status.FAILED for snapshot in told for status in snapshot.status)
            self.phase, self._steps, self._turns = Phase.FAILED if failed else Phase.FINISHED, 0, []
            told = [replace(snapshot, phase=self.phase) for snapshot in told]
        self._reported = time.monotonic()
        for snapshot in told:
            self._tell(snapshot)
        self._tell_films()
        self._sample_function(self.lanes[self._at], asked=False)

    def _tell_films(self) -> None:
        for lane in self.lanes:
            filmed = lane.film.told(self.generation, lane.index)
            if filmed != lane.filmed:
                lane.filmed = filmed
                self._tell(filmed)

    def _snapshot(self, lane: Lane, phase: Phase, message: str = "") -> Snapshot:
        snapshot = lane.fleet.snapshot(self.generation, phase, message or lane.message)
        return replace(snapshot, lane=lane.index)

    def _train(self, pace: float | None, interrupted: Callable[[], bool]) -> None:
        now = time.monotonic()
        if not self._turns:
            if not self._steps and (self.phase is Phase.PAUSED or (pace and now < self._due)):
                return
            self._turns = [lane for lane in self.lanes if not lane.finished]
        lane = self._turns[0]
        try:
            if not self._epoch(lane, interrupted):
                return
        except Exception as error:
            self._fail(lane, error)
        self._turns = [other for other in self._turns if other is not lane]
        if self._turns:
            return
        self._due = max(self._due, now - 1) + 1 / pace if pace else now
        self._steps = max(0, self._steps - 1)
        hurried = self.phase is Phase.RUNNING and time.monotonic() - self._reported < REPORT_EVERY
        notable = lane.message or lane.fleet.epoch in (1, lane.fleet.challenge.max_epochs)
        if not hurried or notable:
            self.report()
            self._keep()

    def _keep(self) -> None:
        """Take checkpoints, if it is time for some; a lane that failed has nothing to go on from."""
        if self._checkpoints is None or not self.trains:
            return
        lanes = [lane for lane in self.lanes if not lane.message]
        taken = self._checkpoints.offer([lane.fleet for lane in lanes])
        for lane, data in zip(lanes, taken, strict=False):
            self._tell(Checkpoint(self.generation, lane.fleet.epoch, data, lane.index))

    def _epoch(self, lane: Lane, interrupted: Callable[[], bool]) -> bool:
        """Train one epoch of one lane; False if that was interrupted."""
        if not lane.fleet.prepared:
            self._tell(self._snapshot(lane, Phase.PREPARING))
            lane.fleet.prepare()
        if not lane.fleet.advance(interrupted):
            return False
        if len(self.lanes) > 1:
            lane.fleet.settle()  # so that nobody's clock counts another's work
        lane.film.offer(lane.fleet)
        self._sample_inside(lane)
        return True

    def _fail(self, lane: Lane, error: Exception) -> None:
        log.error("Lane %d failed.", lane.index, exc_info=error)
        lane.message = sentence(error) if len(self.lanes) == 1 else f"{lane.name}: {sentence(error)}"
        self._tell(Fault(self.generation, lane.message, traceback.format_exc(), lane.index))
        lane.finished = True
        try:
            lane.fleet.stop(Status.FAILED)
        except Exception:
            log.exception("The failed fleet could not be read any more.")
            lane.readable = False

    def _survey(self, lane: Lane) -> None:
        """The floors of one more instance; what goes wrong there harms no training."""
        try:
            lane.survey.advance()
        except Exception:
            log.exception("The floors of an instance could not be computed.")
            lane.survey.give_up()
        if lane.survey.done:
            self._tell(lane.survey.instances)

    def _compute(self) -> None:
        if self._landscape is None:
            return
        try:
            self._landscape.advance()
            self._tell(self._landscape.record)
        except Exception as error:
            log.exception("The loss around the paths could not be computed.")
            self._tell(Fault(self.generation, sentence(error), traceback.format_exc(), ended=False))
            self._landscape = None
            return
        if self._landscape.done:
            self._landscape = None

    def _sample_function(self, lane: Lane, asked: bool = True) -> None:
        """What this lane has learnt, now or, if that was just asked for, then; a look that fails harms nobody."""
        for look in self._looks:
            if isinstance(look, FunctionLook) and (asked or look.epoch is None):
                try:
                    film = lane.film if look.run == lane.film.run else None
                    self._tell(function_sample(lane.fleet, look, self.generation, lane.index, film))
                except Exception:
                    log.exception("A look at the fleet failed.")

    def _sample_inside(self, lane: Lane) -> None:
        for look in self._looks:
            if not isinstance(look, InsideLook) or lane.index != self._at:
                continue
            waited = lane.looked is None or lane.fleet.epoch - lane.looked >= look.every
            if waited and lane.spent <= LOOKING * (lane.fleet.seconds - lane.since):
                try:
                    sample = inside_sample(lane.fleet, look.run, self.generation, lane.index)
                except Exception:
                    log.exception("A look inside the fleet failed.")
                    continue
                lane.looked, lane.spent = lane.fleet.epoch, lane.spent + sample.cost
                self._tell(sample)

    def _filmed(self, fleet: Fleet) -> int:
        return min(self._run, len(fleet.runs) - 1)
