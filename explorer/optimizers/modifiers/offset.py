"""The height that a frozen read-out cannot learn, put into the evaluated model alone and found from its losses."""

from __future__ import annotations

from collections.abc import Sequence

import param
import torch
from torch import Tensor

from explorer.optimizers.fields import positive
from explorer.optimizers.modifiers.clock import MOMENTUM, clock
from explorer.optimizers.modifiers.evaluation import Shown, shows
from explorer.optimizers.modifiers.network import frozen_layers, norm

EPS = 1e-5
"""Of the batch norms."""


@shows
class Offset(Shown):
    r"""Output offset: what evaluation sees is shifted by the mean that a frozen read-out takes away, found by probing.

    A frozen batch norm with β = 0 before a frozen layer with bias 0 makes the outputs' mean over every batch 0, so that
    no gradient tells of the targets' mean.  Evaluation normalizes with running statistics instead, which do not see
    what an epoch's last update does: it moves the β of the last trained batch norm by the least vector that shifts the
    outputs by $o$, and the next update takes that back.

    $$ \delta = J^\top (JJ^\top)^{-1} (o + c), \qquad
       J = W_\text{out} \operatorname{diag}\Bigl(\tfrac{a\,\gamma}{\sqrt{v + \varepsilon}}\Bigr) W_\text{hidden}, \qquad
       c \leftarrow (1-\mu)^n c + \mu (1-\mu)^{n-1} (o + c) $$

    v: the frozen batch norm's running variance; a: the share of ReLUs that are active; c: what the running means have
    seen of earlier shifts, in each epoch's first of n batches (μ = 0.1).  With O outputs the validation loss is
    $V_0 + \lVert o - m\rVert^2 / O$.  A search asks for $o \pm h$ on each output in turn, an epoch each, and moves by

    $$ o_k \leftarrow o_k + \rho\, O\, \frac{V(o_k - h) - V(o_k + h)}{4h}. $$

    Searches begin after `offset_wait` epochs; rests between them double, and h shrinks, as the loss grows quiet.  Where
    the last layer is trained, its bias can learn the mean, and nothing is done.  Belongs around all other modifiers.

    State: `offset_found` $o$, `offset_leak` $c$ and `offset_shown` $o + c$ with the probe, `[R, O]`; `offset_seen`, a
    search's losses `[R, 2O]`; `offset_shift`, a list of $\delta$ alone; `offset_phase` of the search in epochs,
    `offset_rest` after it, `offset_width` $h$; `offset_epoch`, `offset_taken` steps in it and `offset_batches` of an
    epoch.

    Reference: assets/our-entry.md; extremum seeking as in Ariyur, Krstić: Real-Time Optimization by Extremum-Seeking
    Control, 2003.
    """

    modifier = "offset"

    offset_wait = param.Number(4, bounds=(1, 1000), softbounds=(1, 50), doc="Epochs before the first search.")
    offset_probe = positive(1.0, "Probe h of the first search, in units of the targets.", 0.01, 10)
    offset_shrink = param.Number(0.5, bounds=(0, 1), doc="What a search multiplies the next one's probe with.")
    offset_least = positive(0.1, "Least probe, in units of the targets.", 0.01, 1)
    offset_rest = param.Number(1, bounds=(0, 1000), softbounds=(0, 20), doc="Epochs of rest after the first search.")
    offset_step = param.Number(0.7, bounds=(0, 1), doc="Share ρ of the way that a search moves.")
    offset_active = param.Number(
        0.5, bounds=(0, 1), inclusive_bounds=(False, True), doc="Share a of a frozen layer's ReLUs that are active."
    )

    def init_state(self, params, seed):
        state = super().init_state(params, seed)
        if not (frozen := frozen_layers(params)):
            return state
        outputs, moved = (params[frozen[-1]].shape[1], params[frozen[0]].shape[2])
        like = params[0].new_zeros(len(params[0]))
        wait, rest, width = self.columns("offset_wait", "offset_rest", "offset_probe", like=like)
        zeros = like[:, None].expand(-1, outputs)
        return state | {
            "offset_found": zeros.clone(), "offset_leak": zeros.clone(), "offset_shown": zeros.clone(),
            "offset_seen": zeros.repeat(1, 2), "offset_shift": [params[0].new_zeros(len(like), moved)],
            "offset_phase": -wait.round(), "offset_rest": rest, "offset_width": width, **clock("offset", params),
        }  # fmt: skip

    def places(self, params):
        frozen = frozen_layers(params)
        return [norm(params, frozen[0] - 2) + 1] if frozen else []

    def show(self, state, params, last):
        asked = state["offset_found"] + self._probe(state) + state["offset_leak"]
        shown, (shift,) = state["offset_shown"], state["offset_shift"]
        shown.copy_(torch.where(last, asked, shown))
        shift.copy_(torch.where(last, least(self._jacobian(params), shown), 0))

    def learn(self, state, first, val_loss):
        """Take in the last epoch's loss, move where a search is over, go on by an epoch."""
        found, leak, seen = (state[f"offset_{name}"] for name in ("found", "leak", "seen"))
        phase, rest, h = (state[f"offset_{name}"] for name in ("phase", "rest", "width"))
        kept = (1 - MOMENTUM) ** state["offset_batches"]
        leaked = (leak + state["offset_shown"] * (MOMENTUM / (1 - MOMENTUM))) * kept
        leak.copy_(torch.where(first, leaked, leak))
        seen.copy_(torch.where(first & (phase[:, None] == _steps(seen)), val_loss[:, None], seen))
        over = first & (phase == seen.shape[1] - 1)
        (ρ,) = self.symbols("offset_step", like=found)
        slope = (seen * _signs(seen)).unflatten(1, (-1, 2)).sum(2) / (4 * h[:, None])
        found.copy_(torch.where(over[:, None], found - slope * (ρ * found.shape[1]), found))
        shrink, floor = self.columns("offset_shrink", "offset_least", like=h)
        h.copy_(torch.where(over, torch.maximum(h * shrink, floor), h))
        again = first & (phase + 1 >= seen.shape[1] + rest)
        phase.copy_(torch.where(again, 0, phase + first.to(phase.dtype)))
        rest.copy_(torch.where(again, 2 * rest, rest))

    def _probe(self, state) -> Tensor:
        """What is added to the offset found in this epoch `[R, O]`: ±h on one output in a search, else nothing."""
        seen, h = state["offset_seen"], state["offset_width"]
        now = (state["offset_phase"][:, None] == _steps(seen)).to(h.dtype)
        return (now * _signs(seen)).unflatten(1, (-1, 2)).sum(2) * h[:, None]

    def _jacobian(self, params: Sequence[Tensor]) -> Tensor:
        """J `[R, O, width]`: by how much the outputs move with the β of the last trained batch norm."""
        *hidden, output = frozen_layers(params)
        jacobian = params[output]
        for index in reversed(hidden):
            weight, _, _, variance = params[norm(params, index) : norm(params, index) + 4]
            (a,) = self.symbols("offset_active", like=weight)
            jacobian = (jacobian * (a * weight * (variance.clamp(min=0) + EPS).rsqrt())[:, None]) @ params[index]
        return jacobian


def least(jacobian: Tensor, wanted: Tensor) -> Tensor:
    """The shortest δ `[R, n]` with J δ = `wanted [R, O]`: O steps of conjugate gradients on J Jᵀ, without a wait."""
    gram = jacobian @ jacobian.mT
    solution, residual = torch.zeros_like(wanted), wanted
    direction, square = wanted, (wanted * wanted).sum(1, keepdim=True)
    tiny = torch.finfo(wanted.dtype).tiny
    for _ in range(wanted.shape[1]):
        moved = (gram @ direction[:, :, None])[:, :, 0]
        α = square / (direction * moved).sum(1, keepdim=True).clamp(min=tiny)
        solution, residual = solution + α * direction, residual - α * moved
        before, square = square, (residual * residual).sum(1, keepdim=True)
        direction = residual + direction * (square / before.clamp(min=tiny))
    return (jacobian.mT @ solution[:, :, None])[:, :, 0]


def _steps(seen: Tensor) -> Tensor:
    """The search's epochs, 0 to 2O − 1."""
    return torch.arange(seen.shape[1], device=seen.device)


def _signs(seen: Tensor) -> Tensor:
    """Of each epoch's probe: + − − + + − …, so that a steady fall of the loss does not look the same on all outputs."""
    return 1 - 2 * ((_steps(seen) + 1) // 2 % 2)
