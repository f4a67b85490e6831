"""An average of the weights that is shown at the end of each epoch, so that batch norms keep their statistics."""

from __future__ import annotations

import param
import torch

from explorer.base.tensors import copy_of, from_leaves, leaves
from explorer.optimizers.base import counter
from explorer.optimizers.modifiers.base import Modifier
from explorer.optimizers.modifiers.clock import clock, tick


class EpochAverage(Modifier):
    r"""Epoch average: gradients are taken near an average of the weights, and the average is what each epoch ends with.

    $$ z_t = z_{t-1} + u_t(\nabla f(y_{t-1})), \qquad x_t = (1-c_t)\,x_{t-1} + c_t z_t, \quad
       c_t = \tfrac{1+\gamma}{t+\gamma}, \qquad y_t = (1-\beta)\,z_t + \beta x_t $$

    The optimizer moves z.  The model holds y, but after an epoch's last batch x, which is then evaluated and, for one
    batch, trained on.  So no proposal is needed and the running statistics are trained, on weights close to x; averages
    that propose cannot do that where the challenge puts statistics back.  x forgets what is older than about t/(1+γ)
    steps: a schedule that nobody needs to end, the later the smoother.

    State: `epoch_average_fast` $z$ and `epoch_average_mean` $x$, shaped as the parameters; `epoch_average_t`, the steps
    taken; `epoch_average_epoch`, `epoch_average_taken` in it, and `epoch_average_batches` of an epoch.

    Reference: Defazio et al.: The Road Less Scheduled, NeurIPS 2024 (y between z and x); Shamir, Zhang: Stochastic
    Gradient Descent for Non-smooth Optimization, ICML 2013 (the weights $c_t$).
    """

    modifier = "epoch_average"

    epoch_average_power = param.Number(8.0, bounds=(0, 1000), softbounds=(0, 30), doc="Power γ of later weights.")
    epoch_average_pull = param.Number(0.8, bounds=(0, 1), doc="Share β of the average in where gradients are taken.")

    def init_state(self, params, seed):
        return super().init_state(params, seed) | {
            "epoch_average_fast": copy_of(params),
            "epoch_average_mean": copy_of(params),
            "epoch_average_t": counter(params),
            **clock("epoch_average", params),
        }

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        fast, mean = state["epoch_average_fast"], state["epoch_average_mean"]
        updates = super().step(state, fast, gradients, epoch, train_loss, val_loss)
        _, last = tick("epoch_average", state, epoch)
        t = state["epoch_average_t"].add_(1)
        parts = []
        for p, z, x, u in zip(*map(leaves, (params, fast, mean, updates)), strict=True):
            γ, β = self.symbols("epoch_average_power", "epoch_average_pull", like=z)
            z.add_(u)
            x.add_((z - x) * ((1 + γ) / (t + γ)).to(z.dtype))
            parts.append(torch.where(last, x, z + (x - z) * β) - p)
        return from_leaves(parts, params)
