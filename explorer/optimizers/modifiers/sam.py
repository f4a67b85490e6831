"""Sharpness-aware minimization by proposal."""

from __future__ import annotations

import torch

from explorer.base.tensors import column, leaves, room_beside, total_norms, zeros_like
from explorer.optimizers.fields import positive
from explorer.optimizers.modifiers.base import Modifier


class SAM(Modifier):
    r"""Sharpness-aware minimization: the gradient is taken a step uphill, where a sharp valley's wall already rises.

    $$ \tilde\theta_t = \theta_{t-1} + \rho\, g_{t-1} / \lVert g_{t-1}\rVert, \qquad g_t = \nabla f_t(\tilde\theta_t) $$

    The challenge gives one gradient a batch, so uphill is where the *last* batch's gradient pointed, not this one's;
    the first gradient is taken at the weights themselves.

    Every gradient is taken at a proposal: with `restore_statistics` on, as TIG's harness has it, the running statistics
    are never trained and no run passes.

    State: `sam_gradient` $g_{t-1}$, shaped as the parameters.

    Reference: Foret, Kleiner, Mobahi, Neyshabur: Sharpness-Aware Minimization for Efficiently Improving Generalization,
    ICLR 2021.
    """

    modifier = "sam"
    proposes = True
    uniform = True

    sam_radius = positive(0.005, "Length ρ of the step uphill, over all weights together.", 1e-4, 1)

    def init_state(self, params, seed):
        return super().init_state(params, seed) | {"sam_gradient": zeros_like(params)}

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        inner = super().query_at_params(state, params, epoch, train_loss, val_loss)
        start = params if inner is None else inner
        proposal = room_beside(start)
        norms = total_norms(state["sam_gradient"])
        (ρ,) = self.symbols("sam_radius", like=norms)
        scale = ρ / norms.clamp(min=torch.finfo(norms.dtype).tiny)
        for place, p, gradient in zip(*map(leaves, (proposal, start, state["sam_gradient"])), strict=True):
            torch.addcmul(p, gradient, column(scale, like=p), out=place)
        return proposal

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        updates = super().step(state, params, gradients, epoch, train_loss, val_loss)
        for last, gradient in zip(leaves(state["sam_gradient"]), leaves(gradients), strict=True):
            last.copy_(gradient)
        return updates
