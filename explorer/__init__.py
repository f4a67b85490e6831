"""Optimizer Explorer: see why one neural-network optimizer beats another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# torch's CPU threads spin while they wait; beside any other busy process that costs nine tenths of the speed (measured:
# 4.7 against 36.8 epochs a second on two cores).  Read once, when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

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
