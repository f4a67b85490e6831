"""Muon: momentum with all its singular values made equal; Drop-Muon: only some layers at a time."""

from __future__ import annotations

from typing import Any

import param
import torch
from torch import Tensor

from explorer.base.random import Stream, uniform
from explorer.optimizers.base import State
from explorer.optimizers.fields import decay, penalty, rate
from explorer.optimizers.hybrid import Hybrid
from explorer.optimizers.products import MUON, polar


class Muon(Hybrid):
    r"""Muon: hidden weight matrices move along their momentum with its singular values made (nearly) equal.

    $$ B_t = \mu B_{t-1} + (1-\mu) G_t, \qquad
       O_t = \operatorname{NewtonSchulz}_5\bigl(\mu B_t + (1-\mu) G_t\bigr) \approx UV^\top, \qquad
       W_t = W_{t-1} - \eta\,\bigl(\sqrt{\max(1, \text{out}/\text{in})}\; O_t + \lambda W_{t-1}\bigr) $$

    Without `nesterov` the iteration starts from $B_t$.  The first and the last layer, biases and batch norms take
    AdamW's steps.

    State: `momentum` $B$ of the matrices, one stack `[R, L, out, in]` a shape; `vector_m`, `vector_v`, `t` as AdamW.

    Reference: Jordan et al.: Muon: An optimizer for hidden layers in neural networks, 2024; as `torch.optim.Muon`, in
    the parameters' own precision on a CPU.
    """

    key = "muon"
    hidden_only = True
    vector_rate = "vector_lr"
    rates = ("lr", "vector_lr")

    lr = rate(1e-2, "Learning rate η of the hidden matrices: the spectral norm of a step.")
    momentum = decay(0.95, "Momentum μ of the matrices, per step.")
    nesterov = param.Boolean(True, doc="Look ahead along the momentum before the singular values are made equal.")
    vector_lr = rate(1e-3, "AdamW's learning rate for everything that is not a hidden matrix.")
    weight_decay = penalty(0.0, "Decoupled decay λ: share of a weight lost per unit of learning rate.")

    def init_matrices(self, stacks, seed):
        return {"momentum": stacks}

    def matrix_rule(self, state, place, g, t, drawn: Any = 1):
        η, μ = self.symbols("lr", "momentum", like=g)
        b = state["momentum"][place].lerp_(g, (1 - μ) * drawn)
        scale = max(1, g.shape[-2] / g.shape[-1]) ** 0.5
        return polar(g.lerp(b, μ) if self.nesterov else b, MUON) * (-η * scale)


class DropMuon(Muon):
    r"""Drop-Muon: Muon on a random subset of the hidden layers in every step.

    Each hidden matrix is drawn with probability π, for each run and step anew; where it is drawn it takes Muon's step,
    elsewhere neither its weights nor its momentum change (nor do its weights decay).

    $$ i \in S_t:\quad B_t^i = \mu B_{t-1}^i + (1-\mu) G_t^i, \quad W_t^i = W_{t-1}^i - \eta\,(\dots) \qquad\qquad
       i \notin S_t:\quad B_t^i = B_{t-1}^i, \quad W_t^i = W_{t-1}^i $$

    The paper allows any distribution of subsets and saves the dropped layers' work; here all layers go through one
    product, so what is saved is none of the time, and what is seen is the effect on learning.

    State: as Muon, and `seed`, the run's own.

    Reference: Gruntkowska, Maziane, Qu, Richtárik: Drop-Muon: Update Less, Converge Faster, 2025.
    """

    key = "drop_muon"

    keep = param.Number(0.5, bounds=(0, 1), doc="Probability π that a hidden matrix is updated in a step.")

    def init_matrices(self, stacks, seed):
        return super().init_matrices(stacks, seed) | {"seed": seed.clone()}

    def matrix_rule(self, state, place, g, t):
        drawn = self.drawn(state, place, g, t).to(g.dtype)
        return super().matrix_rule(state, place, g, t, drawn).mul_(drawn)

    def lost(self, state, place, g, t):
        return super().lost(state, place, g, t) * self.drawn(state, place, g, t)

    def drawn(self, state: State, place: int, g: Tensor, t: Tensor) -> Tensor:
        """Which layers of the stack at `place` step `t` updates: `[R, L, 1, 1]`."""
        (π,) = self.symbols("keep", like=g)
        counts = [stack.shape[1] for stack in state["momentum"]]
        layers = torch.arange(g.shape[1], device=g.device) + sum(counts[:place])
        counters = (t.long() - 1) * sum(counts) + layers
        return uniform(state["seed"][:, None], Stream.OPTIMIZER, counters)[:, :, None, None] < π
