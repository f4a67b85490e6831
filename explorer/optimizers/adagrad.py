"""AdaGrad, for every weight and for the whole vector of weights."""

from __future__ import annotations

import torch

from explorer.base.tensors import column, leaves, total_norms
from explorer.optimizers.base import Elementwise, Leafwise
from explorer.optimizers.fields import positive, rate, small


class AdaGrad(Elementwise):
    r"""AdaGrad: the gradient over the root of the sum of all its squares so far, weight by weight.

    $$ G_t = G_{t-1} + g_t^2, \qquad \theta_t = \theta_{t-1} - \frac{\eta}{\sqrt{G_t} + \varepsilon}\, g_t $$

    State: `squares` $G$, shaped as the parameters; `t`, the number of steps taken.

    Reference: Duchi, Hazan, Singer: Adaptive Subgradient Methods for Online Learning and Stochastic Optimization,
    JMLR 12, 2011.
    """

    key = "adagrad"
    memory = ("squares",)

    lr = rate(6e-3, "Learning rate η: the first step of every weight.")
    eps = small(1e-10, "Added to the root ε, in units of the gradient.")

    def rule(self, p, g, t, squares):
        η, ε = self.symbols("lr", "eps", like=g)
        squares.addcmul_(g, g)
        return (g * -η).div_(squares.sqrt().add_(ε))


class AdaGradNorm(Leafwise):
    r"""AdaGrad-Norm: gradient descent with one step size, which falls as gradients add up.

    $$ b_t^2 = b_{t-1}^2 + \lVert g_t \rVert^2, \qquad \theta_t = \theta_{t-1} - \frac{\eta}{b_t}\, g_t $$

    State: `squares` $b^2$, one number a run.

    Reference: Ward, Wu, Bottou: AdaGrad Stepsizes: Sharp Convergence over Nonconvex Landscapes, ICML 2019.
    """

    key = "adagrad_norm"

    lr = rate(0.3, "Learning rate η: the first step's length over all weights, if b₀ is small.")
    b0 = positive(1e-2, "Start b₀ of the root of the sum, in units of the gradient.", 1e-8, 1e2)

    def init_state(self, params, seed):
        (b0,) = self.symbols("b0", like=seed)
        return {"squares": torch.zeros(len(seed), dtype=params[0].dtype, device=params[0].device) + b0**2}

    def updates(self, state, params, gradients):
        b = state["squares"].add_(total_norms(gradients).square_()).sqrt()
        (η,) = self.symbols("lr", like=b)
        return [g * column(-η / b, like=g) for g in leaves(gradients)]
