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
from dataclasses import dataclass, field
from itertools import count

import torch

from explorer.challenge.settings import Challenge
from explorer.records import Fault, Phase, Place, Run, Snapshot
from explorer.records.store import INTERRUPTED, Checkpoint, Recorder, Recording
from explorer.training import caps, continuation, courtesy, devices, tally
from explorer.training.experiment import Experiment, Look, Record, needed
from explorer.training.faults import sentence
from explorer.training.landscape import LandscapeLook
from explorer.training.line import Turn, line
from explorer.training.plan import Plan
from explorer.training.survey import Survey

log = logging.getLogger(__name__)

NICENESS = 10
"""How far the page, the server and everything else go before training on a busy processor."""

LOOK_AGAIN = 1.0
"""Seconds between two looks at the line while waiting in it, of a whole class; who is called is awake at once."""

_numbers = count(1)
_living: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """An interpreter that ends under a training thread takes torch down with a crash: end the threads first."""
    for worker in list(_living):
        worker.close(timeout=0)  # all of them, or one that ends would call the next one from the line
    for worker in list(_living):
        worker.close()


@dataclass
class _Pending:
    """A start whose turn has not come.  needed: bytes of memory.  later: commands for the experiment, once there."""

    generation: int
    plan: Plan
    paused: bool
    needed: int
    later: list[Callable[[Experiment], object]] = field(default_factory=list)


class Worker:
    """Trains one experiment at a time in a thread of its own, in turns with other workers where they are many.

    Methods return at once; what they did shows in the records that `drain` hands over.  Each record carries the
    generation that `start` returned, so that stale ones can be dropped.  session: whom it trains for, itself if not
    given; turns go round by session.  recorder: keeps every experiment in a store, from when its fleets are made.
    """

    def __init__(self, session: object = None, recorder: Recorder | None = None) -> None:
        # A command with the ticket that was the latest when it was sent; None: somebody knocks, nothing else.
        self._commands: queue.SimpleQueue[tuple[int, Callable[[], None]] | None] = queue.SimpleQueue()
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
        self._pending: _Pending | None = None
        self._session = self if session is None else session
        self._number = next(_numbers)
        self._phase: Phase | None = None
        self._recorder = recorder
        self._recording: Recording | None = None
        self._turn: Turn | None = None
        self._place = self._told = 0
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
        self._send(self._stop, ends=True)

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
            elif self._pending is not None:
                self._pending.later.append(command)

        self._send(pass_on, ends)

    def _work(self) -> None:
        yield_to_others()
        while self._open:
            try:
                patience = self._patience()
                if patience != 0:
                    self._step_back()
                self._obey(LOOK_AGAIN if self._place else patience)
                if self._open and self._patience() == 0 and self._called():
                    self._go_on()
            except Exception as error:
                self._fail(error)
        self._leave()
        self._experiment = self._previewed = self._pending = None
        self._step_back()

    def _patience(self) -> float | None:
        """How long to wait for a command before anything goes on: None for ever, 0 not at all."""
        if self._previewed is not None or self._pending is not None:
            return 0
        return None if self._experiment is None else self._experiment.patience(self._pace)

    def _go_on(self) -> None:
        """Do the next piece of work."""
        if self._pending is not None:
            self._build(self._pending)
        elif self._experiment is not None:
            began = self._experiment.trained
            self._experiment.advance(self._pace, self._interrupted)
            if self._turn is not None and self._experiment.trained > began:
                self._turn.settled()
        elif self._previewed is not None:
            self._survey(self._previewed)
        if self._turn is not None:
            self._turn.pass_on()

    def _interrupted(self) -> bool:
        """Asked before each batch: whether the epoch is given up, since the fleets in hand are to end."""
        courtesy.give_way()
        return self._ticket != self._honoured

    def _called(self) -> bool:
        """Whether it is this worker's turn; joins the line, and tells of the place in it, where it is not."""
        if self._turn is None:
            self._turn = Turn(line(self._device()), self._session, lambda: self._commands.put(None))
        waited = self._place > 0
        self._place = self._turn.take(self._pending.needed if self._pending is not None else self._turn.needed)
        if waited or not self._place:  # who is called at once never hears of a line
            self._tell_place(self._place)
        return self._place == 0

    def _step_back(self) -> None:
        """There is nothing to do: let others go first."""
        if self._turn is not None:
            self._turn.leave()
        self._place = 0
        self._tell_place(0)

    def _tell_place(self, place: int) -> None:
        if place != self._told:
            self._told = place
            self._tell(Place(self._latest, place, self._device().type))

    def _tell(self, record: Record) -> None:
        """Hand a record over (checkpoints go to the store alone) and log what whoever runs a server wants to know."""
        match record:
            case Snapshot():
                tally.add("run_epochs", record.train_loss.size)
                if record.phase is not self._phase:
                    self._phase = record.phase
                    self._note("phase", fleet=record.generation, phase=str(record.phase), epoch=record.epoch)
            case Place():
                self._note("line", logging.DEBUG, fleet=record.generation, place=record.place, device=record.device)
            case Fault():
                tally.add("faults")
                self._note("fault", logging.ERROR, fleet=record.generation, said=record.message, trace=record.details)
        if not isinstance(record, Checkpoint):
            self._records.put(record)
        if self._recording is not None:
            self._recording(record)

    def _note(self, event: str, level: int = logging.INFO, **facts: object) -> None:
        log.log(level, event, extra={"facts": {"session": self._number, **facts}})

    def _device(self) -> torch.device:
        """Where the work in hand is done."""
        held = self._pending or self._experiment
        return torch.device("cpu") if held is None else devices.resolve(held.plan.device)

    def _obey(self, patience: float | None) -> None:
        """Carry out every command that is there, waiting `patience` for the first."""
        deadline = None if patience is None else time.monotonic() + patience
        while True:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                sent = self._commands.get(timeout=left) if left != 0 else self._commands.get_nowait()
            except queue.Empty:
                return
            if sent is not None:
                self._honoured, command = sent
                command()
            deadline = time.monotonic()

    def _survey(self, survey: Survey) -> None:
        """Compute the floors of one more instance of a preview."""
        if not survey.done:
            survey.advance()
        if survey.done:
            self._tell(survey.instances)
            self._previewed = None

    def _preview(self, generation: int, challenge: Challenge, seeds: Sequence[int]) -> None:
        if generation != self._latest:  # a slider on its way: only where it rests counts
            return
        self._end()
        try:
            datasets = {seed: challenge.dataset(seed) for seed in seeds}
        except Exception as error:
            self._tell(Fault(generation, sentence(error), traceback.format_exc()))
            return
        self._previewed = Survey(challenge, [Run(seed, {}) for seed in seeds], datasets, generation)
        self._tell(self._previewed.instances)

    def _start(self, generation: int, plan: Plan, paused: bool) -> None:
        if generation != self._latest:
            return
        self._end()
        try:
            caps.check(plan)
            self._pending = _Pending(generation, plan, paused, needed(plan))
        except Exception as error:
            self._tell(Fault(generation, sentence(error), traceback.format_exc()))
            return
        if self._called():
            self._build(self._pending)

    def _build(self, pending: _Pending) -> None:
        """The turn of a start has come: make its fleets."""
        self._pending = None
        if self._recorder is not None:
            try:
                self._recording = continuation.record(self._recorder, pending.plan)
            except ValueError:  # not everything that can be trained can be written down
                log.exception("This experiment is not kept in the store.")
        try:
            if devices.resolve(pending.plan.device).type == "cuda" and not self._streams:
                # A stream of this thread's own: two sessions' fleets share the device instead of taking turns.
                torch.cuda.set_stream(torch.cuda.Stream())
                self._streams = True
            checkpoints = None if self._recording is None else continuation.Checkpoints()
            experiment = Experiment(
                pending.generation, pending.plan, self._tell, pending.paused, self._run, checkpoints
            )
        except Exception as error:
            self._tell(Fault(pending.generation, sentence(error), traceback.format_exc()))
            return
        self._experiment = experiment
        tally.add("starts")
        entries = [entry.name or type(entry.optimizer).__name__ for entry in pending.plan.entries]
        runs = sum(len(lane.fleet.runs) for lane in experiment.lanes)
        self._note("started", fleet=pending.generation, lanes=entries, runs=runs, device=str(self._device()))
        experiment.look(*self._looking)
        for command in pending.later:
            command(experiment)

    def _leave(self) -> None:
        """The thread ends: what still trains can be continued from the store."""
        if self._experiment is None or self._recording is None or not self._experiment.trains:
            return
        try:
            self._experiment.report()
        except Exception:
            log.exception("The last epochs could not be read any more.")
        if self._experiment.trains:
            self._recording.finish(INTERRUPTED)

    def _stop(self) -> None:
        if self._pending is not None:
            self._tell(Place(self._pending.generation, 0, self._device().type, given_up=True))
            self._pending, self._told = None, 0
        elif self._experiment is not None:
            self._experiment.stop()

    def _end(self) -> None:
        """Let go of the fleets in hand, so that their memory is free before the next ones ask for some."""
        if self._experiment is not None:
            self._experiment.stop()
        self._experiment = self._previewed = self._pending = self._recording = None
        self._step_back()
        self._turn = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _fail(self, error: Exception) -> None:
        """An exception ends what is in hand and nothing else."""
        log.exception("The worker gave up what it had in hand.")
        held = self._experiment or self._pending or (self._previewed and self._previewed.instances)
        self._experiment = self._previewed = self._pending = None
        if held:
            self._tell(Fault(held.generation, sentence(error), traceback.format_exc()))
        self._recording = None


def yield_to_others() -> None:
    """Let whoever waits for an answer go first: lower this thread's priority, where threads have their own (Linux)."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
