"""CLASSP: AdaGrad that leaves alone what has little to learn."""

from __future__ import annotations

from explorer.optimizers.base import Elementwise
from explorer.optimizers.fields import positive, rate, small


class CLASSP(Elementwise):
    r"""CLASSP: weights that were adjusted much are adjusted less, and small gradients not at all.

    $$ \text{where } g_t^2 > \tau: \quad G_t = G_{t-1} + |g_t|^p, \qquad
       \theta_t = \theta_{t-1} - \frac{\eta}{(G_t + \varepsilon)^{1/p}}\, g_t $$

    Elsewhere neither $G$ nor $\theta$ changes.  With p = 2, τ = 0 this is AdaGrad.  The sum takes in the present
    gradient, as the author's program does; the paper's formula stops at the one before.

    State: `adjusted` $G$, shaped as the parameters; `t`, the number of steps taken.

    Reference: Ludwig: CLASSP: a Biologically-Inspired Approach to Continual Learning through Adjustment Suppression and
    Sparsity Promotion, 2024.
    """

    key = "classp"
    memory = ("adjusted",)

    lr = rate(6e-3, "Learning rate η: the first step of every weight.")
    power = positive(2.0, "Power p of the gradients that are summed: adjustment suppression.", 0.5, 8)
    gradient_threshold = small(
        1e-6, "Threshold τ that a squared gradient must exceed, in units of that square.", high=1
    )
    eps = small(1e-10, "Added to the sum ε, in units of the gradient to the power p.")

    def rule(self, p, g, t, adjusted):
        η, power, τ, ε = self.symbols("lr", "power", "gradient_threshold", "eps", like=g)
        g = g * (g.square() > τ)
        # Powers are written as exponentials, which a fleet on CUDA fuses into one kernel with the rest.
        adjusted.add_((g.abs().log() * power).exp())
        return g * -η * ((adjusted + ε).log() / -power).exp()
