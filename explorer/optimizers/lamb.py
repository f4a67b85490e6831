"""LAMB: Adam's direction, at each tensor's own scale."""

from __future__ import annotations

import torch

from explorer.base.tensors import blocks, tensor_norms, zeros_like
from explorer.optimizers.adam import direction
from explorer.optimizers.base import Leafwise, counter
from explorer.optimizers.fields import decay, penalty, rate, small


class LAMB(Leafwise):
    r"""LAMB: Adam's direction, stretched in every tensor to a share of that tensor's norm.

    $$ r_t = \frac{m_t/(1-\beta_1^t)}{\sqrt{v_t/(1-\beta_2^t)} + \varepsilon} + \lambda\theta_{t-1}, \qquad
       \theta_t = \theta_{t-1} - \eta\,\frac{\lVert\theta_{t-1}\rVert}{\lVert r_t\rVert}\, r_t $$

    with $m$ and $v$ as in Adam.  Norms are of one tensor; the ratio is 1 where a norm is zero.

    State: `m`, `v`, shaped as the parameters; `t`, the number of steps taken.

    Reference: You et al.: Large Batch Optimization for Deep Learning: Training BERT in 76 minutes, ICLR 2020
    (Algorithm 2, φ the identity).
    """

    key = "lamb"

    lr = rate(1e-3, "Learning rate η: a tensor's step as a share of its norm.")
    beta1 = decay(0.9, "Decay β₁ of the mean, per step.")
    beta2 = decay(0.999, "Decay β₂ of the mean square, per step.")
    eps = small(1e-6, "Added to the root ε, in units of the gradient.")
    weight_decay = penalty(0.0, "Decay λ, added to the direction before it is scaled.")

    def init_state(self, params, seed):
        return {"m": zeros_like(params), "v": zeros_like(params), "t": counter(params)}

    def updates(self, state, params, gradients):
        t = state["t"].add_(1)
        updates = []
        for p, g, m, v in zip(*map(blocks, (params, gradients, state["m"], state["v"])), strict=True):
            η, β1, β2, ε, λ = self.symbols("lr", "beta1", "beta2", "eps", "weight_decay", like=g)
            r = direction(g, m, v, t, β1, β2, ε).add_(p * λ)
            weight, length = tensor_norms(p, like=params), tensor_norms(r, like=params)
            ratio = torch.where((weight > 0) & (length > 0), weight / length, 1)
            updates.append(r.mul_(ratio * -η))
        return updates
