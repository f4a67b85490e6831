"""Lion: the sign of an interpolated momentum."""

from __future__ import annotations

from explorer.optimizers.base import Elementwise
from explorer.optimizers.fields import decay, penalty, rate


class Lion(Elementwise):
    r"""Lion: every weight moves by the same amount, in the direction of an interpolated momentum.

    $$ \theta_t = \theta_{t-1} - \eta\,\bigl(\operatorname{sign}(\beta_1 m_{t-1} + (1-\beta_1) g_t)
       + \lambda\theta_{t-1}\bigr), \qquad m_t = \beta_2 m_{t-1} + (1-\beta_2) g_t $$

    State: `m`, shaped as the parameters; `t`, the number of steps taken.

    Reference: Chen et al.: Symbolic Discovery of Optimization Algorithms, NeurIPS 2023.
    """

    key = "lion"
    memory = ("m",)

    lr = rate(5e-5, "Learning rate η: the step of every weight.")
    beta1 = decay(0.9, "Interpolation β₁ between momentum and gradient in the step's direction.")
    beta2 = decay(0.99, "Decay β₂ of the momentum, per step.")
    weight_decay = penalty(0.01, "Decoupled decay λ: share of a weight lost per unit of η.")

    def rule(self, p, g, t, m):
        η, β1, β2, λ = self.symbols("lr", "beta1", "beta2", "weight_decay", like=g)
        direction = m.lerp(g, 1 - β1).sign_()
        m.lerp_(g, 1 - β2)
        return direction.add_(p * λ).mul_(-η)
