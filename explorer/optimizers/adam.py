"""Adam, and AdamW with decoupled weight decay."""

from __future__ import annotations

import param

from explorer.base.declared import Log
from explorer.base.tensors import leaves, zeros_like
from explorer.optimizers.base import Optimizer, counter, power


class Adam(Optimizer):
    r"""Adam: steps scaled by running estimates of the gradient's mean and mean square.

    $$ m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2, \quad
       \theta_t = \theta_{t-1} - \eta \frac{m_t / (1-\beta_1^t)}{\sqrt{v_t / (1-\beta_2^t)} + \varepsilon} $$

    State: `m`, `v`, shaped as the parameters; `t`, the number of steps taken.

    Reference: Kingma, Ba: Adam: A Method for Stochastic Optimization, ICLR 2015.
    """

    key = "adam"

    lr = Log(1e-3, bounds=(0, 1e9), softbounds=(1e-6, 1), doc="Learning rate η: about the step of one weight.")
    beta1 = param.Number(0.9, bounds=(0, 1), inclusive_bounds=(True, False), doc="Decay β₁ of the mean, per step.")
    beta2 = param.Number(
        0.999, bounds=(0, 1), inclusive_bounds=(True, False), doc="Decay β₂ of the mean square, per step."
    )
    eps = Log(1e-8, bounds=(0, 1), softbounds=(1e-12, 1e-3), doc="Added to the root ε, in units of the gradient.")

    def init_state(self, params, seed):
        return {"m": zeros_like(params), "v": zeros_like(params), "t": counter(params)}

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        t = state["t"].add_(1)
        updates = zeros_like(params)
        for u, p, g, m, v in zip(*map(leaves, (updates, params, gradients, state["m"], state["v"])), strict=True):
            η, β1, β2, ε = self.symbols("lr", "beta1", "beta2", "eps", like=g)
            m.mul_(β1).add_(g * (1 - β1))
            v.mul_(β2).add_(g.square().mul_(1 - β2))
            root = (v / (1 - power(β2, t, like=g))).sqrt_().add_(ε)
            u.copy_(m).div_(root).mul_(-η / (1 - power(β1, t, like=g)))
            self.decay(u, p)
        return updates

    def decay(self, u, p):
        """What AdamW adds."""


class AdamW(Adam):
    r"""Adam with decoupled weight decay.

    $$ \theta_t = \theta_{t-1} - \eta\lambda\theta_{t-1}
       - \eta\,\frac{m_t / (1-\beta_1^t)}{\sqrt{v_t / (1-\beta_2^t)} + \varepsilon} $$

    State: as Adam.

    Reference: Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019.
    """

    key = "adamw"

    weight_decay = param.Number(
        0.01, bounds=(0, 1), softbounds=(0, 0.5), doc="Decoupled decay λ: share of a weight lost per unit of η."
    )

    def decay(self, u, p):
        η, λ = self.symbols("lr", "weight_decay", like=u)
        u.sub_(p * (η * λ))
