"""Learning-rate decay where the validation loss stands still."""

from __future__ import annotations

import param
import torch
from torch import Tensor

from explorer.optimizers.base import State
from explorer.optimizers.modifiers.base import Modifier


class Plateau(Modifier):
    r"""Decay on a plateau: the learning rate is multiplied by f whenever the validation loss has not improved for long.

    A loss improves on the best if it is below (1 − threshold) of it; after more than `plateau_patience` epochs in a row
    that do not, $\eta \leftarrow f\eta$ and the count starts again.

    State: `plateau_best` loss, `plateau_waited` epochs, `plateau_scale`, the factor so far, one number a run;
    `plateau_epoch`, the last epoch judged.

    Reference: as `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """

    modifier = "plateau"
    uniform = True
    sees_gradients = False

    plateau_factor = param.Number(0.3, bounds=(0, 1), doc="Factor f of the learning rate at each decay.")
    plateau_patience = param.Number(10, bounds=(0, 1000), softbounds=(0, 50), doc="Epochs without improvement.")
    plateau_threshold = param.Number(1e-4, bounds=(0, 1), softbounds=(0, 0.1), doc="Relative improvement that counts.")

    def init_state(self, params, seed):
        like = params[0].new_zeros(len(seed))
        return super().init_state(params, seed) | {
            "plateau_best": torch.full_like(like, torch.inf),
            "plateau_waited": like,
            "plateau_scale": torch.ones_like(like),
            "plateau_epoch": torch.zeros((), dtype=torch.int64, device=like.device),
        }

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        self._watch(state, epoch, val_loss)
        with self.scaled(state["plateau_scale"]):
            return super().step(state, params, gradients, epoch, train_loss, val_loss)

    def move(self, state, params, gradients, epoch, train_loss, val_loss):
        if self._batch[0] == 0:
            self._watch(state, epoch, val_loss)
        with self.scaled(state["plateau_scale"]):
            super().move(state, params, gradients, epoch, train_loss, val_loss)

    def _watch(self, state: State, epoch: Tensor, val_loss: Tensor) -> None:
        """At an epoch's first step: take in the last one's loss."""
        best, waited, scale = state["plateau_best"], state["plateau_waited"], state["plateau_scale"]
        factor, patience, threshold = self.symbols(
            "plateau_factor", "plateau_patience", "plateau_threshold", like=val_loss
        )
        new = epoch > state["plateau_epoch"]
        better = new & (val_loss < best * (1 - threshold))
        best.copy_(torch.where(better, val_loss, best))
        waited.copy_(torch.where(better, 0, waited + new.to(waited.dtype)))
        tired = waited > patience
        scale.copy_(torch.where(tired, scale * factor, scale))
        waited.masked_fill_(tired, 0)
        state["plateau_epoch"].copy_(epoch)
