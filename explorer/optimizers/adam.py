"""Adam, and AdamW with decoupled weight decay."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from explorer.optimizers.base import Elementwise, power
from explorer.optimizers.fields import decay, penalty, rate, small


def direction(g: Tensor, m: Tensor, v: Tensor, t: Tensor, β1: Any, β2: Any, ε: Any) -> Tensor:
    """Adam's direction in step `t`, of unit scale: the corrected mean over the corrected root mean square.

    `m` and `v` take in the gradient `g` in place.
    """
    m.lerp_(g, 1 - β1)
    v.lerp_(g.square(), 1 - β2)
    root = (v / (1 - power(β2, t, like=g))).sqrt_().add_(ε)
    return (m / (1 - power(β1, t, like=g))).div_(root)


class Adam(Elementwise):
    r"""Adam: steps scaled by running estimates of the gradient's mean and mean square.

    $$ m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2, \quad
       \theta_t = \theta_{t-1} - \eta \frac{m_t / (1-\beta_1^t)}{\sqrt{v_t / (1-\beta_2^t)} + \varepsilon} $$

    State: `m`, `v`, shaped as the parameters; `t`, the number of steps taken.

    Reference: Kingma, Ba: Adam: A Method for Stochastic Optimization, ICLR 2015.
    """

    key = "adam"
    memory = ("m", "v")

    lr = rate(3e-3, "Learning rate η: about the step of one weight.")
    beta1 = decay(0.9, "Decay β₁ of the mean, per step.")
    beta2 = decay(0.999, "Decay β₂ of the mean square, per step.")
    eps = small(1e-8, "Added to the root ε, in units of the gradient.")

    def rule(self, p, g, t, m, v):
        η, β1, β2, ε = self.symbols("lr", "beta1", "beta2", "eps", like=g)
        return direction(g, m, v, t, β1, β2, ε).mul_(-η)


class AdamW(Adam):
    r"""Adam with decoupled weight decay.

    $$ \theta_t = \theta_{t-1} - \eta\lambda\theta_{t-1}
       - \eta\,\frac{m_t / (1-\beta_1^t)}{\sqrt{v_t / (1-\beta_2^t)} + \varepsilon} $$

    State: as Adam.

    Reference: Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019.
    """

    key = "adamw"

    weight_decay = penalty(0.01, "Decoupled decay λ: share of a weight lost per unit of η.")

    def rule(self, p, g, t, m, v):
        η, λ = self.symbols("lr", "weight_decay", like=g)
        return super().rule(p, g, t, m, v).sub_(p * (η * λ))
