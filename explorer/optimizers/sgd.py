"""Stochastic gradient descent, plain, with heavy-ball momentum and with Nesterov's."""

from __future__ import annotations

import param

from explorer.optimizers.base import Elementwise
from explorer.optimizers.fields import decay, penalty, rate


class Momentum(Elementwise):
    """What the three share: one running sum of gradients."""

    memory = ("momentum",)
    nesterov = False

    lr = rate(1.5e-4, "Learning rate η: step length per unit of gradient.")
    momentum = decay(0.9, "Momentum μ: the share of the last step's direction that is kept, no unit.")
    weight_decay = penalty(0.0, "L2 penalty λ added to the gradient.", high=0.1)

    def rule(self, p, g, t, b):
        η, μ, λ = self.symbols("lr", "momentum", "weight_decay", like=g)
        g = g + λ * p
        b.mul_(μ).add_(g)
        return (b * μ).add_(g).mul_(-η) if self.nesterov else b * -η


class SGD(Momentum):
    r"""Stochastic gradient descent: a step against the gradient, with momentum if μ > 0.

    $$ b_t = \mu\, b_{t-1} + g_t + \lambda\theta_{t-1}, \qquad
       \theta_t = \theta_{t-1} - \eta\, b_t \quad\text{or, Nesterov,}\quad
       \theta_{t-1} - \eta\,(g_t + \lambda\theta_{t-1} + \mu\, b_t) $$

    State: `momentum` $b$, shaped as the parameters; `t`, the number of steps taken.

    Reference: Robbins, Monro: A Stochastic Approximation Method, Annals of Mathematical Statistics 22, 1951; in the
    form of `torch.optim.SGD` (dampening 0).
    """

    key = "sgd"

    lr = rate(1e-5, "Learning rate η: step length per unit of gradient.")
    momentum = decay(0.0, "Momentum μ: the share of the last step's direction that is kept; 0 is plain descent.")
    nesterov = param.Boolean(False, doc="Look ahead along the momentum (Nesterov) instead of heavy ball.")


class HeavyBall(Momentum):
    r"""Heavy ball: descent with momentum, a mass that rolls on along past gradients.

    $$ b_t = \mu\, b_{t-1} + g_t + \lambda\theta_{t-1}, \qquad \theta_t = \theta_{t-1} - \eta\, b_t $$

    State: `momentum` $b$, shaped as the parameters; `t`, the number of steps taken.

    Reference: Polyak: Some methods of speeding up the convergence of iteration methods, USSR Computational Mathematics
    and Mathematical Physics 4(5), 1964.
    """

    key = "heavy_ball"

    lr = rate(1e-4, "Learning rate η: step length per unit of gradient.")


class Nesterov(Momentum):
    r"""Nesterov's momentum: the gradient's step is taken where the momentum is about to lead.

    $$ b_t = \mu\, b_{t-1} + g_t + \lambda\theta_{t-1}, \qquad
       \theta_t = \theta_{t-1} - \eta\,(g_t + \lambda\theta_{t-1} + \mu\, b_t) $$

    State: `momentum` $b$, shaped as the parameters; `t`, the number of steps taken.

    Reference: Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum in deep learning,
    ICML 2013.
    """

    key = "nesterov"
    nesterov = True
