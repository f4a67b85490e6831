"""Stochastic gradient descent."""

from __future__ import annotations

import param

from explorer.base.declared import Log
from explorer.base.tensors import leaves, zeros_like
from explorer.optimizers.base import Optimizer


class SGD(Optimizer):
    r"""Stochastic gradient descent with momentum, heavy-ball or Nesterov.

    $$ b_t = \mu\, b_{t-1} + g_t + \lambda\theta_{t-1}, \qquad
       \theta_t = \theta_{t-1} - \eta\, b_t \quad\text{or, Nesterov,}\quad
       \theta_{t-1} - \eta\,(g_t + \lambda\theta_{t-1} + \mu\, b_t) $$

    State: `momentum` $b$, shaped as the parameters.

    Reference: Sutskever, Martens, Dahl, Hinton: On the importance of initialization and momentum in deep learning,
    ICML 2013; in the form of `torch.optim.SGD` (dampening 0).
    """

    key = "sgd"

    lr = Log(1e-3, bounds=(0, 1e9), softbounds=(1e-6, 1), doc="Learning rate η: step length per unit of gradient.")
    momentum = param.Number(0.9, bounds=(0, 1), inclusive_bounds=(True, False), doc="Momentum μ, no unit.")
    weight_decay = param.Number(0.0, bounds=(0, 1), softbounds=(0, 0.1), doc="L2 penalty λ added to the gradient.")
    nesterov = param.Boolean(True, doc="Look ahead along the momentum (Nesterov) instead of heavy ball.")

    def init_state(self, params, seed):
        return {"momentum": zeros_like(params)}

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        updates = zeros_like(params)
        for u, p, g, b in zip(*map(leaves, (updates, params, gradients, state["momentum"])), strict=True):
            η, μ, λ = self.symbols("lr", "momentum", "weight_decay", like=g)
            g = g + λ * p
            b.mul_(μ).add_(g)
            u.copy_((g + μ * b if self.nesterov else b) * -η)
        return updates
