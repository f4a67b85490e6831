"""NAdamW: Adam with Nesterov's momentum and decoupled weight decay."""

from __future__ import annotations

from explorer.optimizers.base import Elementwise, power
from explorer.optimizers.fields import decay, penalty, rate, small


class NAdamW(Elementwise):
    r"""NAdamW: AdamW that looks one step ahead along its mean, as in AlgoPerf's baseline.

    $$ m_t = \beta_1 m_{t-1} + (1-\beta_1) g_t, \quad v_t = \beta_2 v_{t-1} + (1-\beta_2) g_t^2, \quad
       \hat m_t = \frac{\beta_1 m_t + (1-\beta_1) g_t}{1-\beta_1^t}, $$
    $$ \theta_t = \theta_{t-1} - \eta\lambda\theta_{t-1}
       - \eta\,\frac{\hat m_t}{\sqrt{v_t / (1-\beta_2^t)} + \varepsilon} $$

    State: `m`, `v`, shaped as the parameters; `t`, the number of steps taken.

    Reference: Dozat: Incorporating Nesterov Momentum into Adam, ICLR workshop 2016; in the form of Dahl et al.:
    Benchmarking Neural Network Training Algorithms (AlgoPerf), 2023, without the momentum schedule of
    `torch.optim.NAdam`.
    """

    key = "nadamw"
    memory = ("m", "v")

    lr = rate(2e-3, "Learning rate η: about the step of one weight.")
    beta1 = decay(0.9, "Decay β₁ of the mean, per step.")
    beta2 = decay(0.999, "Decay β₂ of the mean square, per step.")
    eps = small(1e-8, "Added to the root ε, in units of the gradient.")
    weight_decay = penalty(0.01, "Decoupled decay λ: share of a weight lost per unit of η.")

    def rule(self, p, g, t, m, v):
        η, β1, β2, ε, λ = self.symbols("lr", "beta1", "beta2", "eps", "weight_decay", like=g)
        m.lerp_(g, 1 - β1)
        v.lerp_(g.square(), 1 - β2)
        root = (v / (1 - power(β2, t, like=g))).sqrt_().add_(ε)
        ahead = m.lerp(g, 1 - β1)
        return ahead.mul_(-η / (1 - power(β1, t, like=g))).div_(root).sub_(p * (η * λ))
