"""RMSprop."""

from __future__ import annotations

from explorer.optimizers.base import Elementwise
from explorer.optimizers.fields import decay, penalty, rate, small


class RMSprop(Elementwise):
    r"""RMSprop: the gradient over the root of its running mean square, with momentum if μ > 0.

    $$ g \leftarrow g_t + \lambda\theta_{t-1}, \quad v_t = \beta v_{t-1} + (1-\beta) g^2, \quad
       b_t = \mu\, b_{t-1} + \frac{g}{\sqrt{v_t} + \varepsilon}, \quad \theta_t = \theta_{t-1} - \eta\, b_t $$

    State: `v`, `momentum` $b$, shaped as the parameters; `t`, the number of steps taken.

    Reference: Tieleman, Hinton: Lecture 6.5, COURSERA: Neural Networks for Machine Learning, 2012; in the form of
    `torch.optim.RMSprop`.
    """

    key = "rmsprop"
    memory = ("v", "momentum")

    lr = rate(6e-5, "Learning rate η: about the step of one weight.")
    beta = decay(0.99, "Decay β of the mean square, per step.")
    momentum = decay(0.0, "Momentum μ: the share of the last step that is kept, no unit.")
    eps = small(1e-8, "Added to the root ε, in units of the gradient.")
    weight_decay = penalty(0.0, "L2 penalty λ added to the gradient.", high=0.1)

    def rule(self, p, g, t, v, b):
        η, β, μ, ε, λ = self.symbols("lr", "beta", "momentum", "eps", "weight_decay", like=g)
        g = g + λ * p
        v.lerp_(g.square(), 1 - β)
        return b.mul_(μ).add_(g.div_(v.sqrt().add_(ε))) * -η
