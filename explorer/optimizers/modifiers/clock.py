"""Which batch of its epoch an optimizer is at, known on the device alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from explorer.optimizers.base import State

MOMENTUM = 0.1
"""Of the batch norms' running statistics, per batch."""


def clock(name: str, params: Sequence[Tensor]) -> State:
    """A state's part for `tick`: 0-d numbers of the epoch, of the steps taken in it, and of an epoch's batches.

    The batches are counted in the first epoch; until it is over they are 0.
    """
    zero = params[0].new_zeros((), dtype=torch.int64)
    return {f"{name}_{part}": zero.clone() for part in ("epoch", "taken", "batches")}


def tick(name: str, state: State, epoch: Tensor) -> tuple[Tensor, Tensor]:
    """Count a step; whether it is its epoch's first, other than at the very start, and whether its last (0-d)."""
    before, taken, batches = (state[f"{name}_{part}"] for part in ("epoch", "taken", "batches"))
    first = epoch > before
    batches.copy_(torch.where(first, taken, batches))
    taken.copy_(torch.where(first, 1, taken + 1))
    before.copy_(epoch)
    return first, taken == batches


def tick_at(name: str, state: State, epoch: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """`tick` where only an epoch's first and last batches are counted, and the host knows this one's number, from 0."""
    if number:
        state[f"{name}_taken"].fill_(number)
    return tick(name, state, epoch)
