"""Whoever waits for an answer goes before whoever trains: training holds while the server is behind.

Threads of one process share its interpreter, and a lower priority does not help who waits for that: making a page
beside two fleets takes twice its time, and every click waits behind it.  So a server says that it is there, many times
a second, and a thread that trains looks before each batch whether it still does.
"""

from __future__ import annotations

import time

EVERY = 0.05
"""Seconds between two signs of a server that keeps up."""
LATE = 0.1
"""Seconds without one after which training holds."""
AT_MOST = 2.0
"""Seconds for which it holds at a time: a server that has stopped ends no training."""

_heard: float | None = None


def here() -> None:
    """The server says that it keeps up; where nobody ever does, training never holds."""
    global _heard
    _heard = time.monotonic()


def give_way() -> None:
    """Hold while the server is behind."""
    until = time.monotonic() + AT_MOST
    while _heard is not None and (now := time.monotonic()) - _heard > LATE and now < until:
        time.sleep(EVERY / 5)
