"""Contenders that take turns in one process, and how long each takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

BLOCK = 0.05
"""Seconds of calls that are timed together, so that clocks and waits do not count."""


@dataclass
class Row:
    """One contender at one depth.

    units: epochs, or steps, of one `call`.  milliseconds: one unit's, of all runs, by round.  first: seconds from
    nothing to the end of the first epoch.  memory: the most bytes that it held of the device's, where that is known.
    """

    layers: int
    name: str
    runs: int
    call: Callable[[], object]
    units: int = 1
    first: float = float("nan")
    memory: int | None = None
    milliseconds: list[float] = field(default_factory=list)

    @property
    def a_run(self) -> float:
        """Median milliseconds of a unit, a run."""
        return statistics.median(self.milliseconds) / self.runs


def in_turns(rows: Sequence[Row], device: torch.device, rounds: int) -> None:
    """Time every row once a round."""
    for _ in range(rounds):
        for row in rows:
            row.milliseconds.append(_time(row, device))


def wait(device: torch.device) -> None:
    """Until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _time(row: Row, device: torch.device) -> float:
    """Milliseconds of a unit in one turn, of as many as fill a block."""
    wait(device)
    began, done = time.perf_counter(), 0
    while done == 0 or time.perf_counter() - began < BLOCK:
        row.call()
        done += row.units
    wait(device)
    return (time.perf_counter() - began) / done * 1e3
