"""The worker: the only thread of a session that trains.

Commands go in by a queue, immutable records come out by another; nothing else is shared.  The thread owns its fleet and
touches no widget, no `param` object that anybody else holds and no document.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import torch

from explorer.challenge.settings import Challenge
from explorer.optimizers.base import Optimizer
from explorer.records import Fault, FunctionSample, Instances, Phase, Run, Snapshot, Status
from explorer.training import devices
from explorer.training.faults import sentence
from explorer.training.fleet import Fleet
from explorer.training.probes import Look, function_sample
from explorer.training.survey import Survey

log = logging.getLogger(__name__)

REPORT_EVERY = 0.1
"""Seconds between two snapshots while training."""


@dataclass(frozen=True)
class Plan:
    """What to train."""

    challenge: Challenge
    optimizer: Optimizer
    seeds: tuple[int, ...]
    device: str = "auto"
    precision: str = "float32"


@dataclass(frozen=True)
class Started:
    """The first record of a generation: the runs that it has."""

    generation: int
    runs: tuple[Run, ...]


Record = Started | Instances | Snapshot | FunctionSample | Fault


@dataclass
class _Job:
    """The fleet in hand."""

    generation: int
    fleet: Fleet
    phase: Phase
    steps: int = 0
    due: float = 0.0
    reported: float = 0.0


_living: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """An interpreter that ends under a training thread takes torch down with a crash: end the threads first."""
    for worker in list(_living):
        worker.close()


class Worker:
    """Trains one fleet at a time in a thread of its own.

    Methods return at once; what they did shows in the records that `drain` hands over.  Each record carries the
    generation that `start` returned, so that stale ones can be dropped.
    """

    def __init__(self) -> None:
        self._commands: queue.SimpleQueue[tuple[int, Callable[[], None]]] = queue.SimpleQueue()
        self._records: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self._generations = count(1)
        self._latest = 0
        # A command that ends the fleet in hand takes the next ticket; an epoch is given up when its own is out of date.
        self._ticket = 0
        self._honoured = 0
        self._open = True
        self._pace: float | None = None
        self._job: _Job | None = None
        self._streams = False
        self._look_at: Look | None = None
        self._survey: Survey | None = None
        self._thread = threading.Thread(target=self._work, name="explorer-worker", daemon=True)
        self._thread.start()
        _living.add(self)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self, plan: Plan, paused: bool = False) -> int:
        """End the fleet in hand, if any, and train `plan`; its generation.  Paused: wait for `step` or `resume`."""
        generation = self._latest = next(self._generations)
        self._send(lambda: self._start(generation, plan, paused), ends=True)
        return generation

    def preview(self, challenge: Challenge, seeds: Sequence[int]) -> int:
        """End the fleet in hand, if any, and report the `Instances` of `seeds` without training; their generation."""
        generation = self._latest = next(self._generations)
        self._send(lambda: self._preview(generation, challenge, seeds), ends=True)
        return generation

    def pause(self) -> None:
        """Hold after the current epoch."""
        self._send(lambda: self._hold(Phase.RUNNING, Phase.PAUSED))

    def resume(self) -> None:
        """Go on."""
        self._send(lambda: self._hold(Phase.PAUSED, Phase.RUNNING))

    def step(self) -> None:
        """Train exactly one epoch while paused."""
        self._send(self._step)

    def stop(self) -> None:
        """End every run that still goes on, within one batch."""
        self._send(self._stop, ends=True)

    def set_pace(self, epochs_per_second: float | None) -> None:
        """Train at most this fast; None: as fast as possible."""
        self._send(lambda: setattr(self, "_pace", epochs_per_second))

    def tune(self, **hyperparameters: float) -> None:
        """Change hyperparameters of the fleet in hand from the next batch on."""
        self._send(lambda: self._tune(hyperparameters))

    def look(self, at: Look | None) -> None:
        """From now on report what this run has learnt with every snapshot; None: nothing, at no cost."""
        self._send(lambda: self._turn(at))

    def drain(self) -> list[Record]:
        """The records since the last call, oldest first."""
        records = []
        while True:
            try:
                records.append(self._records.get_nowait())
            except queue.Empty:
                return records

    def close(self, timeout: float = 5.0) -> bool:
        """End the thread and let go of the fleet; whether it ended within `timeout` seconds."""
        self._send(lambda: setattr(self, "_open", False), ends=True)
        self._thread.join(timeout)
        return not self.alive

    def _send(self, command: Callable[[], None], ends: bool = False) -> None:
        self._ticket += ends
        self._commands.put((self._ticket, command))

    def _work(self) -> None:
        while self._open:
            try:
                self._obey(self._patience())
                if self._open and self._job is not None:
                    self._train(self._job)
                if self._open and self._survey is not None:
                    self._look(self._survey)
            except Exception as error:
                self._fail(error)
        self._job = self._survey = None

    def _patience(self) -> float | None:
        """How long to wait for a command before training goes on: None for ever, 0 not at all."""
        job = self._job
        if self._survey is not None or (job is not None and job.steps):
            return 0
        if job is None or job.phase is not Phase.RUNNING:
            return None
        return max(0.0, job.due - time.monotonic()) if self._pace else 0

    def _obey(self, patience: float | None) -> None:
        """Carry out every command that is there, waiting `patience` for the first."""
        deadline = None if patience is None else time.monotonic() + patience
        while True:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                ticket, command = self._commands.get(timeout=left) if left != 0 else self._commands.get_nowait()
            except queue.Empty:
                return
            self._honoured = ticket
            command()
            deadline = time.monotonic()

    def _train(self, job: _Job) -> None:
        if job.phase not in (Phase.RUNNING, Phase.PAUSED):
            return
        now = time.monotonic()
        runs = job.phase is Phase.RUNNING and (not self._pace or now >= job.due)
        if (runs or job.steps) and not job.fleet.prepared:
            self._records.put(job.fleet.snapshot(job.generation, Phase.PREPARING))
            job.fleet.prepare()
        if (runs or job.steps) and job.fleet.advance(lambda: self._ticket != self._honoured):
            job.due = max(job.due, now - 1) + 1 / self._pace if self._pace else now
            job.steps = max(0, job.steps - 1)
            shown = job.phase is Phase.RUNNING and time.monotonic() - job.reported < REPORT_EVERY
            if not shown or job.fleet.epoch >= job.fleet.challenge.max_epochs or job.fleet.epoch == 1:
                self._report(job)

    def _look(self, survey: Survey) -> None:
        """Compute the floors of one more instance, between two epochs; what goes wrong there harms no training."""
        try:
            if not survey.done:
                survey.advance()
        except Exception as error:
            log.exception("The floors of an instance could not be computed.")
            if self._job is None:
                self._records.put(Fault(survey.instances.generation, sentence(error), traceback.format_exc()))
            self._survey = None
            return
        if survey.done:
            self._records.put(survey.instances)
            self._survey = None

    def _preview(self, generation: int, challenge: Challenge, seeds: Sequence[int]) -> None:
        if generation != self._latest:  # a slider on its way: only where it rests counts
            return
        self._end()
        try:
            datasets = {seed: challenge.dataset(seed) for seed in seeds}
        except Exception as error:
            self._records.put(Fault(generation, sentence(error), traceback.format_exc()))
            return
        self._survey = Survey(challenge, [Run(seed, {}) for seed in seeds], datasets, generation)
        self._records.put(self._survey.instances)

    def _start(self, generation: int, plan: Plan, paused: bool) -> None:
        if generation != self._latest:
            return
        self._end()
        try:
            if devices.resolve(plan.device).type == "cuda" and not self._streams:
                # A stream of this thread's own: two sessions' fleets share the device instead of taking turns.
                torch.cuda.set_stream(torch.cuda.Stream())
                self._streams = True
            fleet = Fleet(plan.challenge, plan.optimizer, plan.seeds, plan.device, plan.precision)
        except Exception as error:
            self._records.put(Fault(generation, sentence(error), traceback.format_exc()))
            return
        self._survey = Survey(fleet.challenge, fleet.runs, fleet.datasets, generation)
        self._job = _Job(generation, fleet, Phase.PAUSED if paused else Phase.RUNNING, due=time.monotonic())
        self._records.put(Started(generation, fleet.runs))
        self._records.put(self._survey.instances)
        self._report(self._job)

    def _hold(self, before: Phase, after: Phase) -> None:
        if self._job is not None and self._job.phase is before:
            self._job.phase, self._job.due, self._job.steps = after, time.monotonic(), 0
            self._report(self._job)

    def _step(self) -> None:
        if self._job is not None and self._job.phase is Phase.PAUSED:
            self._job.steps += 1

    def _tune(self, hyperparameters: dict[str, float]) -> None:
        if self._job is not None:
            try:
                self._job.fleet.tune(**hyperparameters)
            except ValueError as error:
                self._report(self._job, str(error))

    def _turn(self, at: Look | None) -> None:
        self._look_at = at
        if self._job is not None:
            self._sample(self._job)

    def _sample(self, job: _Job) -> None:
        """Report what is looked at; a look that fails harms nobody."""
        if self._look_at is None:
            return
        try:
            self._records.put(function_sample(job.fleet, self._look_at, job.generation))
        except Exception:
            log.exception("A look at the fleet failed.")

    def _stop(self) -> None:
        if self._job is not None and self._job.phase in (Phase.RUNNING, Phase.PAUSED):
            self._job.fleet.stop()
            self._job.phase, self._job.steps = Phase.STOPPED, 0
            self._report(self._job)

    def _end(self) -> None:
        """Let go of the fleet in hand, so that its memory is free before the next one asks for some."""
        self._stop()
        self._job = self._survey = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _report(self, job: _Job, message: str = "") -> None:
        snapshot = job.fleet.snapshot(job.generation, job.phase, message)
        if snapshot.finished and job.phase in (Phase.RUNNING, Phase.PAUSED):
            job.phase, job.steps = Phase.FINISHED, 0
            snapshot = replace(snapshot, phase=job.phase)
        job.reported = time.monotonic()
        self._records.put(snapshot)
        self._sample(job)

    def _fail(self, error: Exception) -> None:
        """An exception ends what is in hand and nothing else."""
        log.exception("The worker gave up what it had in hand.")
        job, survey = self._job, self._survey
        self._job = self._survey = None
        message = sentence(error)
        held = job or (survey and survey.instances)
        if held:
            self._records.put(Fault(held.generation, message, traceback.format_exc()))
        if job is None:
            return
        try:
            job.fleet.stop(Status.FAILED)
            self._records.put(job.fleet.snapshot(job.generation, Phase.FAILED, message))
        except Exception:
            log.exception("The failed fleet could not be read any more.")
