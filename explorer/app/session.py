"""One person's experiment: the worker, and what it has reported.  No widgets."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pandas as pd

from explorer.challenge import Challenge, scoring
from explorer.records import Fault, FunctionSample, History, Instances, Phase, Snapshot
from explorer.training.probes import Look
from explorer.training.result import outcomes
from explorer.training.worker import Plan, Started, Worker

BUSY = (Phase.PREPARING, Phase.RUNNING, Phase.PAUSED)


class Session:
    """Commands go to the worker; `drain` takes in what came back, and drops what belongs to an older start.

    phase: what is going on.  history, instances, learnt: of the fleet in hand, or None.  challenge: the fleet's, not
    the widgets'.  message: a sentence where something went wrong.
    """

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._generation = 0
        self._rate: list[tuple[float, int]] = []
        self.pace: float | None = None
        self.plan: Plan | None = None
        self.challenge: Challenge | None = None
        self.history: History | None = None
        self.instances: Instances | None = None
        self.learnt: FunctionSample | None = None
        self.phase = Phase.IDLE
        self.message = ""
        self.device = ""

    @property
    def worker(self) -> Worker:
        """The worker, started when it is first needed."""
        if self._worker is None:
            self._worker = Worker()
        return self._worker

    @property
    def busy(self) -> bool:
        """Whether a fleet is in hand that can still train."""
        return self.phase in BUSY

    def start(self, plan: Plan, paused: bool = False) -> None:
        """Train `plan` from its beginning."""
        self._forget(plan.challenge)
        self.plan = plan
        self.phase = Phase.PREPARING
        self.worker.set_pace(self.pace)
        self._generation = self.worker.start(plan, paused)

    def preview(self, challenge: Challenge, seeds: Sequence[int]) -> None:
        """Show the instances of a challenge without training."""
        self._forget(challenge)
        self._generation = self.worker.preview(challenge, seeds)

    def set_pace(self, epochs_per_second: float | None) -> None:
        """Train at most this fast; None: as fast as possible."""
        self.pace = epochs_per_second
        if self.busy:
            self.worker.set_pace(epochs_per_second)

    def look(self, at: Look | None) -> None:
        """Have a run's function sampled from now on; None: no more."""
        self.worker.look(at)

    def close(self) -> None:
        """End the worker, without waiting: it lets go of its fleet within a batch."""
        if self._worker is not None:
            self._worker.close(timeout=0)
            self._worker = None

    def drain(self) -> bool:
        """Take in what the worker reported; whether there was anything."""
        records = [] if self._worker is None else self._worker.drain()
        fresh = [record for record in records if record.generation >= self._generation]
        for record in fresh:
            match record:
                case Started():
                    self.history = History(record.runs)
                case Instances():
                    self.instances = record
                case Snapshot():
                    self._take(record)
                case FunctionSample():
                    self.learnt = record
                case Fault():
                    self.phase, self.message = Phase.FAILED, record.message
        return bool(fresh)

    @property
    def threshold(self) -> np.ndarray | None:
        """ε*² of each run `[R]` at the accuracy factor that the challenge has now."""
        if self.instances is None or self.challenge is None:
            return None
        return scoring.threshold(self.challenge, self.instances.noise_mse)

    @property
    def outcomes(self) -> pd.DataFrame | None:
        """One row a run, or None before a start."""
        if self.history is None or self.instances is None or self.challenge is None:
            return None
        return outcomes(self.challenge, self.history, self.instances, self.message)

    @property
    def epochs_per_second(self) -> float:
        """Over the last two seconds, as the wall clock has it; NaN before there is any."""
        if len(self._rate) < 2 or self._rate[-1][0] <= self._rate[0][0]:
            return float("nan")
        (began, first), (ended, last) = self._rate[0], self._rate[-1]
        return (last - first) / (ended - began)

    def _forget(self, challenge: Challenge) -> None:
        self.challenge = challenge.replace()
        self.plan = self.history = self.instances = self.learnt = None
        self.phase, self.message, self._rate = Phase.IDLE, "", []

    def _take(self, snapshot: Snapshot) -> None:
        if self.history is None:
            return
        self.history.append(snapshot)
        self.phase, self.device = snapshot.phase, snapshot.device
        self.message = snapshot.message
        self._rate.append((time.monotonic(), self.history.epoch))
        while len(self._rate) > 2 and self._rate[-1][0] - self._rate[0][0] > 2:
            self._rate.pop(0)
