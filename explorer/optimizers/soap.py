"""SOAP: Adam in the eigenbasis of Shampoo's statistics."""

from __future__ import annotations

import param
import torch
from torch import Tensor

from explorer.optimizers.base import power
from explorer.optimizers.fields import decay, rate
from explorer.optimizers.kronecker import Kronecker
from explorer.optimizers.products import average_squares, eigenvectors, multiply, orthonormal


class SOAP(Kronecker):
    r"""SOAP: matrices take Adam's steps in the eigenbasis of their gradients' row and column statistics.

    $$ L_t = \beta L_{t-1} + (1-\beta) G_tG_t^\top, \quad R_t = \beta R_{t-1} + (1-\beta) G_t^\top G_t, \quad
       G' = Q_L^\top G_t Q_R, \quad m'_t = \beta_1 m'_{t-1} + (1-\beta_1) G', $$
    $$ v_t = \beta_2 v_{t-1} + (1-\beta_2) G'^2, \qquad
       W_t = W_{t-1} - \eta\frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t}\; Q_L \frac{m'}{\sqrt{v_t} + \varepsilon} Q_R^\top
       - \eta\lambda W_{t-1} $$

    The first step only measures: it fills $L$ and $R$ and takes their eigenvectors as $Q$.  Every `interval` steps,
    after the update, $Q$ is refreshed by one power iteration and a QR decomposition, sorted by eigenvalue, $v$ with it;
    $m'$ is turned into the new basis, so that it is the mean of the gradients seen from there.
    Vectors, and matrices of one row or column, take AdamW's steps.

    State: `left` and `right`, $L$ and $R$, `left_side` and `right_side`, their $Q$, `m` and `v` in the eigenbasis, one
    stack `[R, L, …]` a shape; `taken`, the steps taken as known to the host; `vector_m`, `vector_v`, `t` as Adam.

    Reference: Vyas et al.: SOAP: Improving and Stabilizing Shampoo using Adam, ICLR 2025.
    """

    key = "soap"

    lr = rate(4.5e-3, "Learning rate η: as Adam's.")
    beta1 = decay(0.95, "Adam's decay β₁ of the mean, per step.")
    beta2 = decay(0.95, "Adam's decay β₂ of the mean square, per step.")
    interval = param.Integer(120)

    def matrix_rule(self, state, place, g, t):
        left, right = state["left"][place], state["right"][place]
        q_left, q_right = state["left_side"][place], state["right_side"][place]
        m, v = state["m"][place], state["v"][place]
        η, β, β1, β2, ε = self.symbols("lr", "statistics", "beta1", "beta2", "eps", like=g)
        average_squares(left, g, 1 - β)
        average_squares(right, g.mT, 1 - β)
        if self.taken(state) == 0:
            q_left.copy_(eigenbasis(left))
            q_right.copy_(eigenbasis(right))
            return torch.zeros_like(g)
        turned = multiply(multiply(q_left.mT, g), q_right)
        m.lerp_(turned, 1 - β1)
        v.lerp_(turned.square(), 1 - β2)
        rotated = m / v.sqrt().add_(ε)
        scale = η * (1 - power(β2, t - 1, like=g)).sqrt() / (1 - power(β1, t - 1, like=g))
        update = multiply(multiply(q_left, rotated), q_right.mT).mul_(-scale)
        if self.due(state):
            mean = multiply(multiply(q_left, m), q_right.mT)
            rows, columns = refresh(left, q_left), refresh(right, q_right)
            m.copy_(multiply(multiply(q_left.mT, mean), q_right))
            v.copy_(v.gather(2, rows[:, :, :, None].expand_as(v)).gather(3, columns[:, :, None].expand_as(v)))
        return update


def ridge(statistic: Tensor) -> Tensor:
    """What is added to the eigenvalues, far above rounding and far below what matters: `[R, L, 1, 1]`."""
    return 1e-5 * statistic.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]


def eigenbasis(statistic: Tensor) -> Tensor:
    """Eigenvectors of `statistic [R, L, n, n]`, the largest first.

    One batch leaves many directions without a gradient; a graded ridge tells these apart, so that the basis does not
    hang on rounding.
    """
    size = statistic.shape[-1]
    grades = torch.linspace(1, 0, size, dtype=statistic.dtype, device=statistic.device)
    return eigenvectors(statistic + ridge(statistic) * grades.diag()).flip(-1)


def refresh(statistic: Tensor, basis: Tensor) -> Tensor:
    """One power iteration of `basis [R, L, n, n]` in place, sorted by eigenvalue; returns the order `[R, L, n]`.

    The ridge keeps directions that no gradient had where they were.
    """
    turned = multiply(statistic, basis) + ridge(statistic) * basis
    order = (basis * turned).sum(dim=-2).argsort(dim=-1, descending=True)
    sort = order[:, :, None, :].expand_as(basis)
    basis.copy_(orthonormal(turned.gather(3, sort), otherwise=basis.gather(3, sort)))
    return order
