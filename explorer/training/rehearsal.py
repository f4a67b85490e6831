"""What a dry run of a batch gives, and what it takes for nobody to notice it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explorer.base.tensors import Tensors
from explorer.optimizers.base import State


@dataclass(frozen=True)
class Rehearsal:
    """What a batch would do to every run; all tensors are its own.

    weights: the parameters before.  proposal: where the optimizer wants the gradient taken, or None for right there.
    gradients: of the batch's loss, zero where nothing is trained.  updates: what would be added to the weights.  None,
    as the proposal is then, where the optimizer's state cannot be copied; gradients are then taken at the weights.
    """

    weights: Tensors
    proposal: Tensors | None
    gradients: Tensors
    updates: Sequence[Tensor] | None


def duplicate(state: State) -> State:
    """A deep copy of an optimizer's state: no tensor is shared, those that share memory do so in the copy, too."""
    memo: dict[int, Any] = {}
    for held in _held(state, Tensors):  # as one buffer each, not slot by slot
        memo[id(held)] = held.clone()
    copy = deepcopy(state, memo)
    for held in _held(state, torch.optim.Optimizer):
        # Torch's own copying keeps the state and the groups, and drops whatever else a subclass keeps on itself.
        kept, copied = vars(held), vars(memo[id(held)])
        copied.update({name: deepcopy(kept[name], memo) for name in kept.keys() - copied.keys()})
    return copy


@contextmanager
def undisturbed_chance(device: torch.device) -> Iterator[None]:
    """Afterwards the random generators of torch, NumPy and Python go on as if nothing had been drawn in here."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - a plug-in may draw from it
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def _held(state: Any, kind: type) -> Iterator[Any]:
    """Everything of this kind in nested dictionaries and lists."""
    if isinstance(state, kind):
        yield state
    elif isinstance(state, dict):
        for part in state.values():
            yield from _held(part, kind)
    elif isinstance(state, list | tuple):
        for part in state:
            yield from _held(part, kind)
