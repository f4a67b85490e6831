"""Faults as sentences."""

from __future__ import annotations

import torch


def sentence(error: BaseException, optimizer: str) -> str:
    """What went wrong, for a person."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "The device ran out of memory: use fewer seeds or hyperparameter values, or fewer layers."
    return f"Training with {optimizer} failed: {type(error).__name__}: {error}"
