"""A start whose first layer bends everywhere in the inputs' cube."""

from __future__ import annotations

import torch

from explorer.base.random import Stream, uniform
from explorer.optimizers.base import counter
from explorer.optimizers.fields import positive
from explorer.optimizers.modifiers.start import Start, begins


@begins
class Kinks(Start):
    r"""Spread kinks: the first step moves the first layer's biases so that its units bend all over the inputs' range.

    $$ b_i = -w_i \cdot t_i, \qquad t_i \sim U[-\kappa, \kappa]^D $$

    With the biases at zero, as every run begins, each unit of the first layer has its kink in the origin, and the
    network is made of pieces that all meet there: sharp where nothing is known and blunt elsewhere.  What the optimizer
    itself wanted in the first step is dropped for these biases alone.

    State: `kinks_at`, the biases to begin with, and `kinks_t`, the number of steps taken.

    Reference: Steinwart: A Sober Look at Neural Network Initializations, 2019 (kinks within the data's range).
    """

    modifier = "kinks"

    kinks_range = positive(1.0, "Half width κ of the cube that the kinks lie in, in units of the inputs.", 0.1, 10)

    def init_state(self, params, seed):
        weight = params[0]
        counters = torch.arange(weight[0].numel(), device=weight.device)
        at = (2 * uniform(seed[:, None], Stream.OPTIMIZER, counters) - 1).to(weight.dtype).view_as(weight)
        (κ,) = self.symbols("kinks_range", like=params[1])
        state = {"kinks_at": -(weight * at).sum(-1) * κ, "kinks_t": counter(params)}
        return super().init_state(params, seed) | state

    def begin(self, state, params):
        return {1: state["kinks_at"]}
