"""The network of a whole fleet: stacked MLPs with batch norm, forward and backward written out.

A hidden layer is Linear → ReLU → BatchNorm; the last layer is Linear alone.  R runs go through one batched product a
layer.  Gradients are written by hand, so nothing is recorded and nothing allocated that autograd would need.
"""

from __future__ import annotations

from math import prod

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
    for index, (fan_in, fan_out) in enumerate(zip(widths, widths[1:], strict=False)):
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


class StackedMLP:
    """Forward and backward of R networks at once on plain torch operations.

    Inputs are `[R, B, D]`, targets `[R, B, O]`; `gradients` has the parameters' layout, zero in frozen slots.
    """

    def __init__(self, challenge: Challenge, runs: int, device: torch.device, dtype: torch.dtype) -> None:
        self.challenge = challenge
        self.hidden = challenge.num_hidden_layers
        self.layout = layout(challenge)
        self.gradients = self.layout.zeros(runs, device, dtype)
        self._index = {slot.name: index for index, slot in enumerate(self.layout.slots)}

    def train_batch(self, params: Tensors, x: Tensor, y: Tensor, statistics: Tensors | None) -> Tensor:
        """Fill `gradients` for one batch; return each run's summed squared error `[R]`.

        statistics: the tensors whose running statistics take in this batch, or None to leave them.
        """
        kept: list[tuple[Tensor, Tensor, Tensor]] = []  # of each hidden layer: its input, ReLU output, 1/deviation
        normalized: list[Tensor] = []
        h = x
        for layer in range(self.hidden):
            weight, bias = self._linear(params, layer)
            gamma, beta, *_ = self._norm(params, layer)
            a = torch.baddbmm(bias[:, None], h, weight.mT).relu_()
            variance, mean = torch.var_mean(a, dim=1, correction=0)
            if statistics is not None:
                self._track(statistics, layer, mean, variance, a.shape[1])
            rstd = variance.add_(EPS).rsqrt_()
            xhat = (a - mean[:, None]).mul_(rstd[:, None])
            kept.append((h, a, rstd))
            normalized.append(xhat)
            h = torch.addcmul(beta[:, None], xhat, gamma[:, None])
        weight, bias = self._linear(params, self.hidden)
        error = torch.baddbmm(bias[:, None], h, weight.mT).sub_(y)
        squared = error.square().sum(dim=(1, 2))

        mean_scale = 1 / (error.shape[1] * error.shape[2]) if self.challenge.gradient_reduction == "mean" else 1.0
        delta = error.mul_(2 * mean_scale)
        self._linear_gradients(self.hidden, delta, h)
        for layer in reversed(range(self.hidden)):
            below, a, rstd = kept[layer]
            xhat = normalized[layer]
            gamma, *_ = self._norm(params, layer)
            dh = torch.bmm(delta, weight)
            dgamma, dbeta = torch.linalg.vecdot(dh, xhat, dim=1), dh.sum(dim=1)
            if self._trainable(f"norms.{layer}.weight"):
                self._gradient(f"norms.{layer}.weight").copy_(dgamma)
                self._gradient(f"norms.{layer}.bias").copy_(dbeta)
            size = dh.shape[1]
            delta = dh.sub_((dbeta / size)[:, None]).sub_(xhat.mul_((dgamma / size)[:, None]))
            delta.mul_((gamma * rstd)[:, None]).mul_(a > 0)
            self._linear_gradients(layer, delta, below)
            weight, _ = self._linear(params, layer)
        return squared

    def evaluate(self, params: Tensors, x: Tensor) -> Tensor:
        """Outputs `[R, B, O]` with the running statistics in place of the batch's."""
        h = x
        for layer in range(self.hidden):
            weight, bias = self._linear(params, layer)
            gamma, beta, mean, variance = self._norm(params, layer)
            scale = gamma * (variance + EPS).rsqrt()
            shift = beta - mean * scale
            a = torch.baddbmm(bias[:, None], h, weight.mT).relu_()
            h = torch.addcmul(shift[:, None], a, scale[:, None])
        weight, bias = self._linear(params, self.hidden)
        return torch.baddbmm(bias[:, None], h, weight.mT)

    def _track(self, statistics: Tensors, layer: int, mean: Tensor, variance: Tensor, size: int) -> None:
        _, _, running_mean, running_var = self._norm(statistics, layer)
        running_mean.lerp_(mean, MOMENTUM)
        running_var.lerp_(variance * (size / (size - 1)), MOMENTUM)

    def _linear_gradients(self, layer: int, delta: Tensor, below: Tensor) -> None:
        if self._trainable(f"linears.{layer}.weight"):
            torch.bmm(delta.mT, below, out=self._gradient(f"linears.{layer}.weight"))
            torch.sum(delta, dim=1, out=self._gradient(f"linears.{layer}.bias"))

    def _linear(self, tensors: Tensors, layer: int) -> tuple[Tensor, Tensor]:
        return tensors[2 * layer], tensors[2 * layer + 1]

    def _norm(self, tensors: Tensors, layer: int) -> tuple[Tensor, ...]:
        start = 2 * (self.hidden + 1) + 4 * layer
        return tuple(tensors[start : start + 4])

    def _trainable(self, name: str) -> bool:
        return self.layout.slots[self._index[name]].trainable

    def _gradient(self, name: str) -> Tensor:
        return self.gradients[self._index[name]]
