"""The network of a whole fleet: stacked MLPs with batch norm, forward and backward written out.

A hidden layer is Linear → ReLU → BatchNorm; the last layer is Linear alone.  R runs go through one batched product a
layer.  Gradients are written by hand, so nothing is recorded and nothing allocated that autograd would need.
`StackedMLP` runs everywhere; `explorer.challenge.fused` does the same in fewer, larger kernels on a CUDA device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from explorer.base.random import Stream, uniform
from explorer.base.tensors import Layout, Slot, Tensors
from explorer.challenge.settings import Challenge

MOMENTUM = 0.1
EPS = 1e-5
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def layout(challenge: Challenge) -> Layout:
    """Slots in the harness's order: weight and bias of every Linear, then the four tensors of every BatchNorm."""
    hidden = challenge.num_hidden_layers
    widths = [challenge.input_dims, *[challenge.width] * hidden, challenge.output_dims]
    frozen_from = hidden + 1 - challenge.frozen_layers
    slots = []
    for index, (fan_in, fan_out) in enumerate(pairwise(widths)):
        trainable = index < frozen_from
        slots.append(Slot(f"linears.{index}.weight", (fan_out, fan_in), trainable))
        slots.append(Slot(f"linears.{index}.bias", (fan_out,), trainable))
    for index in range(hidden):
        # The batch norm after Linear `index` is frozen when it stands *between* two frozen Linear layers.
        trainable = index < frozen_from
        for kind in BATCH_NORM:
            statistic = kind.startswith("running")
            slots.append(Slot(f"norms.{index}.{kind}", (challenge.width,), trainable and not statistic, statistic))
    return Layout(slots)


def initialize(challenge: Challenge, params: Tensors, seeds: Tensor) -> None:
    """The start of every run: weights U(±½√(2/(fan_in + fan_out))), biases 0, batch norms at identity.

    seeds: int64 `[R]`; the same numbers on every device.
    """
    params.buffer.zero_()
    seeds, rows = torch.unique(seeds, return_inverse=True)
    drawn = 0
    for slot, tensor in zip(params.layout.slots, params, strict=True):
        if slot.name.startswith("linears") and slot.name.endswith("weight"):
            fan_out, fan_in = slot.shape
            bound = 0.5 * (2 / (fan_in + fan_out)) ** 0.5
            counter = torch.arange(drawn, drawn + prod(slot.shape), device=seeds.device)
            drawn += prod(slot.shape)
            weights = (2 * uniform(seeds[:, None], Stream.WEIGHTS, counter) - 1) * bound
            tensor.copy_(weights[rows].view(tensor.shape))
        elif slot.name.endswith("running_var") or (slot.name.startswith("norms") and slot.name.endswith("weight")):
            tensor.fill_(1)


class _Room:
    """One hidden layer's place for a batch: `[B, R, width]`, so that one batch norm over R·width columns serves all.

    columns: the same as `[B, R·width]`.  runs: the same as `[R, B, width]`, as products want it.
    """

    def __init__(self, whole: Tensor) -> None:
        self.whole, self.columns, self.runs = whole, whole.flatten(1), whole.transpose(0, 1)


@dataclass(frozen=True)
class Join:
    """Where a network's gradients arise tile by tile, so that weights can be moved before any is written down.

    gradients: the tensor `[R, T]` that need not be filled for the weights in tiles.  beside: where in a run's row the
    others lie, int64.  launch: launches a Triton kernel over the tiles, with its own arguments before those of
    `kernels.square_gradients`.
    """

    gradients: Tensor
    beside: Tensor
    launch: Callable[..., None]


class Network:
    """What every way to compute the R networks shares: where tensors lie, and the forward pass with running statistics.

    Inputs are `[R, B, D]`, targets `[R, B, O]`; `gradients` has the parameters' layout, zero in frozen slots.
    """

    activations: ClassVar[int]
    """How many `[R, B, width]` a hidden layer keeps for its backward."""

    def __init__(self, challenge: Challenge, runs: int, device: torch.device, dtype: torch.dtype) -> None:
        self.challenge = challenge
        self.hidden = challenge.num_hidden_layers
        self.layout = layout(challenge)
        self.gradients = self.layout.zeros(runs, device, dtype)
        self.largest_batch = max(end - start for start, end in challenge.batches())
        # A layout ends with the running statistics, layer by layer.
        self._first_statistic = min(self.layout.offsets[slot.name] for slot in self.layout.slots if slot.statistic)

    @classmethod
    def room(cls, challenge: Challenge) -> int:
        """Elements of working memory a run, besides parameters and gradients."""
        batch, heldout = min(challenge.batch_size, challenge.train_size), challenge.val_size + challenge.test_size
        return (cls.activations * (challenge.num_hidden_layers + 1) * batch + 3 * heldout) * challenge.width

    def train_batch(
        self, params: Tensors, x: Tensor, y: Tensor, statistics: Tensors | None, whole: bool = True
    ) -> Tensor:
        """Fill `gradients` for one batch; return each run's summed squared error, in parts to be added: `[parts, R]`.

        statistics: the tensors whose running statistics take in this batch, or None to leave them.  whole: whether
        those gradients are wanted, too, that somebody who `join`s takes where they arise.
        """
        raise NotImplementedError

    def join(self) -> Join | None:
        """How to move weights where their gradients arise, after a batch's backward; None where that is impossible."""
        return None

    def evaluate(self, params: Tensors, x: Tensor) -> Tensor:
        """Outputs `[R, B, O]` with the running statistics in place of the batch's."""
        h = x
        for layer in range(self.hidden):
            a = self._linear(params, layer, h).relu_()
            gamma, beta, mean, variance = self._norm(params, layer)
            normalized, *_ = torch.native_batch_norm(a.flatten(1), gamma, beta, mean, variance, False, 0.0, EPS)
            h = normalized.view_as(a).transpose(0, 1)
        return self._linear(params, self.hidden, h).transpose(0, 1)

    def losses(self, params: Tensors, x: Tensor, y: Tensor, out: Tensor) -> None:
        """Into `out [2, R]`: mean squared errors on validation and test samples, with the running statistics.

        x, y: the challenge's validation samples, then its test samples.
        """
        squares = self.evaluate(params, x).sub_(y).square_()
        sizes = [self.challenge.val_size, self.challenge.test_size]
        for row, part in zip(out, squares.split(sizes, dim=1), strict=True):
            torch.mean(part, dim=(1, 2), out=row)

    def _linear(self, params: Tensors, layer: int, h: Tensor, out: _Room | None = None) -> Tensor:
        """h `[R, B, D]` → `[B, R, D']`."""
        weight, bias = params[2 * layer], params[2 * layer + 1]
        if out is None:
            out = _Room(h.new_empty(h.shape[1], h.shape[0], weight.shape[1]))
        # Not `baddbmm`, which fills its result with the bias first and is slower by half.
        torch.bmm(h, weight.mT, out=out.runs)
        return out.whole.add_(bias)

    def _norm(self, params: Tensors, layer: int) -> list[Tensor]:
        """The four tensors of a batch norm, each `[R·width]` (copies where R > 1)."""
        return [tensor.reshape(-1) for tensor in params[self._places_of_norm(layer)]]

    def _places_of_norm(self, layer: int) -> slice:
        """Where a batch norm's four tensors are among a model's."""
        start = 2 * (self.hidden + 1) + len(BATCH_NORM) * layer
        return slice(start, start + len(BATCH_NORM))

    def _delta_scale(self, x: Tensor) -> float:
        """What the error is multiplied with to be the gradient of the loss by the outputs."""
        mean = self.challenge.gradient_reduction == "mean"
        return 2 / (x.shape[1] * self.challenge.output_dims) if mean else 2.0


class StackedMLP(Network):
    """Forward and backward on plain torch operations: right on every device and in every precision."""

    activations = 2

    def __init__(self, challenge: Challenge, runs: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(challenge, runs, device, dtype)
        slots = zip(self.layout.slots, self.gradients, strict=True)
        self._trained = {slot.name: gradient for slot, gradient in slots if slot.trainable}
        # Of every hidden layer, mean and unbiased variance of the batch, and mean and one over the deviation.
        self._seen = torch.zeros(self.hidden, 2, runs, challenge.width, device=device, dtype=dtype)
        self._spread = torch.zeros_like(self._seen)
        room = (self.largest_batch, runs, challenge.width)
        buffers = torch.empty(2 * self.hidden + 2, *room, device=device, dtype=dtype)
        # Views are made once: at R = 1 on a CPU making them anew would take a fifth of the time.
        self._rooms = {
            size: [_Room(buffer[:size]) for buffer in buffers]
            for size in {end - start for start, end in challenge.batches()}
        }

    def train_batch(self, params, x, y, statistics, whole=True):
        size = x.shape[1]
        *rooms, behind, below = self._rooms[size]
        relu, normalized = rooms[: self.hidden], rooms[self.hidden :]
        inputs = [x, *(room.runs for room in normalized)]
        seen, spread = (of.flatten(2).unbind() for of in (self._seen, self._spread))
        for layer in range(self.hidden):
            a = relu[layer]
            self._linear(params, layer, inputs[layer], a).relu_()
            gamma, beta, *_ = self._norm(params, layer)
            # With momentum 1 the statistics that this tracks are the batch's own.
            torch.ops.aten.native_batch_norm.out(
                a.columns, gamma, beta, *seen[layer], True, 1.0, EPS,
                out=normalized[layer].columns, save_mean=spread[layer][0], save_invstd=spread[layer][1],
            )  # fmt: skip
        if statistics is not None:
            self._track(statistics)
        error = self._linear(params, self.hidden, inputs[-1]).transpose(0, 1).sub_(y)
        squared = error.square().sum(dim=(1, 2))[None]

        delta = error.mul_(self._delta_scale(x))
        self._linear_gradients(self.hidden, delta, inputs[-1])
        for layer in reversed(range(self.hidden)):
            torch.bmm(delta, params[2 * (layer + 1)], out=behind.runs)
            gamma, *_ = self._norm(params, layer)
            through, dgamma, dbeta = torch.ops.aten.native_batch_norm_backward(
                behind.columns, relu[layer].columns, gamma, None, None, *spread[layer], True, EPS, [True, True, True]
            )
            for kind, gradient in (("weight", dgamma), ("bias", dbeta)):
                if (slot := self._trained.get(f"norms.{layer}.{kind}")) is not None:
                    slot.copy_(gradient.view_as(slot))
            torch.ops.aten.threshold_backward.grad_input(through, relu[layer].columns, 0, grad_input=below.columns)
            delta = below.runs
            self._linear_gradients(layer, delta, inputs[layer])
        return squared

    def _linear_gradients(self, layer: int, delta: Tensor, below: Tensor) -> None:
        if (slot := self._trained.get(f"linears.{layer}.weight")) is not None:
            torch.bmm(delta.mT, below, out=slot)
            torch.sum(delta, dim=1, out=self._trained[f"linears.{layer}.bias"])

    def _track(self, statistics: Tensors) -> None:
        """Move the running statistics towards the batch's."""
        hidden, kinds, _, width = self._seen.shape
        running = statistics.buffer[:, self._first_statistic :].unflatten(1, (hidden, kinds, -1))[..., :width]
        running.lerp_(self._seen.permute(2, 0, 1, 3), MOMENTUM)
