"""The thread that holds tournaments for a page: it trains fleet after fleet, and never touches a widget.

Commands go in by attributes that only ever change one way, immutable reports come out by a queue; outcomes go to the
store, where the page reads them, whoever trained them.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch

from explorer.records import Phase
from explorer.tournament import estimate
from explorer.tournament.estimate import Cost, Kind
from explorer.tournament.plan import Spec
from explorer.tournament.runner import Tournament, here
from explorer.tournament.store import Store
from explorer.tournament.units import Unit
from explorer.training import devices
from explorer.training.faults import sentence
from explorer.training.line import Turn, line
from explorer.training.worker import yield_to_others

log = logging.getLogger(__name__)

TELL_EVERY = 0.2
"""Seconds between two reports about the same fleet."""


@dataclass(frozen=True)
class Report:
    """How a tournament goes on.

    generation: of the start that it belongs to.  unit: the one in hand, with the epoch that it trains.  place: in the
    device's line, 0 while it trains.  costs: what a calibration found so far, of `wanted` kinds.  message: a sentence
    where something went wrong.
    """

    generation: int
    phase: Phase
    unit: Unit | None = None
    epoch: int = 0
    place: int = 0
    costs: tuple[tuple[Kind, Cost], ...] = ()
    wanted: int = 0
    message: str = ""


class Host:
    """Holds one tournament at a time, or measures what one would take.

    Methods return at once; what they did shows in the reports that `drain` hands over.
    """

    def __init__(self) -> None:
        self._reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._job: _Job | None = None
        self._generation = 0
        _living.add(self)

    def start(self, spec: Spec, store: Store, device: str) -> int:
        """Train what the store does not have of `spec`, from its first fleet that is not done; a generation."""
        return self._begin(device, lambda job: _hold(job, spec, store, device))

    def measure(self, spec: Spec, store: Store, device: str) -> int:
        """Time a few epochs of the kinds of fleets that the store knows nothing of; a generation."""
        return self._begin(device, lambda job: _measure(job, spec, store, device))

    def pause(self) -> None:
        """Hold before the next epoch."""
        if self._job is not None:
            self._job.go.clear()

    def resume(self) -> None:
        """Go on."""
        if self._job is not None:
            self._job.go.set()

    def stop(self) -> None:
        """Give up the fleet in hand, within a batch; what has an outcome is kept."""
        if self._job is not None:
            self._job.stopped.set()
            self._job.go.set()

    def drain(self) -> list[Report]:
        """The reports since the last call, oldest first."""
        reports = []
        while True:
            try:
                reports.append(self._reports.get_nowait())
            except queue.Empty:
                return reports

    def close(self, timeout: float = 5.0) -> bool:
        """End the thread; whether it ended within `timeout` seconds."""
        self.stop()
        if self._job is None:
            return True
        self._job.thread.join(timeout)
        return not self._job.thread.is_alive()

    def _begin(self, device: str, work: Callable[[_Job], None]) -> int:
        self.stop()
        self._generation += 1
        before = None if self._job is None else self._job.thread
        self._job = _Job(self._generation, self._reports.put, work, before, Seat(device, self))
        return self._generation


class _Job:
    """One start: a thread that lives until its work is done or given up."""

    def __init__(
        self,
        generation: int,
        tell: Callable[[Report], None],
        work: Callable[[_Job], None],
        before: threading.Thread | None,
        seat: Seat,
    ) -> None:
        self.generation, self._tell, self._work, self._before, self._seat = generation, tell, work, before, seat
        self.go, self.stopped = threading.Event(), threading.Event()
        self.go.set()
        self._told = 0.0
        self.thread = threading.Thread(target=self._run, name="explorer-tournament", daemon=True)
        self.thread.start()

    def tell(self, phase: Phase, **rest) -> None:
        """Report."""
        self._tell(Report(self.generation, phase, **rest))

    def before_epoch(self, unit: Unit, epoch: int) -> None:
        """Say how far the fleet is, and wait while the tournament is paused or others train."""
        if not self.go.is_set():
            self._seat.leave()
            self.tell(Phase.PAUSED, unit=unit, epoch=epoch)
            self.go.wait()
        self._seat.take(self.stopped, lambda place: self.tell(Phase.RUNNING, unit=unit, epoch=epoch, place=place))
        if epoch == 1 or time.monotonic() - self._told >= TELL_EVERY:
            self._told = time.monotonic()
            self.tell(Phase.RUNNING, unit=unit, epoch=epoch)

    def _run(self) -> None:
        yield_to_others()
        if torch.cuda.is_available():
            torch.cuda.set_stream(torch.cuda.Stream())  # beside other threads' fleets, instead of taking turns
        if self._before is not None:
            self._before.join()  # two fleets of one page would spoil each other's seconds
        try:
            self._work(self)
        except Exception as error:
            log.exception("The tournament ended.")
            self.tell(Phase.FAILED, message=str(error) if isinstance(error, ValueError) else sentence(error))
        else:
            self.tell(Phase.STOPPED if self.stopped.is_set() else Phase.FINISHED)
        finally:
            self._seat.leave()


class Seat:
    """A job's place in the line of its device, which all sessions of this process share."""

    def __init__(self, device: str, session: object) -> None:
        self._device, self._session = device, session
        self._called = threading.Event()
        self._turn: Turn | None = None

    def take(self, stopped: threading.Event, tell: Callable[[int], object]) -> None:
        """Wait for a turn, or for `stopped`; tell the place in the line whenever it changes."""
        if self._turn is None:
            self._turn = Turn(line(devices.resolve(self._device)), self._session, self._called.set)
        self._turn.pass_on()
        told = 0
        while not stopped.is_set():
            self._called.clear()
            place = self._turn.take()
            if not place:
                break
            if place != told:
                told = place
                tell(place)
            self._called.wait(TELL_EVERY)

    def leave(self) -> None:
        """Let others train."""
        if self._turn is not None:
            self._turn.leave()


def _hold(job: _Job, spec: Spec, store: Store, device: str) -> None:
    job.tell(Phase.PREPARING)
    for _ in Tournament(spec, store).play(here(device, job.stopped.is_set, job.before_epoch)):
        if job.stopped.is_set():
            return


def _measure(job: _Job, spec: Spec, store: Store, device: str) -> None:
    tournament = Tournament(spec, store)
    found = tournament.costs(device)
    wanted = estimate.samples(tournament.pending, found)
    job.tell(Phase.PREPARING, costs=tuple(found.items()), wanted=len(wanted))
    for each, cost in estimate.calibrate(wanted, device, job.stopped.is_set):
        found[each] = cost
        job.tell(Phase.PREPARING, costs=tuple(found.items()), wanted=len(wanted))


_living: weakref.WeakSet[Host] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """An interpreter that ends under a training thread takes torch down with a crash: end the threads first."""
    for host in list(_living):
        host.close()
