"""The network of a whole fleet on a CUDA device: one kernel a layer forward, one backward, one for all square weights.

The same mathematics as `StackedMLP`, its literal twin; what differs is how it is cut into kernels (`kernels.py`).
"""

# pyright: reportArgumentType=false, reportCallIssue=false, reportMissingImports=false

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import triton
from torch import Tensor

from explorer.base.launch import launch
from explorer.base.tensors import Tensors
from explorer.challenge import kernels
from explorer.challenge.model import EPS, MOMENTUM, Join, Network
from explorer.challenge.settings import Challenge

LARGEST_BATCH = 256
"""A tile holds all rows of a batch, which must fit a multiprocessor's registers."""

PRODUCTS = {"float32": "tf32x3", "tf32": "tf32"}


def supports(challenge: Challenge, device: torch.device, precision: str) -> bool:
    """Whether `FusedMLP` can compute this challenge here."""
    return (
        device.type == "cuda"
        and precision in PRODUCTS
        and min(challenge.batch_size, challenge.train_size) <= LARGEST_BATCH
    )


@dataclass(frozen=True)
class Tiles:
    """How kernels are cut: columns of a layer's tile, its step along the sum and its warps; rows of an output tile;
    rows, columns, step and warps for square gradients, for evaluation, and for square gradients that move the weights
    on the spot, if that is worth while."""

    layer: tuple[int, int, int]
    output: int
    square: tuple[int, int, int, int]
    evaluation: tuple[int, int, int, int]
    joined: tuple[int, int, int, int] | None = None


def tiles(runs: int, precision: str) -> Tiles:
    """Measured on an H100: small tiles spread few runs over the card, large ones read less memory once it is full.

    Weights are moved on the spot in small tiles, whose optimizer waits for memory while others multiply.
    """
    if runs <= 8:
        if precision == "tf32":
            return Tiles(layer=(8, 128, 4), output=16, square=(32, 32, 32, 4), evaluation=(64, 16, 64, 4))
        return Tiles(layer=(8, 128, 8), output=16, square=(32, 64, 64, 4), evaluation=(64, 16, 128, 4))
    if precision == "tf32":
        return Tiles(layer=(32, 32, 4), output=64, square=(128, 128, 32, 8), evaluation=(128, 64, 32, 4),
                     joined=(32, 64, 32, 4))  # fmt: skip
    return Tiles(layer=(64, 32, 4), output=64, square=(128, 64, 32, 4), evaluation=(128, 64, 32, 8),
                 joined=(16, 128, 32, 4))  # fmt: skip


class FusedMLP(Network):
    """Forward and backward in a few Triton kernels; float32 tensors, products in float32 or TF32."""

    activations = 3

    def __init__(self, challenge: Challenge, runs: int, device: torch.device, precision: str) -> None:
        super().__init__(challenge, runs, device, torch.float32)
        self.precision = PRODUCTS[precision]
        self.tiles = tiles(runs, precision)
        self.runs = runs
        self._chained = device.type == "cuda"
        width, hidden = challenge.width, self.hidden
        room = (hidden, runs, self.largest_batch, width)
        self._relu, self._normalized, self._delta = torch.empty(3, *room, device=device).unbind()
        self._spread = torch.empty(hidden, runs, 2, width, device=device)
        self._error = torch.empty(runs, self.largest_batch, challenge.output_dims, device=device)
        counts = (challenge.val_size, challenge.test_size)
        self._counts = torch.tensor(counts, device=device)[:, None] * float(challenge.output_dims)
        self._heldout = torch.empty(2, runs, challenge.val_size + challenge.test_size, width, device=device)

        at, slots = self.layout.offsets, {slot.name: slot for slot in self.layout.slots}
        self._weights = [at[f"linears.{layer}.weight"] for layer in range(hidden + 1)]
        self._biases = [at[f"linears.{layer}.bias"] - self._weights[layer] for layer in range(hidden + 1)]
        self._norms = [at[f"norms.{layer}.weight"] for layer in range(hidden)]
        self._statistics = [at[f"norms.{layer}.running_mean"] for layer in range(hidden)]
        self._trained = [slots[f"linears.{layer}.weight"].trainable for layer in range(hidden + 1)]
        self._norm_trained = [slots[f"norms.{layer}.weight"].trainable for layer in range(hidden)]
        self._step = at["norms.0.bias"] - at["norms.0.weight"]
        self._square = sum(self._trained[1:hidden])
        """How many width × width weights are trained: those of the hidden layers from the second to the frozen."""
        self._rows = _step(self.largest_batch, LARGEST_BATCH)
        self._size = 0  # of the last batch

    def train_batch(
        self, params: Tensors, x: Tensor, y: Tensor, statistics: Tensors | None, whole: bool = True
    ) -> Tensor:
        size, width, runs = x.shape[1], self.challenge.width, self.runs
        run, room = params.buffer.stride(0), self.largest_batch * width
        columns, step, warps = self.tiles.layer
        grid = (triton.cdiv(width, columns), runs)
        products: dict[str, Any] = {"PRECISION": self.precision, "CHAINED": self._chained}
        tile = {"BM": self._rows, "BN": columns, "num_warps": warps, **products}
        follows = {"launch_pdl": self._chained}
        tracked = params if statistics is None else statistics
        below, below_run, below_row, inputs = x, x.stride(0), x.stride(1), x.shape[2]
        for layer in range(self.hidden):
            launch(kernels.forward_layer, grid,
                below, below_run, below_row, params.buffer, run, self._weights[layer], self._norms[layer],
                self._relu[layer], self._normalized[layer], self._spread[layer],
                tracked.buffer[:, self._statistics[layer] :], tracked.buffer.stride(0), size, room,
                K=inputs, N=width, BIAS=self._biases[layer], STEP=self._step, TRACK=statistics is not None,
                MOMENTUM=MOMENTUM, EPS=EPS, BK=_step(inputs, step), launch_pdl=self._chained and layer > 0, **tile,
            )  # fmt: skip
            below, below_run, below_row, inputs = self._normalized[layer], room, width, width

        outputs, rows = self.challenge.output_dims, self.tiles.output
        last = {"K": width, "N": outputs, "BIAS": self._biases[-1], "BN": 16, "num_warps": 4, **products, **follows}
        squared = torch.empty(triton.cdiv(size, rows), runs, device=x.device)
        launch(kernels.output_layer, tuple(squared.shape),
            below, below_run, params.buffer, run, self._weights[-1], y, y.stride(0), squared,
            self._error, self._error.stride(0), size, self._delta_scale(x),
            BM=rows, BK=_step(width, 128), **last,
        )  # fmt: skip
        if self._trained[-1]:
            step = _step(width, 32)
            launch(kernels.output_gradients, (triton.cdiv(width, step), runs),
                below, below_run, self._error, self._error.stride(0), self.gradients.buffer, run, self._weights[-1],
                size, BM=self._rows, BK=step, **last,
            )  # fmt: skip

        above, above_run, inputs = self._error, self._error.stride(0), outputs
        for layer in reversed(range(self.hidden)):
            launch(kernels.backward_layer, grid,
                above, above_run, params.buffer, run, self._weights[layer + 1], self._norms[layer],
                self._relu[layer], self._spread[layer], self._delta[layer], self.gradients.buffer, run,
                self._weights[layer] + self._biases[layer], x, x.stride(0), size, room,
                K=inputs, N=width, STEP=self._step, NORM_TRAINED=self._norm_trained[layer],
                TRAINED=self._trained[layer], FIRST=layer == 0, D=x.shape[2], DP=_step(x.shape[2], 64),
                BIAS=self._biases[layer], BK=_step(inputs, step), **tile, **follows,
            )  # fmt: skip
            above, above_run, inputs = self._delta[layer], room, width
        self._size = size
        if self._square and whole:
            self._squares(self.tiles.square, kernels.weight_gradients, self.gradients.buffer, run)
        return squared

    def join(self) -> Join | None:
        if not self._square or self.tiles.joined is None:
            return None
        beside = torch.ones(self.layout.trainable_size, dtype=torch.bool)
        for start in self._weights[1 : 1 + self._square]:
            beside[start : start + self.challenge.width**2] = False
        places = beside.nonzero()[:, 0].to(self.gradients.buffer.device)
        return Join(self.gradients.flat, places, partial(self._squares, self.tiles.joined))

    def _squares(self, tile: tuple[int, int, int, int], kernel: Any, *arguments: Any) -> None:
        """Launch `kernel`, whose arguments end with those of `kernels.square_gradients`, over the square weights after
        a batch's backward."""
        width, room = self.challenge.width, self.largest_batch * self.challenge.width
        rows, columns, step, warps = tile
        columns = _step(max(width, 64), columns)  # narrow layers leave half of a wide tile empty
        cells = triton.cdiv(width, rows) * triton.cdiv(width, columns)
        launch(kernel, (cells, self._square, self.runs),
            *arguments, self._delta[1], self._normalized[0], self._size, self.runs * room, room, self._weights[1],
            N=width, ROWS=self._rows, STRIDE=self._stride, BM=rows, BN=columns, BK=step, PRECISION=self.precision,
            CHAINED=self._chained, num_warps=warps, launch_pdl=self._chained,
        )  # fmt: skip

    def losses(self, params: Tensors, x: Tensor, y: Tensor, out: Tensor) -> None:
        size, width, runs = x.shape[1], self.challenge.width, self.runs
        run = params.buffer.stride(0)
        rows, columns, step, warps = self.tiles.evaluation
        grid = (triton.cdiv(width, columns), triton.cdiv(size, rows), runs)
        tile: dict[str, Any] = {"BM": rows, "PRECISION": self.precision, "num_warps": warps}
        below, below_run, below_row, inputs = x, x.stride(0), x.stride(1), x.shape[2]
        for layer in range(self.hidden):
            above = self._heldout[layer % 2]
            launch(kernels.evaluate_layer, grid,
                below, below_run, below_row, params.buffer, run, self._weights[layer], self._norms[layer],
                self._statistics[layer], above, size, K=inputs, N=width, BIAS=self._biases[layer], STEP=self._step,
                EPS=EPS, BN=columns, BK=_step(inputs, step), **tile,
            )  # fmt: skip
            below, below_run, below_row, inputs = above, size * width, width, width
        parts = torch.empty(triton.cdiv(size, tile["BM"]), 2, runs, device=x.device)
        launch(kernels.evaluate_output, (len(parts), runs),
            below, params.buffer, run, self._weights[-1], y, y.stride(0), parts, size, self.challenge.val_size,
            K=width, N=self.challenge.output_dims, BIAS=self._biases[-1], BN=16, BK=_step(width, 64), **tile,
        )  # fmt: skip
        torch.sum(parts, dim=0, out=out)
        out.div_(self._counts)

    @property
    def _stride(self) -> int:
        return self._weights[2] - self._weights[1] if self._square > 1 else 0


def _step(size: int, step: int) -> int:
    """A power of two for steps or tiles over `size`: `step`, or less where that is already all; `tl.dot` wants 16."""
    return min(step, max(16, 1 << (size - 1).bit_length()))
