"""Gradient clipping."""

from __future__ import annotations

from explorer.base.tensors import column, from_leaves, leaves, total_norms
from explorer.optimizers.fields import positive
from explorer.optimizers.modifiers.base import Modifier


class Clip(Modifier):
    r"""Clipping by norm: a gradient longer than c, over all weights together, is shortened to c.

    $$ g \leftarrow g \cdot \min\bigl(1,\; c / (\lVert g\rVert + 10^{-6})\bigr) $$

    Reference: Pascanu, Mikolov, Bengio: On the difficulty of training recurrent neural networks, ICML 2013; as
    `torch.nn.utils.clip_grad_norm_`.
    """

    modifier = "clip"

    clip_norm = positive(100.0, "Longest gradient c that is left alone, in units of the gradient.", 1e-2, 1e4)

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        norms = total_norms(gradients)
        (most,) = self.symbols("clip_norm", like=norms)
        share = (most / (norms + 1e-6)).clamp(max=1)
        clipped = from_leaves([g * column(share, like=g) for g in leaves(gradients)], gradients)
        return super().step(state, params, clipped, epoch, train_loss, val_loss)
