"""Faults as sentences."""

from __future__ import annotations

import re

import torch

SIZE = r"([\d.]+ [KMG]iB)"


def sentence(error: BaseException) -> str:
    """What went wrong, for a person."""
    told = str(error)
    # On a CPU torch reports a failed allocation as a RuntimeError from its allocator.
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "alloc_cpu" in told:
        return f"The device ran out of memory{_need(told)}: use fewer seeds or hyperparameter values, or fewer layers."
    if isinstance(error, ValueError):
        return told
    if "CUDA error" in told:
        first = told.splitlines()[0].removeprefix("CUDA error: ")
        return (
            f"The GPU reported an error ({first}).  What else trains on it may fail too, until this program is started "
            f"anew; the CPU can be used meanwhile."
        )
    return f"Training failed: {type(error).__name__}: {error}"


def _need(told: str) -> str:
    """What was asked for and what was free, as torch's allocators say it."""
    asked, free = re.search(f"Tried to allocate {SIZE}", told), re.search(f"of which {SIZE} is free", told)
    if asked and free:
        return f" ({asked[1]} more were needed, {free[1]} were free)"
    asked = re.search(r"you tried to allocate (\d+) bytes", told)
    return f" ({int(asked[1]) / 2**30:.1f} GiB more were needed)" if asked else ""
