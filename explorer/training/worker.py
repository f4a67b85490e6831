"""The worker: the only thread of a session that trains.

Commands go in by a queue, immutable records come out by another; nothing else is shared.  The thread owns its fleets
and touches no widget, no `param` object that anybody else holds and no document.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count

import torch

from explorer.challenge.settings import Challenge
from explorer.records import Fault, Phase, Run
from explorer.training import devices
from explorer.training.experiment import Experiment, Look, Record
from explorer.training.faults import sentence
from explorer.training.landscape import LandscapeLook
from explorer.training.plan import Plan
from explorer.training.survey import Survey

log = logging.getLogger(__name__)

NICENESS = 10
"""How far the page, the server and everything else go before training on a busy processor."""

_living: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """An interpreter that ends under a training thread takes torch down with a crash: end the threads first."""
    for worker in list(_living):
        worker.close()


class Worker:
    """Trains one experiment at a time in a thread of its own.

    Methods return at once; what they did shows in the records that `drain` hands over.  Each record carries the
    generation that `start` returned, so that stale ones can be dropped.
    """

    def __init__(self) -> None:
        self._commands: queue.SimpleQueue[tuple[int, Callable[[], None]]] = queue.SimpleQueue()
        self._records: queue.SimpleQueue[Record] = queue.SimpleQueue()
        self._generations = count(1)
        self._latest = 0
        # A command that ends the fleets in hand takes the next ticket; an epoch whose own is out of date is given up.
        self._ticket = 0
        self._honoured = 0
        self._open = True
        self._pace: float | None = None
        self._experiment: Experiment | None = None
        self._previewed: Survey | None = None
        self._streams = False
        self._looking: tuple[int, tuple[Look, ...]] = (0, ())
        self._run = 0
        self._thread = threading.Thread(target=self._work, name="explorer-worker", daemon=True)
        self._thread.start()
        _living.add(self)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self, plan: Plan, paused: bool = False) -> int:
        """End what is in hand, if anything, and train `plan`; its generation.  Paused: wait for `step` or `resume`."""
        generation = self._latest = next(self._generations)
        self._send(lambda: self._start(generation, plan, paused), ends=True)
        return generation

    def preview(self, challenge: Challenge, seeds: Sequence[int]) -> int:
        """End what is in hand, if anything, and report the `Instances` of `seeds` without training: a generation."""
        generation = self._latest = next(self._generations)
        self._send(lambda: self._preview(generation, challenge, seeds), ends=True)
        return generation

    def pause(self) -> None:
        """Hold after the current epoch."""
        self._ask(lambda experiment: experiment.hold(Phase.RUNNING, Phase.PAUSED))

    def resume(self) -> None:
        """Go on."""
        self._ask(lambda experiment: experiment.hold(Phase.PAUSED, Phase.RUNNING))

    def step(self) -> None:
        """Train exactly one epoch while paused."""
        self._ask(Experiment.step)

    def stop(self) -> None:
        """End every run that still goes on, within one batch."""
        self._ask(Experiment.stop, ends=True)

    def set_pace(self, epochs_per_second: float | None) -> None:
        """Train at most this fast; None: as fast as possible."""
        self._send(lambda: setattr(self, "_pace", epochs_per_second))

    def tune(self, lane: int = 0, /, **hyperparameters: float) -> None:
        """Change hyperparameters of a lane from the next batch on."""
        self._ask(lambda experiment: experiment.tune(lane, hyperparameters))

    def look(self, lane: int, *looks: Look) -> None:
        """From now on sample these of this lane, in later experiments too; without looks: nothing, at no cost."""
        self._send(lambda: setattr(self, "_looking", (lane, looks)))
        self._ask(lambda experiment: experiment.look(lane, looks))

    def follow(self, run: int) -> None:
        """From now on film this run of every fleet, for views that look back."""
        self._send(lambda: setattr(self, "_run", run))
        self._ask(lambda experiment: experiment.follow(run))

    def map_loss(self, lane: int, look: LandscapeLook) -> None:
        """Compute, once, the loss around the lanes' paths, from this lane's end."""
        self._ask(lambda experiment: experiment.map_loss(lane, look))

    def drain(self) -> list[Record]:
        """The records since the last call, oldest first."""
        records = []
        while True:
            try:
                records.append(self._records.get_nowait())
            except queue.Empty:
                return records

    def close(self, timeout: float = 5.0) -> bool:
        """End the thread and let go of the fleets; whether it ended within `timeout` seconds."""
        self._send(lambda: setattr(self, "_open", False), ends=True)
        self._thread.join(timeout)
        return not self.alive

    def _send(self, command: Callable[[], None], ends: bool = False) -> None:
        self._ticket += ends
        self._commands.put((self._ticket, command))

    def _ask(self, command: Callable[[Experiment], object], ends: bool = False) -> None:
        """Send a command for the experiment in hand, if there is one by then."""

        def pass_on() -> None:
            if self._experiment is not None:
                command(self._experiment)

        self._send(pass_on, ends)

    def _work(self) -> None:
        yield_to_others()
        while self._open:
            try:
                self._obey(self._patience())
                if self._open and self._experiment is not None:
                    self._experiment.advance(self._pace, lambda: self._ticket != self._honoured)
                if self._open and self._previewed is not None:
                    self._survey(self._previewed)
            except Exception as error:
                self._fail(error)
        self._experiment = self._previewed = None

    def _patience(self) -> float | None:
        """How long to wait for a command before anything goes on: None for ever, 0 not at all."""
        if self._previewed is not None:
            return 0
        return None if self._experiment is None else self._experiment.patience(self._pace)

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

    def _survey(self, survey: Survey) -> None:
        """Compute the floors of one more instance of a preview."""
        if not survey.done:
            survey.advance()
        if survey.done:
            self._records.put(survey.instances)
            self._previewed = None

    def _preview(self, generation: int, challenge: Challenge, seeds: Sequence[int]) -> None:
        if generation != self._latest:  # a slider on its way: only where it rests counts
            return
        self._end()
        try:
            datasets = {seed: challenge.dataset(seed) for seed in seeds}
        except Exception as error:
            self._records.put(Fault(generation, sentence(error), traceback.format_exc()))
            return
        self._previewed = Survey(challenge, [Run(seed, {}) for seed in seeds], datasets, generation)
        self._records.put(self._previewed.instances)

    def _start(self, generation: int, plan: Plan, paused: bool) -> None:
        if generation != self._latest:
            return
        self._end()
        try:
            if devices.resolve(plan.device).type == "cuda" and not self._streams:
                # A stream of this thread's own: two sessions' fleets share the device instead of taking turns.
                torch.cuda.set_stream(torch.cuda.Stream())
                self._streams = True
            self._experiment = Experiment(generation, plan, self._records.put, paused, self._run)
        except Exception as error:
            self._records.put(Fault(generation, sentence(error), traceback.format_exc()))
            return
        self._experiment.look(*self._looking)

    def _end(self) -> None:
        """Let go of the fleets in hand, so that their memory is free before the next ones ask for some."""
        if self._experiment is not None:
            self._experiment.stop()
        self._experiment = self._previewed = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _fail(self, error: Exception) -> None:
        """An exception ends what is in hand and nothing else."""
        log.exception("The worker gave up what it had in hand.")
        held = self._experiment or (self._previewed and self._previewed.instances)
        self._experiment = self._previewed = None
        if held:
            self._records.put(Fault(held.generation, sentence(error), traceback.format_exc()))


def yield_to_others() -> None:
    """Let whoever waits for an answer go first: lower this thread's priority, where threads have their own (Linux)."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
