"""The network of a fleet on a CPU: one run after the other, so that a run's tensors stay in the processor's cache.

The same mathematics as `StackedMLP`, its literal twin.  Products go to oneDNN, which adds the bias and applies the ReLU
on the way and knows processors that MKL does not favour: on an AMD EPYC it takes half the time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from explorer.base.tensors import Tensors
from explorer.challenge.model import EPS, MOMENTUM, Network
from explorer.challenge.settings import Challenge

_normalize = torch.ops.aten.native_batch_norm.default
_normalize_backward = torch.ops.aten.native_batch_norm_backward.default
_threshold_backward = torch.ops.aten.threshold_backward.grad_input

# `torch.nn.functional.linear` takes plain float32 tensors to MKL; this is what torch's own compiler calls instead.
_linear: Callable[..., Tensor] | None = getattr(getattr(torch.ops.mkldnn, "_linear_pointwise", None), "default", None)


LEAST_WIDTH = 192
"""With narrower layers to start each run's operations takes longer than they do."""


def supports(challenge: Challenge, device: torch.device, precision: str) -> bool:
    """Whether `RunwiseMLP` can compute this challenge here, and is worth while."""
    there = _linear is not None and torch.backends.mkldnn.is_available()
    return there and device.type == "cpu" and precision == "float32" and challenge.width >= LEAST_WIDTH


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none") -> Tensor:
    """activation(rows · Wᵀ + b)."""
    assert _linear is not None
    return _linear(rows, weight, bias, activation, [], "")


class RunwiseMLP(Network):
    """Forward and backward of each run by itself, in float32: what a run does hangs on no other run."""

    activations = 2

    def __init__(self, challenge: Challenge, runs: int, device: torch.device) -> None:
        super().__init__(challenge, runs, device, torch.float32)
        self._trained = [slot.trainable for slot in self.layout.slots]

    def train_batch(self, params, x, y, statistics, whole=True):
        squared = x.new_empty(1, len(x))
        models, gradients = params.of_runs(), self.gradients.of_runs()
        tracked = [None] * len(x) if statistics is None else statistics.of_runs()
        for run, given in enumerate(zip(models, gradients, tracked, x, y, strict=True)):
            self._train_run(*given, squared[0, run])
        return squared

    def losses(self, params: Tensors, x: Tensor, y: Tensor, out: Tensor) -> None:
        val = self.challenge.val_size
        for model, inputs, targets, found in zip(params.of_runs(), x, y, out.unbind(1), strict=True):
            h = inputs
            for layer in range(self.hidden):
                h, *_ = _normalize(self._hidden(model, layer, h), *model[self._places_of_norm(layer)], False, 0.0, EPS)
            squares = self._output(model, h).sub_(targets).square_()
            torch.mean(squares[:val], dim=(0, 1), out=found[0])
            torch.mean(squares[val:], dim=(0, 1), out=found[1])

    def _train_run(
        self,
        model: list[Tensor],
        gradients: list[Tensor],
        tracked: list[Tensor] | None,
        x: Tensor,
        y: Tensor,
        squared: Tensor,
    ) -> None:
        """One run's batch: its gradients, its running statistics in `tracked`, and its summed `squared` error."""
        h, below, relu, spread = x, [x], [], []
        for layer in range(self.hidden):
            a = self._hidden(model, layer, h)
            gamma, beta, *_ = model[self._places_of_norm(layer)]
            running = (None, None) if tracked is None else tracked[self._places_of_norm(layer)][2:]
            h, *seen = _normalize(a, gamma, beta, *running, True, MOMENTUM, EPS)
            below.append(h)
            relu.append(a)
            spread.append(seen)
        error = self._output(model, h).sub_(y)
        torch.sum(error.square(), dim=(0, 1), out=squared)

        delta = error.mul_(self._delta_scale(x[None]))
        self._linear_gradients(gradients, self.hidden, delta, below[-1])
        for layer in reversed(range(self.hidden)):
            behind = self._behind(model, layer + 1, delta)
            places = self._places_of_norm(layer)
            gamma, *_ = model[places]
            through, *of_norm = _normalize_backward(
                behind, relu[layer], gamma, None, None, *spread[layer], True, EPS, [True, True, True]
            )
            for place, gradient in enumerate(of_norm, places.start):
                if self._trained[place]:
                    gradients[place].copy_(gradient)
            delta = _threshold_backward(through, relu[layer], 0, grad_input=through)
            self._linear_gradients(gradients, layer, delta, below[layer])

    def _hidden(self, model: list[Tensor], layer: int, h: Tensor) -> Tensor:
        """max(h · Wᵀ + b, 0)."""
        weight, bias = model[2 * layer], model[2 * layer + 1]
        if layer == 0:  # a sum over the few input dimensions
            return torch.addmm(bias, h, weight.mT).relu_()
        return _product(h, weight, bias, "relu")

    def _output(self, model: list[Tensor], h: Tensor) -> Tensor:
        return torch.addmm(model[2 * self.hidden + 1], h, model[2 * self.hidden].mT)

    def _behind(self, model: list[Tensor], layer: int, delta: Tensor) -> Tensor:
        """What `delta` of `layer` is for the layer below."""
        weight = model[2 * layer]
        if layer == self.hidden:
            return torch.mm(delta, weight)
        return _product(delta, weight.mT)

    def _linear_gradients(self, gradients: list[Tensor], layer: int, delta: Tensor, below: Tensor) -> None:
        if not self._trained[2 * layer]:
            return
        if 0 < layer < self.hidden:
            gradients[2 * layer].copy_(_product(delta.mT, below.mT))
        else:
            torch.mm(delta.mT, below, out=gradients[2 * layer])
        torch.sum(delta, dim=0, out=gradients[2 * layer + 1])
