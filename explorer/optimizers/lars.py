"""LARS: a learning rate for every layer."""

from __future__ import annotations

import torch

from explorer.base.tensors import blocks, constants, tensor_norms, zeros_like
from explorer.optimizers.base import Leafwise
from explorer.optimizers.fields import decay, penalty, positive, rate


class LARS(Leafwise):
    r"""LARS: momentum descent where each weight matrix moves by a share of its own norm.

    $$ b_t = \mu\, b_{t-1} + \kappa\,\frac{\lVert\theta_{t-1}\rVert}
       {\lVert g_t\rVert + \lambda\lVert\theta_{t-1}\rVert}\,(g_t + \lambda\theta_{t-1}), \qquad
       \theta_t = \theta_{t-1} - \eta\, b_t $$

    Norms are of one tensor.  The ratio is 1 where a norm is zero; biases and batch norms take the plain gradient and no
    decay, so η must suit them too: κ then sets the matrices' pace.

    State: `momentum` $b$, and `matrix`, 1 for weights of matrices and 0 for others, shaped as the parameters.

    Reference: You, Gitman, Ginsburg: Large Batch Training of Convolutional Networks, 2017.
    """

    key = "lars"

    lr = rate(3e-5, "Learning rate η: for vectors, step length per unit of gradient.")
    momentum = decay(0.9, "Momentum μ, no unit.")
    trust = positive(3.0, "Trust coefficient κ: a matrix's step as a share of its norm, per unit of η.", 1e-3, 1e2)
    weight_decay = penalty(0.0, "L2 penalty λ added to matrices' gradients.", high=0.1)

    def init_state(self, params, seed):
        matrix = constants([float(tensor.dim() > 2) for tensor in params], like=params)
        return {"momentum": zeros_like(params), "matrix": matrix}

    def updates(self, state, params, gradients):
        updates = []
        for p, g, b, matrix in zip(*map(blocks, (params, gradients, state["momentum"], state["matrix"])), strict=True):
            η, μ, κ, λ = self.symbols("lr", "momentum", "trust", "weight_decay", like=g)
            weight, slope = tensor_norms(p, like=params), tensor_norms(g, like=params)
            below, of_matrix = slope.add_(λ * weight), matrix[..., :1] > 0  # the same in all of a tensor
            ratio = torch.where(of_matrix & (weight > 0) & (below > 0), κ * weight / below, 1)
            b.mul_(μ).addcmul_(g, ratio).addcmul_(p, ratio * (of_matrix * λ))
            updates.append(b * -η)
        return updates
