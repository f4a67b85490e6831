"""PolarGrad: the polar factor of the momentum, scaled by its nuclear norm."""

from __future__ import annotations

from explorer.optimizers.fields import decay, penalty, rate
from explorer.optimizers.hybrid import Hybrid
from explorer.optimizers.products import POLAR_EXPRESS, polar


class PolarGrad(Hybrid):
    r"""PolarGrad: hidden matrices move along the polar factor of their momentum, as far as its nuclear norm says.

    $$ M_t = \mu M_{t-1} + (1-\mu) G_t = U_t H_t, \qquad
       W_t = W_{t-1} - \eta\,\bigl(\lVert M_t\rVert_* U_t + \lambda W_{t-1}\bigr), \qquad
       \lVert M_t\rVert_* = \operatorname{tr} H_t = \langle U_t, M_t\rangle $$

    Unlike Muon's, the step shrinks with the gradient.  The polar factor comes from eight steps of the Polar Express
    iteration: singular values above a thousandth of the Frobenius norm come out as 1.  The first and the last layer,
    biases and batch norms take AdamW's steps.

    State: `momentum` $M$ of the matrices, one stack `[R, L, out, in]` a shape; `vector_m`, `vector_v`, `t` as AdamW.

    Reference: Lau, Long, Su: PolarGrad: A Class of Matrix-Gradient Optimizers from a Unifying Preconditioning
    Perspective, 2025 (momentum first).
    """

    key = "polargrad"
    hidden_only = True
    vector_rate = "vector_lr"
    rates = ("lr", "vector_lr")

    lr = rate(1e-5, "Learning rate η of the hidden matrices: a step's spectral norm over the momentum's nuclear norm.")
    momentum = decay(0.95, "Momentum μ of the matrices, per step.")
    vector_lr = rate(1e-3, "AdamW's learning rate for everything that is not a hidden matrix.")
    weight_decay = penalty(0.0, "Decoupled decay λ: share of a weight lost per unit of learning rate.")

    def init_matrices(self, stacks, seed):
        return {"momentum": stacks}

    def matrix_rule(self, state, place, g, t):
        η, μ = self.symbols("lr", "momentum", like=g)
        m = state["momentum"][place].lerp_(g, 1 - μ)
        u = polar(m, POLAR_EXPRESS)
        return u * ((u * m).sum(dim=(2, 3), keepdim=True) * -η)
