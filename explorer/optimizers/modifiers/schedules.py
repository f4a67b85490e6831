"""Learning-rate schedules by the epoch."""

from __future__ import annotations

from math import pi
from typing import Any

import param
import torch
from torch import Tensor

from explorer.optimizers.modifiers.base import Modifier


def rise(e: Tensor, warmup: Tensor) -> Tensor:
    """The warm-up's factor in epoch e (from 0), a line that reaches 1 after w epochs: min(1, (e + 1)/(w + 1))."""
    return ((e + 1) / (warmup + 1)).clamp(max=1)


def progress(e: Tensor, warmup: Tensor, end: Tensor) -> Tensor:
    """How much of the way from the warm-up's end to the last epoch is done: from 0 to 1."""
    return ((e - warmup) / (end - warmup).clamp(min=1)).clamp(min=0, max=1)


def by_run(epoch: Tensor, like: Tensor) -> Tensor:
    """The epoch as a tensor `[R]`, as `like` is."""
    return torch.zeros_like(like) + epoch


def schedule(kind: Any) -> Any:
    """Have a modifier scale every learning rate by its own `factor(epoch, train_loss)`, `[R]`, new in each epoch.

    Each class gets its own methods: one inherited by two would run only once.
    """

    def step(self: Any, *told: Any) -> Any:
        with self.scaled(kind.factor(self, *told[3:5])):
            return super(kind, self).step(*told)

    def move(self: Any, *told: Any) -> None:
        if self._batch[0] == 0:
            self._made[kind.modifier] = kind.factor(self, *told[3:5])
        with self.scaled(self._made[kind.modifier]):
            super(kind, self).move(*told)

    kind.step, kind.move = step, move
    kind.uniform, kind.sees_gradients = True, False
    return kind


def _warmup() -> param.Number:
    return param.Number(0, bounds=(0, 10000), softbounds=(0, 100), doc="Warm-up w, in epochs.")


def decay_epochs(default: float = 200) -> param.Number:
    """A field for the epoch at which a decay ends."""
    return param.Number(default, bounds=(1, 10000), softbounds=(10, 1000), doc="Epoch E at which the end is reached.")


def _final() -> param.Number:
    return param.Number(0.01, bounds=(0, 1), doc="Factor f at the end.")


@schedule
class Cosine(Modifier):
    r"""Cosine decay: the learning rate falls along half a cosine, slowly at both ends.

    $$ \eta_e = \eta\,\bigl(f + (1-f)\tfrac{1 + \cos \pi x}{2}\bigr), \qquad x = \tfrac{e - w}{E - w} \in [0, 1] $$

    Reference: Loshchilov, Hutter: SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017 (without restarts).
    """

    modifier = "cosine"

    cosine_warmup = _warmup()
    cosine_epochs = decay_epochs()
    cosine_final = _final()

    def factor(self, epoch: Tensor, train_loss: Tensor) -> Tensor:
        e = by_run(epoch, like=train_loss)
        warmup, end, final = self.columns("cosine_warmup", "cosine_epochs", "cosine_final", like=e)
        fallen = (1 + (pi * progress(e, warmup, end)).cos()) / 2
        return rise(e, warmup) * (final + (1 - final) * fallen)


@schedule
class Linear(Modifier):
    r"""Linear decay of the learning rate.

    $$ \eta_e = \eta\,\bigl(1 - (1-f)\, x\bigr), \qquad x = \tfrac{e - w}{E - w} \in [0, 1] $$
    """

    modifier = "linear"

    linear_warmup = _warmup()
    linear_epochs = decay_epochs()
    linear_final = _final()

    def factor(self, epoch: Tensor, train_loss: Tensor) -> Tensor:
        e = by_run(epoch, like=train_loss)
        warmup, end, final = self.columns("linear_warmup", "linear_epochs", "linear_final", like=e)
        return rise(e, warmup) * (1 - (1 - final) * progress(e, warmup, end))


@schedule
class InverseSquareRoot(Modifier):
    r"""Inverse-square-root decay: fast at first, never at an end.

    $$ \eta_e = \eta \,/\, \sqrt{1 + (e - w) / s} $$

    Reference: Vaswani et al.: Attention Is All You Need, NeurIPS 2017 (in epochs, with a timescale of its own).
    """

    modifier = "inverse_sqrt"

    inverse_sqrt_warmup = _warmup()
    inverse_sqrt_timescale = param.Number(
        10, bounds=(0, 10000), inclusive_bounds=(False, True), softbounds=(1, 100), doc="Timescale s, in epochs."
    )

    def factor(self, epoch: Tensor, train_loss: Tensor) -> Tensor:
        e = by_run(epoch, like=train_loss)
        warmup, timescale = self.columns("inverse_sqrt_warmup", "inverse_sqrt_timescale", like=e)
        return rise(e, warmup) * (1 + (e - warmup).clamp(min=0) / timescale).rsqrt()


@schedule
class Cyclic(Modifier):
    r"""Triangular cycles: from the low learning rate up to η and back, over and over.

    $$ \eta_e = \eta\,\bigl(1 - (1-f)\,\lvert 2\phi - 1\rvert\bigr), \qquad \phi = \tfrac{e - w}{P} \bmod 1 $$

    Reference: Smith: Cyclical Learning Rates for Training Neural Networks, WACV 2017.
    """

    modifier = "cyclic"

    cyclic_warmup = _warmup()
    cyclic_period = param.Number(
        20, bounds=(0, 10000), inclusive_bounds=(False, True), softbounds=(2, 200), doc="Period P, in epochs."
    )
    cyclic_low = param.Number(0.1, bounds=(0, 1), doc="Factor f at the low end.")

    def factor(self, epoch: Tensor, train_loss: Tensor) -> Tensor:
        e = by_run(epoch, like=train_loss)
        warmup, period, low = self.columns("cyclic_warmup", "cyclic_period", "cyclic_low", like=e)
        phase = ((e - warmup).clamp(min=0) / period).frac()
        return rise(e, warmup) * (1 - (1 - low) * (2 * phase - 1).abs())
