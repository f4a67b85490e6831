"""What one run looks like inside at one moment, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class InsideSample:
    """One run of a lane at the end of an epoch; arrays are float64 `[L]`, one entry a linear layer, from the input.

    What needs a gradient or an update is that of the next epoch's first batch, at the weight matrix W (not its bias):
    G the batch's gradient, Δ the update that the optimizer would make.  NaN where a quantity does not apply.

    lane, run: which.  epoch: epochs trained before.  layers: the layers' names, `1` … and `out`.  frozen: which of them
    are not trained.
    gradient_norm: ‖G‖, Frobenius.  update_ratio: ‖Δ‖/‖W‖.  cosine: of Δ with −G.  proposal_distance: ‖W̃ − W‖/‖W‖ for
    the proposed W̃, NaN where the optimizer proposes none.  All four NaN where frozen.
    dead_share: of the layer's units, those whose ReLU gives 0 for every training sample, running statistics in place;
    norm_scale: mean |γ| of the batch norm after the layer.  Both NaN for the output layer.
    effective_rank: exp of the entropy of W's singular values over their sum (Roy, Vetterli: The effective rank,
    EUSIPCO 2007): from 1 to the smaller side of W.  spectral_norm: W's largest singular value.
    cost: seconds that the look took.
    """

    generation: int
    lane: int
    run: int
    epoch: int
    layers: tuple[str, ...]
    frozen: tuple[bool, ...]
    gradient_norm: Array
    update_ratio: Array
    cosine: Array
    dead_share: Array
    norm_scale: Array
    effective_rank: Array
    spectral_norm: Array
    proposal_distance: Array
    cost: float
