"""One person's experiment: the worker, and what it has reported.  No widgets."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Self

import numpy as np
import pandas as pd

from explorer.challenge import Challenge, scoring
from explorer.optimizers import Optimizer
from explorer.records import (
    Fault,
    Filmed,
    FunctionSample,
    History,
    InsideSample,
    Instances,
    LandscapeSample,
    Phase,
    Place,
    Snapshot,
)
from explorer.records.store import Recorder
from explorer.training.experiment import Started
from explorer.training.inside import InsideLook
from explorer.training.landscape import LandscapeLook
from explorer.training.plan import Plan
from explorer.training.probes import FunctionLook
from explorer.training.result import Result, outcomes
from explorer.training.worker import Worker
from explorer.views.race import Lane as RaceLane

BUSY = (Phase.PREPARING, Phase.RUNNING, Phase.PAUSED)
FACTS = ("noise_mse", "kernel_floor", "feature_floor", "readout_floor")
GUEST = -2
"""The key of lanes that came from no entrant of the list."""
SAMPLES = 300
"""Looks inside that are kept of a lane at most; when there are more, every second one goes."""


@dataclass
class Lane:
    """What is known of one lane.

    key: the entrant of the person's list that it came from.  history: all of it; `shown`: up to the epoch that is
    looked at.  filmed: what is held of its weights.  learnt, inside: samples, where they were asked for.
    """

    key: int
    name: str
    challenge: Challenge
    optimizer: Optimizer
    history: History | None = None
    instances: Instances | None = None
    filmed: Filmed | None = None
    learnt: FunctionSample | None = None
    inside: list[InsideSample] = field(default_factory=list)
    message: str = ""
    replayed: int | None = None
    _then: History | None = None
    _scored: tuple[tuple[object, ...], tuple[object, ...], pd.DataFrame] | None = None

    @property
    def shown(self) -> History | None:
        """The history up to the epoch that is replayed; all of it where none is."""
        if self.history is None or self.replayed is None:
            return self.history
        epoch = min(self.replayed, self.history.epoch)
        if self._then is None or self._then.epoch != epoch or self._then.runs is not self.history.runs:
            self._then = self.history.upto(epoch, self.challenge.min_delta)
        return self._then

    @property
    def threshold(self) -> np.ndarray | None:
        """ε*² of each run `[R]` at the accuracy factor that the challenge has now."""
        return None if self.instances is None else scoring.threshold(self.challenge, self.instances.noise_mse)

    @property
    def outcomes(self) -> pd.DataFrame | None:
        """One row a run, as of the epoch that is shown; None before a start."""
        shown, instances = self.shown, self.instances
        if shown is None or instances is None:
            return None
        state = (shown.epoch, shown.status, self.challenge.accuracy_factor, self.message, id(shown), id(instances))
        if self._scored is None or self._scored[0] != state:  # several views ask in one refresh
            table = outcomes(self.challenge, shown, instances, self.message)
            self._scored = state, (shown, instances), table  # held, so that no other object takes their ids
        return self._scored[2]

    def result(self, device: str) -> Result | None:
        """What `explorer.train` would give of it as it stands, whatever epoch is looked at; None before a start."""
        history, instances = self.history, self.instances
        if history is None or instances is None:
            return None
        table = outcomes(self.challenge, history, instances, self.message)
        return Result(self.challenge.replace(), self.optimizer, history.to_xarray(), table, device)

    @classmethod
    def of(cls, name: str, result: Result) -> Self:
        """The lane of something that was trained elsewhere."""
        table = result.outcomes
        noise, kernel, feature, readout = (table[fact].to_numpy(dtype=float) for fact in FACTS)
        history = History.of(result.history, table)
        return cls(
            GUEST,
            name,
            result.challenge.replace(),
            result.optimizer,
            history,
            Instances(0, noise, kernel, feature, readout),
        )

    def race_lane(self) -> RaceLane | None:
        """What a race shows of it."""
        table = self.outcomes
        return None if table is None or self.shown is None else RaceLane(self.name, self.shown, table)

    def keep(self, sample: InsideSample) -> None:
        """Keep a look inside, thinning evenly where they become too many."""
        self.inside = [*(self.inside if len(self.inside) < SAMPLES else self.inside[::2]), sample]


class Session:
    """Commands go to the worker; `drain` takes in what came back, and drops what belongs to an older start.

    phase: what is going on.  lanes: of the experiment in hand, in its order; before a start one without a history, with
    the instances that will be met.  lane: the one whose own views are shown.  replayed: the epoch that is looked at, or
    None for the latest.  hidden: keys of lanes that are left out where lanes are compared.  guests: results from
    elsewhere, which are compared with the lanes and outlive every start.  recorder: keeps what is trained in a
    store, if given.
    """

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._recorder = recorder
        self._worker: Worker | None = None
        self._generation = 0
        self._rate: list[tuple[float, int]] = []
        self._fault = ""
        self.pace: float | None = None
        self.plan: Plan | None = None
        self.lanes: list[Lane] = []
        self.guests: list[Lane] = []
        self.selected = 0
        self.phase = Phase.IDLE
        self.device = ""
        self.place: Place | None = None
        """Where others train, too, and this experiment waits for its turn."""
        self.hidden: set[int] = set()
        self.replayed: int | None = None
        self.landscape: LandscapeSample | None = None

    @property
    def worker(self) -> Worker:
        """The worker, started when it is first needed."""
        if self._worker is None:
            self._worker = Worker(recorder=self._recorder)
        return self._worker

    @property
    def busy(self) -> bool:
        """Whether there are fleets in hand that can still train."""
        return self.phase in BUSY

    # What is shown of the lane in hand

    @property
    def lane(self) -> Lane | None:
        """The lane whose own views are shown."""
        return self.lanes[min(self.selected, len(self.lanes) - 1)] if self.lanes else None

    @property
    def history(self) -> History | None:
        """That lane's losses, up to the epoch that is shown."""
        return None if self.lane is None else self.lane.shown

    @property
    def instances(self) -> Instances | None:
        """That lane's instances."""
        return None if self.lane is None else self.lane.instances

    @property
    def challenge(self) -> Challenge | None:
        """That lane's challenge, not the widgets'."""
        return None if self.lane is None else self.lane.challenge

    @property
    def learnt(self) -> FunctionSample | None:
        """What its run has learnt, where that is asked for."""
        return None if self.lane is None else self.lane.learnt

    @property
    def inside(self) -> list[InsideSample]:
        """The looks inside it, up to the epoch that is shown."""
        if self.lane is None:
            return []
        last = self.replayed
        return [sample for sample in self.lane.inside if last is None or sample.epoch <= last]

    @property
    def threshold(self) -> np.ndarray | None:
        """ε*² of each of its runs `[R]` at the accuracy factor as it is now."""
        return None if self.lane is None else self.lane.threshold

    @property
    def outcomes(self) -> pd.DataFrame | None:
        """One row for each of its runs, or None before a start."""
        return None if self.lane is None else self.lane.outcomes

    @property
    def message(self) -> str:
        """What went wrong, in sentences; empty where nothing did."""
        said = dict.fromkeys([self._fault, *(lane.message for lane in self.lanes)])
        return "  ".join(sentence for sentence in said if sentence)

    @property
    def trouble(self) -> str:
        """What is wrong with the store now, in a sentence; empty where nothing is, or where none is kept."""
        return "" if self._recorder is None else self._recorder.trouble

    @property
    def epoch(self) -> int:
        """The last epoch of any lane."""
        return max((lane.history.epoch for lane in self.lanes if lane.history is not None), default=0)

    @property
    def epochs_per_second(self) -> float:
        """Over the last two seconds, as the wall clock has it; NaN before there is any."""
        if len(self._rate) < 2 or self._rate[-1][0] <= self._rate[0][0]:
            return float("nan")
        (began, first), (ended, last) = self._rate[0], self._rate[-1]
        return (last - first) / (ended - began)

    @property
    def compared(self) -> list[RaceLane]:
        """What the lanes that are compared have reached, each under a name of its own."""
        reached = ((name, lane.race_lane()) for name, lane in self.contest.items())
        return [lane._replace(name=name) for name, lane in reached if lane is not None]

    @property
    def contest(self) -> dict[str, Lane]:
        """The lanes that are compared, by a name of its own each."""
        found: dict[str, Lane] = {}
        for lane in [*self.lanes, *self.guests]:
            if lane.key not in self.hidden and lane.outcomes is not None:
                found[unused(lane.name, found)] = lane
        return found

    # Commands

    def start(self, plan: Plan, keys: Sequence[int] = (), paused: bool = False) -> None:
        """Train `plan` from its beginning.  keys: what its lanes are known by, their places if not given."""
        self._forget()
        self.plan = plan
        self.lanes = [
            Lane(key, entry.name, entry.challenge.replace(), entry.optimizer)
            for key, entry in zip(keys or range(len(plan.entries)), plan.entries, strict=True)
        ]
        self.phase = Phase.PREPARING
        self.worker.set_pace(self.pace)
        self._generation = self.worker.start(plan, paused)

    def preview(self, challenge: Challenge, optimizer: Optimizer, seeds: Sequence[int]) -> None:
        """Show the instances of a challenge without training."""
        self._forget()
        self.lanes = [Lane(-1, "", challenge.replace(), optimizer)]
        self._generation = self.worker.preview(challenge, seeds)

    def select(self, key: int) -> None:
        """Show the own views of the lane that came from this entrant, if there is one."""
        found = [index for index, lane in enumerate(self.lanes) if lane.key == key]
        if found and self.selected not in found:
            self.selected = found[0]

    def follow(self, run: int) -> None:
        """Keep this run's weights from now on, for views that look back."""
        self.worker.follow(run)

    def look(self, *looks: FunctionLook | InsideLook) -> None:
        """Have the lane sampled from now on as these need it; without any: no more."""
        if looks:
            self.follow(looks[0].run)
        self.worker.look(self.selected, *looks)

    def map_loss(self, look: LandscapeLook) -> None:
        """Have the loss around the lanes' paths computed."""
        self.follow(look.run)
        self.worker.map_loss(self.selected, look)

    def set_pace(self, epochs_per_second: float | None) -> None:
        """Train at most this fast; None: as fast as possible."""
        self.pace = epochs_per_second
        if self.busy:
            self.worker.set_pace(epochs_per_second)

    def set_accuracy_factor(self, value: float) -> None:
        """Score by another threshold, at once."""
        for lane in [*self.lanes, *self.guests]:
            lane.challenge.accuracy_factor = value

    def replay(self, epoch: int | None) -> None:
        """Show everything as it was after this epoch; None: the latest."""
        self.replayed = epoch
        for lane in [*self.lanes, *self.guests]:
            lane.replayed = epoch

    def close(self) -> None:
        """End the worker, without waiting: it lets go of its fleets within a batch."""
        if self._worker is not None:
            self._worker.close(timeout=0)
            self._worker = None

    def drain(self) -> bool:
        """Take in what the worker reported; whether there was anything but another place in the line."""
        records = [] if self._worker is None else self._worker.drain()
        fresh = [record for record in records if record.generation >= self._generation]
        for record in fresh:
            match record:
                case Started():
                    entries = self.plan.entries if self.plan is not None else ()
                    for lane, entry, runs in zip(self.lanes, entries, record.lanes, strict=True):
                        lane.history = History(runs) if entry.past is None else entry.past.history
                case Snapshot():
                    self._take(record)
                case Instances():
                    self.lanes[record.lane].instances = record
                case Filmed():
                    self.lanes[record.lane].filmed = record
                case FunctionSample():
                    self.lanes[record.lane].learnt = record
                case InsideSample():
                    self.lanes[record.lane].keep(record)
                case LandscapeSample():
                    self.landscape = record
                case Place():
                    self.place = record if record.place else None
                    if record.given_up:
                        self.phase = Phase.STOPPED
                case Fault():
                    self._hear(record)
        return any(not isinstance(record, Place) or record.given_up for record in fresh)

    def _hear(self, fault: Fault) -> None:
        if fault.lane is not None:
            self.lanes[fault.lane].message = fault.message
            return
        self._fault = fault.message
        if fault.ended:
            self.phase = Phase.FAILED

    def _forget(self) -> None:
        self.plan = self.landscape = self.replayed = None
        self.lanes = []
        self.phase, self.place, self._fault, self._rate = Phase.IDLE, None, "", []

    def _take(self, snapshot: Snapshot) -> None:
        lane = self.lanes[snapshot.lane]
        if lane.history is None:
            return
        lane.history.append(snapshot)
        self.phase, self.device = snapshot.phase, snapshot.device
        lane.message = snapshot.message
        self._rate.append((time.monotonic(), self.epoch))
        while len(self._rate) > 2 and self._rate[-1][0] - self._rate[0][0] > 2:
            self._rate.pop(0)


def unused(name: str, taken: Container[str]) -> str:
    """This name, with a number where it is taken."""
    numbered = (f"{name} #{number}" for number in count(2))
    return name if name not in taken else next(other for other in numbered if other not in taken)
