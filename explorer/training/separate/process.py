"""The other end of a person's optimizer: starts its process, asks, and ends it where it takes too much."""

from __future__ import annotations

import atexit
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import psutil

from explorer.training.separate.wire import LENGTH, LONGEST, pack

PASSED_ON = re.compile(
    r"PATH|HOME|USER|LANG|LC_|LD_|DYLD_|PYTHON|VIRTUAL_ENV|CUDA|NVIDIA|G?OMP_|MKL_|TORCH|TRITON|TMP|TEMP"
)
"""Beginnings of the environment's names that the process sees: it is told no passwords."""
STARTING = 120.0
"""Seconds for Python and torch, which are not the person's doing."""
LOOK_EVERY = 0.05
"""Seconds between two looks at its memory while it works."""
SENTENCE = 500
"""Characters of what it says that a person is shown at most."""


@dataclass(frozen=True)
class Limits:
    """What a person's optimizer may take.

    seconds: of one call.  loading: seconds of the file's own start.  checking: seconds of the contract's check, all in
    all.  memory: bytes more than the process began with.
    """

    seconds: float = 10.0
    loading: float = 30.0
    checking: float = 60.0
    memory: int = 2 << 30


class Process:
    """One process for one file.  `ask` raises `ValueError` with a sentence, also when the process had to be ended."""

    def __init__(self, name: str, limits: Limits, quiet: bool = False) -> None:
        self.name, self.limits = name, limits
        self.over = ""
        self._lock = threading.Lock()
        self._forgotten: list[int] = []
        self._allowed, self._looked = limits.memory, 0.0
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "explorer.training.separate.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            env=_environment(),
            # Not a session: Linux shares its processors out by session first, whatever the niceness of who is in it.
            process_group=0,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._child.stdout, selectors.EVENT_READ)  # pyright: ignore[reportArgumentType]
        _living.add(self)
        self._base: int | None = None
        self._receive(STARTING)
        self._base = self._memory()

    def ask(self, seconds: float, do: str, **message: Any) -> dict[str, Any]:
        """The process's answer, within `seconds`."""
        with self._lock:
            if self.over:
                raise ValueError(self.over)
            if self._forgotten:
                states, self._forgotten = self._forgotten, []
                self._send({"do": "forget", "states": states})
                self._receive(seconds)
            self._send({"do": do, **message})
            reply = self._receive(seconds)
        if "error" in reply:
            said = shown(reply["error"])
            raise ValueError(said if said.startswith(self.name) else f"{self.name}: {said}")
        return reply

    def forget(self, state: int) -> None:
        """Nobody needs this state any more; said with the next question."""
        self._forgotten.append(state)

    def allow(self, memory: int) -> None:
        """It shares so many bytes more with this process."""
        self._allowed += memory

    def close(self, why: str = "has ended.") -> None:
        """End the process, and whatever it has started."""
        self.over = self.over or f"{self.name} {why}"
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._selector.close()
        for pipe in (self._child.stdin, self._child.stdout):
            with suppress(OSError):
                pipe.close()  # pyright: ignore[reportOptionalMemberAccess]

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._child.stdin.write(pack(message))  # pyright: ignore[reportOptionalMemberAccess]
            self._child.stdin.flush()  # pyright: ignore[reportOptionalMemberAccess]
        except OSError:
            self._end(self._exit())

    def _receive(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        (length,) = LENGTH.unpack(self._read(LENGTH.size, deadline, seconds))
        if length > LONGEST:
            self._end("said more than it may, and was ended.")
        try:
            reply = json.loads(self._read(length, deadline, seconds))
        except (ValueError, RecursionError):
            reply = None
        if isinstance(reply, dict):
            return reply
        self._end("said what is not understood, and was ended.")

    def _read(self, size: int, deadline: float, seconds: float) -> bytes:
        found = b""
        while len(found) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                self._end(f"did not answer within {seconds:g} s, and was ended.")
            if self._selector.select(min(LOOK_EVERY, left)):
                chunk = os.read(self._child.stdout.fileno(), size - len(found))  # pyright: ignore[reportOptionalMemberAccess]
                if not chunk:
                    self._end(self._exit())
                found += chunk
            if time.monotonic() - self._looked > LOOK_EVERY:
                self._look()
        return found

    def _look(self) -> None:
        """End it where it has taken more memory than it may."""
        self._looked = time.monotonic()
        if self._base is not None and self._memory() - self._base > self._allowed:
            self._end(f"took more than {self._allowed / 2**30:.1f} GiB of memory, and was ended.")

    def _memory(self) -> int:
        """Bytes that it and what it started occupy."""
        found = 0
        with suppress(psutil.Error):
            process = psutil.Process(self._child.pid)
            for each in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    found += each.memory_info().rss
        return found

    def _exit(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(1)
        code = self._child.returncode
        how = "without a word" if code is None else f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return f"ended by itself, {how}."

    def _end(self, why: str) -> NoReturn:
        self.close(why)
        raise ValueError(self.over)


def shown(told: Any) -> str:
    """What a process said, fit for a person: one short line of printable characters."""
    text = re.sub(r"\s+", " ", str(told))
    text = "".join(letter for letter in text if letter.isprintable())
    return text if len(text) <= SENTENCE else text[: SENTENCE - 1] + "…"


def _environment() -> dict[str, str]:
    passed = {name: value for name, value in os.environ.items() if PASSED_ON.match(name)}
    return passed | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}


_living: weakref.WeakSet[Process] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for process in list(_living):
        process.close()
