"""Weight decay beside the gradient, plain and by layer."""

from __future__ import annotations

from explorer.base.tensors import constants, from_leaves, leaves
from explorer.optimizers.fields import penalty, positive
from explorer.optimizers.modifiers.base import Modifier


class WeightDecay(Modifier):
    r"""Decoupled weight decay: besides its step, every weight shrinks by a share of itself.

    $$ \theta_t = \theta_{t-1} + u_t - \eta\lambda\theta_{t-1} $$

    Reference: Loshchilov, Hutter: Decoupled Weight Decay Regularization, ICLR 2019.
    """

    modifier = "weight_decay"

    weight_decay_rate = penalty(0.01, "Decoupled decay λ: share of a weight lost per unit of η.")

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        updates = super().step(state, params, gradients, epoch, train_loss, val_loss)
        parts = []
        for u, p in zip(leaves(updates), leaves(params), strict=True):
            η, λ = self.symbols("lr", "weight_decay_rate", like=p)
            parts.append(u - p * (η * λ))
        return from_leaves(parts, params)


class LayerDecay(Modifier):
    r"""Layer-wise weight decay: matrices decay by a rate that grows with the root of their width, vectors not at all.

    $$ W_t = W_{t-1} + u_t - \eta\lambda\sqrt{d / d_0}\; W_{t-1}, \qquad d \text{ the inputs of } W $$

    State: `layer_decay_shares`, √(d/d₀) of each matrix (with d₀ = 1) and 0 for vectors, shaped as the parameters.

    Reference: Fan, Liu, Zhao, Yuan, Gu: Robust Layerwise Scaling Rules by Proper Weight Decay Tuning, 2025.
    """

    modifier = "layer_decay"

    layer_decay_rate = penalty(0.01, "Decoupled decay λ at width d₀: share of a weight lost per unit of η.")
    layer_decay_width = positive(256.0, "Width d₀ at which the rate is λ, in inputs.", 1, 1024)

    def init_state(self, params, seed):
        shares = [tensor.shape[-1] ** 0.5 if tensor.dim() == 3 else 0.0 for tensor in params]
        return super().init_state(params, seed) | {"layer_decay_shares": constants(shares, like=params)}

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        updates = super().step(state, params, gradients, epoch, train_loss, val_loss)
        parts = []
        for u, p, share in zip(*map(leaves, (updates, params, state["layer_decay_shares"])), strict=True):
            η, λ, d0 = self.symbols("lr", "layer_decay_rate", "layer_decay_width", like=p)
            parts.append(u - p * share * (η * λ / d0**0.5))
        return from_leaves(parts, params)
