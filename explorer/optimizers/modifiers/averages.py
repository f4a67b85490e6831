"""Averages of weights: the model holds the average; the optimizer moves fast weights, where gradients are taken."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import param
import torch
from torch import Tensor

from explorer.base.tensors import copy_of, from_leaves, leaves, zeros_like
from explorer.optimizers.base import counted, counter, host_counter
from explorer.optimizers.fields import decay
from explorer.optimizers.modifiers.base import Modifier


def move(weights: Sequence[Tensor], updates: Sequence[Tensor]) -> None:
    """Add `updates` to `weights` where they are trained."""
    for weight, update in zip(leaves(weights), leaves(updates), strict=True):
        weight.add_(update)


class EMA(Modifier):
    r"""Exponential moving average: the model holds an average of the weights that the optimizer moves.

    $$ \bar\theta_t = \delta\,\bar\theta_{t-1} + (1-\delta)\,\theta_t $$

    Every gradient is taken at a proposal: with `restore_statistics` on, as TIG's harness has it, the running statistics
    are never trained and no run passes.

    State: `ema_fast` $\theta$, shaped as the parameters.

    Reference: Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging, SIAM J. Control Optim. 30, 1992.
    """

    modifier = "ema"
    proposes = True
    uniform = True

    ema_decay = decay(0.98, "Decay δ of the average, per step.")

    def init_state(self, params, seed):
        return super().init_state(params, seed) | {"ema_fast": copy_of(params)}

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        fast = state["ema_fast"]
        proposal = super().query_at_params(state, fast, epoch, train_loss, val_loss)
        return fast if proposal is None else proposal

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        fast = state["ema_fast"]
        move(fast, super().step(state, fast, gradients, epoch, train_loss, val_loss))
        parts = []
        for p, f in zip(leaves(params), leaves(fast), strict=True):
            (δ,) = self.symbols("ema_decay", like=p)
            parts.append((f - p) * (1 - δ))
        return from_leaves(parts, params)


class LAWA(Modifier):
    r"""Latest weight averaging: the model holds the mean of the last k checkpoints of the weights.

    A checkpoint is taken every `lawa_every` steps; until there are k, the mean is of those there are.

    $$ \bar\theta = \tfrac1k \sum_{i=0}^{k-1} \theta_{(n-i)s}, \qquad n = \lfloor t / s\rfloor, \quad s \text{ apart} $$

    Every gradient is taken at a proposal: with `restore_statistics` on, as TIG's harness has it, the running statistics
    are never trained and no run passes.

    State: `lawa_fast` $\theta$, shaped as the parameters; `lawa_ring`, the checkpoints, `[R, k + 1, …]`, whose last
    place takes what is written in steps without one; `lawa_t`, the number of steps taken; `lawa_taken`, the same as
    known to the host.

    Reference: Kaddour: Stop Wasting My Time! Saving Days of ImageNet and BERT Training with Latest Weight Averaging,
    2022.
    """

    modifier = "lawa"
    proposes = True

    lawa_checkpoints = param.Integer(5, bounds=(1, 64), doc="Checkpoints k in the mean.")
    lawa_every = param.Integer(8, bounds=(1, 1000), doc="Steps between two checkpoints (an epoch has 8).")

    def init_state(self, params, seed):
        places = self.lawa_checkpoints + 1
        ring = [leaf.new_zeros(len(leaf), places, *leaf.shape[1:]) for leaf in leaves(params)]
        return super().init_state(params, seed) | {
            "lawa_fast": copy_of(params),
            "lawa_t": counter(params),
            "lawa_taken": host_counter(),
            "lawa_ring": ring,
        }

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        fast = state["lawa_fast"]
        proposal = super().query_at_params(state, fast, epoch, train_loss, val_loss)
        return fast if proposal is None else proposal

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        fast = state["lawa_fast"]
        move(fast, super().step(state, fast, gradients, epoch, train_loss, val_loss))
        k, every, t = self.lawa_checkpoints, self.lawa_every, state["lawa_t"].add_(1).long()
        taken, (_, batches) = counted(state["lawa_taken"]) + 1, self._batch
        state["lawa_taken"] += 1
        if taken % gcd(every, batches):  # no checkpoint in this batch, in whichever epoch
            return zeros_like(params)
        due = t % every == 0
        count = t // every  # checkpoints taken, this one included
        place = torch.where(due, (count - 1) % k, k)[None]
        parts = []
        for p, f, ring in zip(leaves(params), leaves(fast), state["lawa_ring"], strict=True):
            oldest = torch.where(count > k, ring.index_select(1, place)[:, 0], p)
            ring.index_copy_(1, place, f[:, None])
            parts.append(torch.where(due, (f - oldest) / count.clamp(min=1, max=k), 0))
        return from_leaves(parts, params)

    def replayed(self, state, steps):
        super().replayed(state, steps)
        state["lawa_taken"] += steps


class Lookahead(Modifier):
    r"""Lookahead: k steps of fast weights, then the model goes part of the way, and the fast weights start from there.

    $$ \text{every } k \text{ steps:}\qquad \bar\theta \leftarrow \bar\theta + \alpha(\theta - \bar\theta), \qquad
       \theta \leftarrow \bar\theta $$

    Between, the model stands still.  An average inside would keep weights of its own and not notice that they were
    taken back: Lookahead belongs next to the optimizer, averages around it.

    Every gradient is taken at a proposal: with `restore_statistics` on, as TIG's harness has it, the running statistics
    are never trained and no run passes.

    State: `lookahead_fast` $\theta$, shaped as the parameters; `lookahead_t`, the number of steps taken.

    Reference: Zhang, Lucas, Ba, Hinton: Lookahead Optimizer: k steps forward, 1 step back, NeurIPS 2019.
    """

    modifier = "lookahead"
    proposes = True
    uniform = True

    lookahead_steps = param.Integer(4, bounds=(1, 1000), doc="Fast steps k between two of the model's.")
    lookahead_share = param.Number(0.5, bounds=(0, 1), doc="Share α of the way that the model goes.")

    def init_state(self, params, seed):
        return super().init_state(params, seed) | {"lookahead_fast": copy_of(params), "lookahead_t": counter(params)}

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        fast = state["lookahead_fast"]
        proposal = super().query_at_params(state, fast, epoch, train_loss, val_loss)
        return fast if proposal is None else proposal

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        fast = state["lookahead_fast"]
        move(fast, super().step(state, fast, gradients, epoch, train_loss, val_loss))
        due = state["lookahead_t"].add_(1) % self.lookahead_steps == 0
        parts = []
        for p, f in zip(leaves(params), leaves(fast), strict=True):
            (α,) = self.symbols("lookahead_share", like=p)
            update = torch.where(due, (f - p) * α, 0)
            f.copy_(torch.where(due, p + update, f))
            parts.append(update)
        return from_leaves(parts, params)
