"""Shampoo: gradients whitened from both sides, at Adam's length."""

from __future__ import annotations

import torch

from explorer.optimizers.adam import direction
from explorer.optimizers.fields import rate, small
from explorer.optimizers.kronecker import Kronecker
from explorer.optimizers.products import average_squares, inverse_root, multiply


class Shampoo(Kronecker):
    r"""Shampoo with grafting: matrices' gradients are whitened over rows and columns, and given Adam's length.

    $$ L_t = \beta L_{t-1} + (1-\beta) G_tG_t^\top, \quad R_t = \beta R_{t-1} + (1-\beta) G_t^\top G_t, \quad
       P_t = (L_t + \rho\operatorname{tr}L_t I)^{-1/4}\, \hat m_t\, (R_t + \rho\operatorname{tr}R_t I)^{-1/4}, $$
    $$ W_t = W_{t-1} - \eta\,\Bigl(\frac{\lVert A_t\rVert_F}{\lVert P_t\rVert_F}\, P_t + \lambda W_{t-1}\Bigr),
       \qquad A_t = \frac{\hat m_t}{\sqrt{\hat v_t} + \varepsilon} $$

    with $\hat m$, $\hat v$ as in Adam.  The roots are computed anew every `interval` steps, first in step 1.  Vectors,
    and matrices of one row or column, take Adam's steps.  This is the distributed algorithm's mathematics with one
    block a matrix, on one device.

    State: `left` and `right`, $L$ and $R$, `left_side` and `right_side`, their roots, `m`, `v`, one stack
    `[R, L, …]` a shape; `taken`, the steps taken as known to the host; `vector_m`, `vector_v`, `t` as Adam.

    Reference: Gupta, Koren, Singer: Shampoo: Preconditioned Stochastic Tensor Optimization, ICML 2018; Shi et al.: A
    Distributed Data-Parallel PyTorch Implementation of the Distributed Shampoo Optimizer, 2023.
    """

    key = "shampoo"

    lr = rate(2e-4, "Learning rate η: as Adam's.")
    ridge = small(1e-6, "Ridge ρ added to the statistics, as a share of their trace.", 1e-7, 1e-2)

    def matrix_rule(self, state, place, g, t):
        η, β, ρ = self.symbols("lr", "statistics", "ridge", like=g)
        left, right = state["left"][place], state["right"][place]
        left_root, right_root = state["left_side"][place], state["right_side"][place]
        average_squares(left, g, 1 - β, exact=True)
        average_squares(right, g.mT, 1 - β, exact=True)
        if self.due(state):
            left_root.copy_(inverse_root(left, 4, ρ))
            right_root.copy_(inverse_root(right, 4, ρ))
        β1, β2, ε = self.symbols("beta1", "beta2", "eps", like=g)
        m, v = state["m"][place], state["v"][place]
        length = torch.linalg.matrix_norm(direction(g, m, v, t, β1, β2, ε), keepdim=True)
        whitened = multiply(multiply(left_root, m), right_root)
        of_whitened = torch.linalg.matrix_norm(whitened, keepdim=True).clamp(min=torch.finfo(g.dtype).tiny)
        return whitened.mul_(length / of_whitened * -η)
