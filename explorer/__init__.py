"""Optimizer Explorer: see why one neural-network optimizer beats another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# torch's CPU threads wait for each other hundreds of times an epoch.  Those that sleep at once are woken late, most of
# all on a virtual machine (two idle cores: 42 ms an epoch); those that spin for long take the core from the one they
# wait for, where another program is busy (230 ms).  So GNU's spin for some 10 µs and then sleep (12 and 50 ms):
# assets/performance.md.  Read once, when torch is first imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from explorer import optimizers
from explorer.challenge import Challenge
from explorer.training import Result, Results, train

if TYPE_CHECKING:
    from explorer.app import Explorer
    from explorer.tournament import scores

__version__ = "0.1.0"
__all__ = ["Challenge", "Explorer", "Result", "Results", "optimizers", "scores", "train"]


def __getattr__(name: str) -> Any:
    # Panel takes seconds to import, and a machine that only trains need not have it.
    if name == "Explorer":
        from explorer.app import Explorer

        return Explorer
    if name == "scores":
        from explorer.tournament import scores

        return scores
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
