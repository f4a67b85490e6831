"""How a fleet's optimizer moves its weights: in a few kernels, in place, or by updates that are written down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from explorer.base.launch import runs_kernels
from explorer.base.tensors import Tensors
from explorer.challenge.model import Join, Network
from explorer.optimizers.base import Elementwise, Optimizer, State

if TYPE_CHECKING:  # which imports Triton
    from explorer.training.fuse import Fused

log = logging.getLogger(__name__)


def one_kernel(name: str, body: Callable[..., object], tensors: list[Tensor], join: Join | None = None) -> Fused | None:
    """`body(*tensors)` in a few kernels, on a CUDA device and where it is elementwise; else None."""
    if runs_kernels(tensors[0].device):
        from explorer.training.fuse import Unfusable, fuse

        try:
            return fuse(name, body, tensors, join)
        except Unfusable as reason:
            log.debug("%s runs operation by operation: %s", name, reason)
    return None


def deferring(device: torch.device) -> AbstractContextManager[object]:
    """Within: what is elementwise is done in few kernels, on a CUDA device."""
    # In inference mode torch tells of `to` and `reshape` as they are called, and not of what they do.
    if runs_kernels(device) and not torch.is_inference_mode_enabled():
        from explorer.training.deferred import Deferring

        return Deferring(device)
    return nullcontext()


class Mover:
    """Moves a fleet's weights after each batch, as `bound` wants, in the quickest way that it allows.

    columns: the hyperparameters, one value a run.  now, losses: what an optimizer is told, as the fleet holds them.
    joins: whether an optimizer with one rule for all weights may move them where their gradients arise.  capturable:
    whether it decides nothing on the host; else it is not made a kernel, which would do for ever what it does once.
    """

    whole = True
    """Whether the network is to write down all gradients."""

    def __init__(
        self,
        bound: Optimizer,
        columns: Mapping[str, Tensor],
        state: State,
        params: Tensors,
        network: Network,
        now: Tensor,
        losses: Tensor,
        joins: bool,
        capturable: bool,
    ) -> None:
        self._bound, self._columns, self._state, self._params = bound, dict(columns), state, params
        self._gradients, self._now, self._losses = network.gradients, now, losses[:2]
        self._join = network.join if joins else lambda: None
        self._capturable = capturable
        self._defers = capturable and all(kind.__module__.startswith("explorer.") for kind in type(bound)._kinds())
        self._how: Callable[[], object] = self._by_updates
        if bound.moves():
            self._how = lambda: bound.move(*self._told)
            if isinstance(bound, Elementwise):
                bound.at_once = self._rule(bound)
        elif bound.steps_uniformly():
            self._how = self._whole_step() or self._by_updates

    def __call__(self) -> None:
        """Move the weights, given the gradients of the last batch."""
        with self.deferring():
            self._how()

    def deferring(self) -> AbstractContextManager[object]:
        """Within: what the optimizer does to tensors is done in few kernels, where that is possible.

        Only for the shelf's own: others may launch kernels that nobody tells what has been put off.
        """
        return deferring(self._now.device) if self._defers else nullcontext()

    @property
    def _told(self) -> tuple[State, Tensors, Tensors, Tensor, Tensor, Tensor]:
        train_loss, val_loss = self._losses
        return self._state, self._params, self._gradients, self._now, train_loss, val_loss

    def _kernel(self, what: str, body: Callable[..., object], tensors: list[Tensor], joins: bool) -> Fused | None:
        if not self._capturable:
            return None
        name = f"{self._bound.key.replace('+', '_')}_{what}"
        kernel = one_kernel(name, body, tensors, self._join() if joins else None)
        self.whole = kernel is None or not kernel.joined
        return kernel

    def _by_updates(self) -> None:
        updates, params = self._bound.step(*self._told), self._params
        if isinstance(updates, Tensors):
            params.flat.add_(updates.flat)
            return
        for param, update, trainable in zip(params, updates, params.trainable, strict=True):
            if trainable:
                param.add_(update)

    def _rule(self, bound: Elementwise) -> Callable[[Tensor | None], object]:
        """What moves all weights by an elementwise rule, given a factor of the learning rates if a modifier has one."""
        names, weights, gradients, t = tuple(self._columns), self._params.flat, self._gradients.flat, self._state["t"]
        memories = [self._state[name].flat for name in bound.memory]
        modified = type(bound).step is not Elementwise.step
        factor = [torch.ones_like(self._losses[0])] if modified else []

        def move(p: Tensor, g: Tensor, t: Tensor, *rest: Tensor) -> None:
            memory, values = rest[: len(memories)], rest[len(memories) :]
            here = bound.bind(dict(zip(names, values, strict=not modified)))
            with here.scaled(values[-1]) if modified else nullcontext():
                p.add_(here.rule(p, g, t.add_(1), *memory))

        tensors = [weights, gradients, t, *memories, *self._columns.values(), *factor]
        kernel = self._kernel("move", move, tensors, bound.blind())

        def at_once(scale: Tensor | None) -> None:
            if kernel is None:  # `bound` knows the factor
                weights.add_(bound.rule(weights, gradients, t.add_(1), *memories))
                return
            if modified and scale is not None:
                factor[0].copy_(scale)
            kernel()

        return at_once

    def _whole_step(self) -> Fused | None:
        """A whole `step` in a few kernels, of an optimizer that treats all weights alike; None where that fails."""
        names, state = tuple(self._columns), self._state
        lists = {name for name, value in state.items() if isinstance(value, Tensors)}
        held = {name: value.flat if name in lists else value for name, value in state.items()}
        if not all(isinstance(value, Tensor) for value in held.values()):
            return None

        def step(p: Tensor, g: Tensor, epoch: Tensor, train_loss: Tensor, val_loss: Tensor, *rest: Tensor) -> None:
            here = self._bound.bind(dict(zip(names, rest, strict=False)))
            given = zip(held, rest[len(names) :], strict=True)
            told = {name: [value] if name in lists else value for name, value in given}
            (update,) = here.step(told, [p], [g], epoch, train_loss, val_loss)
            p.add_(update)

        weights, gradients = self._params.flat, self._gradients.flat
        tensors = [weights, gradients, self._now, *self._losses, *self._columns.values(), *held.values()]
        return self._kernel("step", step, tensors, joins=True)
