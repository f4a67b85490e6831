"""What has happened in this process, counted, for whoever watches over it."""

from __future__ import annotations

import threading
from collections import Counter

_lock = threading.Lock()
_counts: Counter[str] = Counter(starts=0, run_epochs=0, faults=0)


def add(what: str, number: int = 1) -> None:
    """It happened so often; threads may count at the same time."""
    with _lock:
        _counts[what] += number


def counts() -> dict[str, int]:
    """How often each has happened so far."""
    with _lock:
        return dict(_counts)
