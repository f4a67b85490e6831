"""Batch norms normalize with one variance while they train and with another when they are evaluated: made the same."""

from __future__ import annotations

import param
import torch

from explorer.optimizers.modifiers.clock import clock
from explorer.optimizers.modifiers.evaluation import Shown, shows
from explorer.optimizers.modifiers.network import linears, trained_norms


@shows
class Bessel(Shown):
    r"""Bessel's correction taken back: evaluation sees batch norms scaled as training saw them.

    In training a batch norm divides by the deviation of the batch of B samples, and its running variance takes in the
    *unbiased* variance, B/(B − 1) times as large.  So in evaluation every layer's outputs are too small by
    $r = \sqrt{B/(B-1)}$, the next layer's for both reasons, and the errors multiply: on `tig` (B = 128) the outputs of
    trained networks are 2 % too small with 4 layers and 3 % with 18.  At an epoch's end every γ is multiplied by r, and
    the next step takes that back; the last trained one also stands in for the frozen batch norms behind it.

    $$ \gamma_l \leftarrow r\,\gamma_l, \qquad \gamma_{\text{last}} \leftarrow r^{1+F}\,\gamma_{\text{last}} $$

    State: `bessel_shift`, what is in the γ now, one `[R, width]` for each trained batch norm; `bessel_epoch`,
    `bessel_taken` steps in it and `bessel_batches` of an epoch.

    Reference: Ioffe, Szegedy: Batch Normalization, ICML 2015 (algorithm 2, step 10: the unbiased estimate).
    """

    modifier = "bessel"

    bessel_batch = param.Integer(128, bounds=(2, 100000), softbounds=(2, 1024), doc="Samples B in a batch of training.")

    def init_state(self, params, seed):
        state = super().init_state(params, seed)
        if not (places := trained_norms(params)):
            return state
        return state | {
            "bessel_shift": [torch.zeros_like(params[place]) for place in places],
            **clock("bessel", params),
        }

    def places(self, params):
        return trained_norms(params)

    def show(self, state, params, last):
        places = trained_norms(params)
        behind = len(linears(params)) - 1 - len(places)
        for place, shift in zip(places, state["bessel_shift"], strict=True):
            norms = 1 + (behind if place == places[-1] else 0)
            factor = (self.bessel_batch / (self.bessel_batch - 1)) ** (norms / 2)
            shift.copy_(torch.where(last, params[place] * (factor - 1), 0))
