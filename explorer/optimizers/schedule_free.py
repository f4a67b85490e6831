"""Schedule-Free learning: averaging in place of a learning-rate schedule."""

from __future__ import annotations

import param
import torch
from torch import Tensor

from explorer.base.tensors import column, copy_of, from_leaves, leaves, room_beside, zeros_like
from explorer.optimizers.base import Optimizer, counter, power
from explorer.optimizers.fields import decay, penalty, rate, small


class ScheduleFree(Optimizer):
    """What both share: iterates z, their running average x in the model, and gradients at y between the two."""

    proposes = True
    uniform = True

    beta = decay(0.9, "Interpolation β: gradients are taken at y = (1 − β) z + β x.")
    warmup = param.Number(0, bounds=(0, 1e6), softbounds=(0, 1000), doc="Warm-up of the learning rate, in steps.")
    weight_decay = penalty(0.0, "Decay λ, taken at y: share of a weight lost per unit of η.")
    r = param.Number(0.0, bounds=(0, 100), softbounds=(0, 3), doc="Power r of the step's number in its weight.")
    weight_lr_power = param.Number(2.0, bounds=(0, 100), softbounds=(0, 3), doc="Power of η in a step's weight.")

    def init_state(self, params, seed):
        zeros = params[0].new_zeros(len(seed))
        return {"z": copy_of(params), "weights": zeros, "largest": zeros.clone(), "t": counter(params)}

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        proposal = room_beside(params)
        for y, p, z in zip(*map(leaves, (proposal, params, state["z"])), strict=True):
            (β,) = self.symbols("beta", like=z)
            torch.lerp(p, z, torch.as_tensor(1 - β, dtype=p.dtype, device=p.device), out=y)
        return proposal

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        t, weights, largest = state["t"].add_(1), state["weights"], state["largest"]
        η, warmup, r, by_rate = self.columns("lr", "warmup", "r", "weight_lr_power", like=weights)
        γ = (t / warmup.clamp(min=1)).clamp(max=1) * η
        largest.copy_(torch.maximum(largest, γ))
        weight = power(t, r, like=weights) * largest**by_rate
        weights.add_(weight)
        c = weight / weights

        parts = []
        for place, (p, g, z) in enumerate(zip(*map(leaves, (params, gradients, state["z"])), strict=True)):
            β, λ = self.symbols("beta", "weight_decay", like=p)
            y = p + (z - p) * (1 - β)
            z.sub_((self.direction(state, place, g, t) + y * λ) * column(γ, like=p))
            parts.append((z - p) * column(c, like=p))
        return from_leaves(parts, params)

    def direction(self, state, place: int, g: Tensor, t: Tensor) -> Tensor:
        """What z moves against, for the leaf at `place` with gradients `g` in step `t` from 1."""
        raise NotImplementedError


class ScheduleFreeSGD(ScheduleFree):
    r"""Schedule-Free SGD: the model holds the average of all iterates, and gradients are taken near it.

    $$ y_t = (1-\beta) z_t + \beta x_t, \qquad z_{t+1} = z_t - \gamma_t\,(\nabla f(y_t) + \lambda y_t), \qquad
       x_{t+1} = (1-c_t)\, x_t + c_t\, z_{t+1} $$

    with $\gamma_t = \eta\min(1, t/\text{warmup})$ and $c_t = w_t / \sum_{i\le t} w_i$,
    $w_t = t^r \max_{i \le t}\gamma_i^2$.

    Every gradient is taken at a proposal: with `restore_statistics` on, as TIG's harness has it, the running statistics
    are never trained and no run passes.

    State: `z`, shaped as the parameters; `weights` $\sum w$ and
    `largest` $\max\gamma$, one number a run; `t`, the number of steps taken.

    Reference: Defazio et al.: The Road Less Scheduled, NeurIPS 2024.
    """

    key = "schedule_free_sgd"

    lr = rate(3e-4, "Learning rate η: step length per unit of gradient.")

    def direction(self, state, place, g, t):
        return g


class ScheduleFreeAdamW(ScheduleFree):
    r"""Schedule-Free AdamW: the model holds the average of all iterates; these move by RMS-scaled gradients.

    $$ y_t = (1-\beta) z_t + \beta x_t, \quad
       z_{t+1} = z_t - \gamma_t\Bigl(\frac{\nabla f(y_t)}{\sqrt{v_t/(1-\beta_2^t)} + \varepsilon}
       + \lambda y_t\Bigr), \quad
       x_{t+1} = (1-c_t)\, x_t + c_t\, z_{t+1} $$

    with $v$ as in Adam and $\gamma$, $c$ as in Schedule-Free SGD.

    Every gradient is taken at a proposal: with `restore_statistics` on, as TIG's harness has it, the running statistics
    are never trained and no run passes.

    State: `z`, `v`, shaped as the parameters; `weights` $\sum w$ and
    `largest` $\max\gamma$, one number a run; `t`, the number of steps taken.

    Reference: Defazio et al.: The Road Less Scheduled, NeurIPS 2024.
    """

    key = "schedule_free_adamw"

    lr = rate(6e-4, "Learning rate η: about the step of one weight of z.")
    beta2 = decay(0.999, "Decay β₂ of the mean square, per step.")
    eps = small(1e-8, "Added to the root ε, in units of the gradient.")

    def init_state(self, params, seed):
        return super().init_state(params, seed) | {"v": zeros_like(params)}

    def direction(self, state, place, g, t):
        β2, ε = self.symbols("beta2", "eps", like=g)
        v = leaves(state["v"])[place].lerp_(g.square(), 1 - β2)
        return g / (v / (1 - power(β2, t, like=g))).sqrt_().add_(ε)
