"""Adan: adaptive Nesterov momentum."""

from __future__ import annotations

import torch

from explorer.optimizers.base import Elementwise, power
from explorer.optimizers.fields import decay, penalty, rate, small


class Adan(Elementwise):
    r"""Adan: Adam with Nesterov's momentum written through differences of successive gradients.

    $$ d_t = g_t - g_{t-1}, \quad m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \quad
       v_t = \beta_2 v_{t-1} + (1-\beta_2) d_t, \quad
       n_t = \beta_3 n_{t-1} + (1-\beta_3)(g_t + \beta_2 d_t)^2, $$
    $$ \theta_t = \frac{1}{1+\eta\lambda}\left(\theta_{t-1} - \eta\,
       \frac{m_t/(1-\beta_1^t) + \beta_2 v_t/(1-\beta_2^t)}{\sqrt{n_t/(1-\beta_3^t)} + \varepsilon}\right),
       \qquad d_1 = 0 $$

    State: `m`, `v`, `n`, and `last`, the gradient of the step before, shaped as the parameters; `t`, the number of
    steps taken.

    Reference: Xie et al.: Adan: Adaptive Nesterov Momentum Algorithm for Faster Optimizing Deep Models, TPAMI 2024.
    The paper writes 1 − β for what is β here.
    """

    key = "adan"
    memory = ("m", "v", "n", "last")

    lr = rate(2e-3, "Learning rate η: about the step of one weight.")
    beta1 = decay(0.98, "Decay β₁ of the mean gradient, per step.")
    beta2 = decay(0.92, "Decay β₂ of the mean difference, per step.")
    beta3 = decay(0.99, "Decay β₃ of the mean square, per step.")
    eps = small(1e-8, "Added to the root ε, in units of the gradient.")
    weight_decay = penalty(0.0, "Proximal decay λ: share of a weight lost per unit of η.")

    def rule(self, p, g, t, m, v, n, last):
        η, β1, β2, β3, ε, λ = self.symbols("lr", "beta1", "beta2", "beta3", "eps", "weight_decay", like=g)
        d = torch.where(t > 1, g - last, 0)
        last.copy_(g)
        m.lerp_(g, 1 - β1)
        v.lerp_(d, 1 - β2)
        n.lerp_(d.mul_(β2).add_(g).square_(), 1 - β3)
        root = (n / (1 - power(β3, t, like=g))).sqrt_().add_(ε)
        step = m / (1 - power(β1, t, like=g)) + v * (β2 / (1 - power(β2, t, like=g)))
        return step.div_(root).add_(p * λ).mul_(-η / (1 + η * λ))
