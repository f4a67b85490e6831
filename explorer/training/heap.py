"""The C library's heap while fleets train on a CPU.

Training asks for the same large blocks batch after batch.  glibc gives such blocks back to the system when they are
freed, and every page of the next ones is taken and cleared anew: about a fifth of the processor time of a deep fleet.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import weakref
from typing import Any

# Names and values of <malloc.h>.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
USUAL = {M_TRIM_THRESHOLD: 128 * 1024, M_MMAP_MAX: 65536}
KEEP = {M_TRIM_THRESHOLD: 2**31 - 1, M_MMAP_MAX: 0}

_library: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
_lock = threading.RLock()  # a collection of garbage may end one fleet in the middle of another's beginning
_at_work = 0


def keep_for(fleet: object) -> None:
    """Keep freed memory for the next batch while `fleet` lives, then give it back; nothing where there is no glibc."""
    if hasattr(_library, "malloc_trim"):
        _count(+1)
        weakref.finalize(fleet, _let_go).atexit = False


def give_back() -> None:
    """Give the system all memory that is free."""
    if hasattr(_library, "malloc_trim"):
        _library.malloc_trim(0)


def _let_go() -> None:
    _count(-1)
    give_back()


def _count(change: int) -> None:
    """So many more fleets live; the first one comes with one kind of heap, and the last one leaves the other."""
    global _at_work
    with _lock:
        _at_work += change
        for option, value in (KEEP if _at_work else USUAL).items():
            _library.mallopt(option, value)
