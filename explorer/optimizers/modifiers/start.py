"""Another start than the challenge's: the first step puts parameters where a modifier wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from explorer.base.tensors import copy_of
from explorer.optimizers.base import State
from explorer.optimizers.modifiers.base import Modifier


class Start(Modifier):
    """A modifier that says where some parameters begin.  Its state counts the steps in `NAME_t`."""

    def begin(self, state: State, params: Sequence[Tensor]) -> Mapping[int, Tensor]:
        """The tensors `[R, ...]` to begin with, by their places among the parameters."""
        raise NotImplementedError


def begins(kind: Any) -> Any:
    """Have a `Start` put parameters where its own `begin` says in the first step; what the optimizer wanted is dropped.

    Each class gets its own methods: one inherited by two would run only once.
    """
    count = f"{kind.modifier}_t"

    def step(self: Any, state: State, params: Sequence[Tensor], *told: Any) -> Any:
        updates = copy_of(super(kind, self).step(state, params, *told))
        first = state[count].add_(1) == 1
        for place, tensor in kind.begin(self, state, params).items():
            updates[place].copy_(torch.where(first, tensor - params[place], updates[place]))
        return updates

    def move(self: Any, state: State, params: Sequence[Tensor], *told: Any) -> None:
        super(kind, self).move(state, params, *told)
        first = state[count].add_(1) == 1
        if self._batch[0] == 0:
            for place, tensor in kind.begin(self, state, params).items():
                params[place].copy_(torch.where(first, tensor, params[place]))

    kind.step, kind.move, kind.sees_gradients = step, move, False
    return kind
