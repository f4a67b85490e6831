"""The line for a device: whose fleets train now, where many sessions of one process share it.

At most so many train at once.  Who waits goes in the order of coming, behind those whose session trains nothing yet;
who has trained for a slice of time while others wait, goes to the end of the line.  No threads of its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import torch

from explorer.training import memory

SLICE = 1.0
"""Seconds of training after which the turn passes on, if somebody waits."""
MEMORY_PATIENCE = 60.0
"""Seconds that a fleet waits for others to leave it memory, before it is refused."""


class Turn:
    """One worker's place in the line of a device.

    session: whoever it trains for; a session that holds a turn comes after those that hold none.  wake: called, from
    any thread, when the turn has come.
    """

    def __init__(self, line: Line, session: object, wake: Callable[[], None]) -> None:
        self.line, self.session, self.wake = line, session, wake
        self.needed = 0
        self.came = self.since = 0.0

    def take(self, needed: int = 0) -> int:
        """0 if it may train now, else its place in the line, which it has joined.  needed: bytes still to be taken."""
        return self.line.take(self, needed)

    def settled(self) -> None:
        """What it needed of memory is now taken, and seen by whoever asks the device."""
        self.needed = 0

    def pass_on(self) -> None:
        """Step back if it has trained for long enough and somebody waits."""
        self.line.pass_on(self)

    def leave(self) -> None:
        """Step back, out of the line too."""
        self.line.leave(self)


class Line:
    """Hands out turns on one device, `at_once` of them at a time; `free()`: bytes of memory that may be taken."""

    def __init__(self, at_once: int, free: Callable[[], int]) -> None:
        self.at_once = at_once
        self._free = free
        self._lock = threading.Lock()
        self._waiting: list[Turn] = []
        self._training: list[Turn] = []

    @property
    def lengths(self) -> tuple[int, int]:
        """How many train, and how many wait."""
        return len(self._training), len(self._waiting)

    def take(self, turn: Turn, needed: int = 0) -> int:
        with self._lock:
            if turn in self._training:
                return 0
            if turn not in self._waiting:
                turn.came = time.monotonic()
                self._waiting.append(turn)
            turn.needed = needed
            self._hand_out(turn)
            return 0 if turn in self._training else 1 + self._order().index(turn)

    def pass_on(self, turn: Turn) -> None:
        with self._lock:
            if self._waiting and turn in self._training and time.monotonic() - turn.since >= SLICE:
                self._training.remove(turn)
                self._hand_out()

    def leave(self, turn: Turn) -> None:
        with self._lock:
            for line in (self._training, self._waiting):
                if turn in line:
                    line.remove(turn)
            self._hand_out()

    def _order(self) -> list[Turn]:
        """Who waits, the next one first."""
        held = [turn.session for turn in self._training]
        return sorted(self._waiting, key=lambda turn: (held.count(turn.session), turn.came))

    def _hand_out(self, caller: Turn | None = None) -> None:
        while self._waiting and len(self._training) < self.at_once:
            following = next((turn for turn in self._order() if self._fits(turn)), None)
            if following is None:
                return
            self._waiting.remove(following)
            self._training.append(following)
            following.since = time.monotonic()
            if following is not caller:
                following.wake()

    def _fits(self, turn: Turn) -> bool:
        """Whether its memory is there, or waiting for it is no use: then the fleet's own check says so in a sentence.

        Somebody smaller may pass meanwhile: a whole class must not wait for one that wants too much.
        """
        if not turn.needed or time.monotonic() - turn.came > MEMORY_PATIENCE:
            return True
        others = [other for other in (*self._training, *self._waiting) if other is not turn and not other.needed]
        promised = [other.needed for other in self._training if other.needed]
        return not (others or promised) or turn.needed + sum(promised) <= self._free()


_lines: dict[torch.device, Line] = {}
_lock = threading.Lock()
_at_once: int | None = None


def limit(at_once: int) -> None:
    """From now on let this many fleets train at once on each device, in place of one a processor core."""
    global _at_once
    _at_once = at_once
    for line in _lines.values():
        line.at_once = at_once


def line(device: torch.device) -> Line:
    """The line of this device, the same for the whole process."""
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    with _lock:
        if device not in _lines:
            _lines[device] = Line(_at_once or _cores(), lambda: memory.free(device))
        return _lines[device]


def lengths() -> dict[str, tuple[int, int]]:
    """How many train and how many wait, by device."""
    return {str(device): each.lengths for device, each in list(_lines.items())}


def _cores() -> int:
    """Processor cores of this process: each fleet's thread wants one, also where a GPU does the arithmetic."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
