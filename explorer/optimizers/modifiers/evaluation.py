"""What evaluation alone is to see: a shift of parameters, put in by an epoch's last step and taken back by the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from explorer.base.tensors import copy_of
from explorer.optimizers.base import State
from explorer.optimizers.modifiers.base import Modifier
from explorer.optimizers.modifiers.clock import tick, tick_at


class Shown(Modifier):
    """A modifier with a shift for evaluation.

    Its state has the list `NAME_shift` of what is in the parameters now, one tensor for each of `places`, and the clock
    of that name; neither where there are no places.
    """

    def places(self, params: Sequence[Tensor]) -> list[int]:
        """Which parameters are shifted; with none, the modifier does nothing."""
        raise NotImplementedError

    def learn(self, state: State, first: Tensor, val_loss: Tensor) -> None:
        """Take in an epoch's losses, where this is the `first` step of another (0-d)."""

    def show(self, state: State, params: Sequence[Tensor], last: Tensor) -> None:
        """Fill the shifts where this is the `last` step of an epoch (0-d), else with 0.

        params: without a shift, and at `places` already as this step leaves them.
        """
        raise NotImplementedError


def shows(kind: Any) -> Any:
    """Have a `Shown` shift the parameters; in place, only an epoch's first and last batches cost anything.

    Each class gets its own methods: one inherited by two would run only once.
    """
    name = kind.modifier

    def step(self: Any, state: State, params: Sequence[Tensor], gradients: Any, epoch: Any, *losses: Tensor) -> Any:
        if not (places := kind.places(self, params)):
            return super(kind, self).step(state, params, gradients, epoch, *losses)
        shifted = list(zip(places, state[f"{name}_shift"], strict=True))
        plain = copy_of(params)
        for place, shift in shifted:
            plain[place].sub_(shift)
        updates = copy_of(super(kind, self).step(state, plain, gradients, epoch, *losses))
        for place, shift in shifted:
            plain[place].add_(updates[place])
            updates[place].sub_(shift)
        first, last = tick(name, state, epoch)
        kind.learn(self, state, first, losses[1])
        kind.show(self, state, plain, last)
        for place, shift in shifted:
            updates[place].add_(shift)
        return updates

    def move(self: Any, state: State, params: Sequence[Tensor], gradients: Any, epoch: Any, *losses: Tensor) -> None:
        number, batches = self._batch
        if 0 < number < batches - 1 or not (places := kind.places(self, params)):
            super(kind, self).move(state, params, gradients, epoch, *losses)
            return
        shifted = list(zip(places, state[f"{name}_shift"], strict=True))
        if number == 0:
            for place, shift in shifted:
                params[place].sub_(shift)
        super(kind, self).move(state, params, gradients, epoch, *losses)
        first, last = tick_at(name, state, epoch, number)
        if number == 0:
            kind.learn(self, state, first, losses[1])
        if number == batches - 1:
            kind.show(self, state, params, last)
            for place, shift in shifted:
                params[place].add_(shift)
        else:
            for _, shift in shifted:
                shift.zero_()

    kind.step, kind.move, kind.sees_gradients = step, move, False
    return kind
