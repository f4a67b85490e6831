"""The recorder: writes to the store in a thread of its own, so that nobody who trains or clicks waits for a disk."""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from explorer.records.records import LOSSES, Fault, Instances, Phase, Snapshot
from explorer.records.store import changes
from explorer.records.store.changes import ENDED, INTERRUPTED, Change, NewLane
from explorer.records.store.store import Store, beginning
from explorer.records.store.trouble import StoreTrouble

log = logging.getLogger(__name__)

COMMIT_EVERY = 0.5
"""Seconds between two transactions at least."""
BEAT = 15.0
"""Seconds between two signs of life, and between two looks whether others have ended without one."""
RETRY = 10.0
"""Seconds between two attempts at most while the store cannot be written."""
MOST_WAITING = 256 * 2**20
"""Bytes that wait at most; beyond, what comes is not kept."""

_living: weakref.WeakSet[Recorder] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """What waits is written before the interpreter ends, and what still trains is marked."""
    for recorder in list(_living):
        recorder.close()


@dataclass(frozen=True)
class Checkpoint:
    """From here a lane can be continued: its state after `epoch`, as `training.continuation` writes it."""

    generation: int
    epoch: int
    data: bytes
    lane: int = 0


@cache
def shared() -> Recorder:
    """The recorder of this process, made when it is first asked for."""
    return Recorder()


class Recording:
    """Takes the records of one experiment, from whichever thread, as they come; others are let pass."""

    def __init__(self, recorder: Recorder, id: str) -> None:
        self._recorder, self.id = recorder, id

    def __call__(self, record: object) -> None:
        match record:
            case Snapshot():
                self._recorder.put(changes.Append(self.id, record.lane, record))
            case Instances():
                self._recorder.put(changes.Learn(self.id, record.lane, record))
            case Checkpoint():
                self._recorder.put(changes.Keep(self.id, record.lane, record.epoch, record.data))
            case Fault(lane=None, ended=True):
                self.finish(Phase.FAILED, record.message)

    def finish(self, phase: str, message: str = "") -> None:
        """Nobody trains it any more; a snapshot whose phase says so does the same."""
        self._recorder.put(changes.Finish(self.id, str(phase), message))


class Recorder:
    """Keeps what is trained in a store; one for a process is enough.

    Methods return at once and raise nothing that has to do with the store: `trouble` says what is wrong with it now, in
    a sentence, and is empty otherwise.  Meanwhile what comes waits in memory, and is written when that is over.
    """

    def __init__(self, url: str | None = None) -> None:
        self.url = url
        self.trouble = ""
        self._store: Store | None = None
        self._waiting: deque[changes.OfOne] = deque()
        self._bytes = 0
        self._put = self._done = 0
        self._open: set[str] = set()
        self._lost: set[str] = set()
        self._hurry = self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="explorer-store", daemon=True)
        self._thread.start()
        _living.add(self)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def begin(self, lanes: Sequence[NewLane], settings: Mapping[str, Any] | None = None, title: str = "") -> Recording:
        """An experiment starts now; what takes its records.  Its id is known at once."""
        begun = beginning(lanes, settings, title)
        self.put(begun)
        return Recording(self, begun.id)

    def resume(self, id: str) -> Recording:
        """An interrupted experiment goes on here; what takes its records."""
        self.put(changes.Resume(id))
        return Recording(self, id)

    def put(self, change: changes.OfOne) -> None:
        """Have a change carried out soon."""
        size = _size(change)
        with self._changed:
            if change.id in self._lost and isinstance(change, changes.Append | changes.Keep):
                return
            if self._bytes + size > MOST_WAITING:
                self._lost.add(change.id)
                return
            self._follow(change)
            self._waiting.append(change)
            self._bytes += size
            self._put += 1
            self._changed.notify_all()

    def flush(self, timeout: float = 5.0) -> bool:
        """Write now what waits; whether that was done within `timeout` seconds."""
        with self._changed:
            target, self._hurry = self._put, True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._done >= target, timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Write what waits, mark what still trains as interrupted and end the thread; whether it ended in time."""
        for id in sorted(self._open):
            self.put(changes.Finish(id, INTERRUPTED))
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self.alive

    def _follow(self, change: Change) -> None:
        """Know whose signs of life this process gives."""
        match change:
            case changes.Begin() | changes.Resume():
                self._open.add(change.id)
            case changes.Finish():
                self._open.discard(change.id)
            case changes.Append() if change.snapshot.phase in ENDED:
                self._open.discard(change.id)

    def _work(self) -> None:
        wrote, beaten, pause, patience = 0.0, -BEAT, COMMIT_EVERY, 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing, patience)
                left = wrote + pause - time.monotonic()
                self._changed.wait_for(lambda: self._hurry or self._closing, max(0.0, left))
                batch, closing, self._hurry = list(self._waiting), self._closing, False
                alive = changes.Beat(tuple(self._open))
            now, patience = time.monotonic(), BEAT
            if now - beaten >= BEAT:
                batch, beaten = [*batch, alive], now
            if batch:
                pause = COMMIT_EVERY if self._write(batch) else min(2 * pause, RETRY)
                wrote = time.monotonic()
            if closing:
                break
        if self._store is not None:
            self._store.close()

    def _write(self, batch: Sequence[Change]) -> bool:
        """One transaction; whether it was one, or must be tried again."""
        try:
            if self._store is None:
                self._store = Store(self.url)
            if isinstance(batch[-1], changes.Beat):
                self._store.recover()
            refused = self._store.write(_latest_checkpoints(batch))
        except StoreTrouble as trouble:
            if not self.trouble:
                log.warning("%s", trouble)
            self.trouble = f"{trouble}  What is trained meanwhile waits in memory."
            return False
        except Exception:
            # Whatever it is, it must not end the thread; without this batch the next one may do.
            log.exception("The store could not take in %d changes.", len(batch))
            refused = []
        for sentence in refused:
            log.warning("Not stored: %s", sentence)
        self.trouble = "" if not self._lost else _LOST
        with self._changed:
            for _ in range(sum(not isinstance(change, changes.Beat) for change in batch)):
                self._bytes -= _size(self._waiting.popleft())
                self._done += 1
            self._changed.notify_all()
        return True


_LOST = "The store could not be written for so long that epochs of some experiments were not kept."


def _size(change: Change) -> int:
    """About how many bytes it holds."""
    match change:
        case changes.Append():
            return 200 + sum(getattr(change.snapshot, loss).nbytes for loss in LOSSES)
        case changes.Keep():
            return len(change.data)
    return 200


def _latest_checkpoints(batch: Sequence[Change]) -> list[Change]:
    """The same without checkpoints that a later one replaces."""
    last = {(change.id, change.lane): change for change in batch if isinstance(change, changes.Keep)}
    return [
        change for change in batch if not isinstance(change, changes.Keep) or last[change.id, change.lane] is change
    ]
