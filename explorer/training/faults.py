"""Faults as sentences."""

from __future__ import annotations

import torch


def sentence(error: BaseException) -> str:
    """What went wrong, for a person."""
    # On a CPU torch reports a failed allocation as a RuntimeError from its allocator.
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "alloc_cpu" in str(error):
        return "The device ran out of memory: use fewer seeds or hyperparameter values, or fewer layers."
    if isinstance(error, ValueError):
        return str(error)
    return f"Training failed: {type(error).__name__}: {error}"
