"""A start whose later hidden layers hand on what they get, so that a deep network begins as a shallow one."""

from __future__ import annotations

import param
import torch

from explorer.optimizers.base import counter
from explorer.optimizers.fields import positive
from explorer.optimizers.modifiers.network import linears
from explorer.optimizers.modifiers.start import Start, begins


@begins
class Identity(Start):
    r"""Identity start: the first step makes the trained hidden layers after the first k hand on what they get.

    $$ W_l = I, \qquad b_l = b \qquad (l > k) $$

    Behind a batch norm each unit has mean 0 and deviation 1; lifted by b deviations nearly all of it passes the ReLU,
    and the next batch norm takes the lift away again.  So however many layers there are, the network begins as one with
    k of them and its frozen end, whose function is smoother than a deep random one.  All layers are trained from there.

    State: `identity_t`, the number of steps taken.

    Reference: Le, Jaitly, Hinton: A Simple Way to Initialize Recurrent Networks of Rectified Linear Units, 2015;
    Bartlett, Helmbold, Long: Gradient descent with identity initialization efficiently learns positive definite linear
    transformations by deep residual networks, ICML 2018.
    """

    modifier = "identity"

    identity_layers = param.Integer(
        3, bounds=(1, 20), step=1, doc="Hidden layers k, from the inputs on, that begin as the challenge draws them."
    )
    identity_lift = positive(3.0, "Bias b of the others, in deviations of a unit.", 0.1, 100)

    def init_state(self, params, seed):
        return super().init_state(params, seed) | {"identity_t": counter(params)}

    def begin(self, state, params):
        trained = getattr(params, "trainable", [True] * len(params))
        places = [place for place in linears(params)[self.identity_layers : -1] if trained[place]]
        tensors = {}
        for place in places:
            weight, bias = params[place], params[place + 1]
            (lift,) = self.columns("identity_lift", like=bias[:, 0])
            tensors[place] = torch.eye(*weight.shape[1:], dtype=weight.dtype, device=weight.device).expand_as(weight)
            tensors[place + 1] = lift[:, None].expand_as(bias)
        return tensors
