"""RAdam: Adam with a rectified start."""

from __future__ import annotations

import torch

from explorer.optimizers.base import Elementwise, power
from explorer.optimizers.fields import decay, rate, small


class RAdam(Elementwise):
    r"""Rectified Adam: Adam whose early steps, when the mean square is known from few gradients, are held back.

    $$ \rho_\infty = \tfrac{2}{1-\beta_2} - 1, \qquad \rho_t = \rho_\infty - \frac{2t\beta_2^t}{1-\beta_2^t}, \qquad
       r_t = \sqrt{\frac{(\rho_t-4)(\rho_t-2)\rho_\infty}{(\rho_\infty-4)(\rho_\infty-2)\rho_t}}, $$
    $$ \theta_t = \theta_{t-1} - \eta\,\frac{m_t}{1-\beta_1^t} \cdot
       \begin{cases} r_t \sqrt{1-\beta_2^t} / (\sqrt{v_t} + \varepsilon) & \rho_t > 5 \\ 1 & \text{else}
       \end{cases} $$

    with $m$ and $v$ as in Adam.

    State: `m`, `v`, shaped as the parameters; `t`, the number of steps taken.

    Reference: Liu et al.: On the Variance of the Adaptive Learning Rate and Beyond, ICLR 2020; in the form of
    `torch.optim.RAdam`.
    """

    key = "radam"
    memory = ("m", "v")

    lr = rate(1e-4, "Learning rate η: about the step of one weight.")
    beta1 = decay(0.9, "Decay β₁ of the mean, per step.")
    beta2 = decay(0.999, "Decay β₂ of the mean square, per step.")
    eps = small(1e-8, "Added to the root ε, in units of the gradient.")

    def rule(self, p, g, t, m, v):
        η, β1, β2, ε = self.symbols("lr", "beta1", "beta2", "eps", like=g)
        m.lerp_(g, 1 - β1)
        v.lerp_(g.square(), 1 - β2)
        power2 = power(β2, t, like=t)
        ρ_end = 2 / (1 - β2) - 1
        ρ = ρ_end - 2 * t * power2 / (1 - power2)
        sure = ρ > 5
        # Where ρ is not above 5 the root would be of a negative number, and is not used.
        r = ((ρ - 4) * (ρ - 2) * ρ_end / ((ρ_end - 4) * (ρ_end - 2) * ρ)).clamp(min=0).sqrt()
        scale = (r * (1 - power2).sqrt()).to(g.dtype)
        factor = torch.where(sure, scale / v.sqrt().add_(ε), 1)
        return (m * (-η / (1 - power(β1, t, like=g)))).mul_(factor)
