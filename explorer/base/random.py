"""Random numbers that are the same on every device.

torch's CPU and CUDA generators give different numbers for one seed, so whatever must agree between devices (initial
weights, batch order, an optimizer's own draws) is a hash of (seed, stream, counter) instead: SplitMix64's finalizer
(Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014) on torch's wrapping int64.
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor


class Stream(IntEnum):
    """Separate streams of one seed: two optimizers at a seed share the instance, the start and the batches."""

    DATA = 0
    WEIGHTS = 1
    ORDER = 2
    OPTIMIZER = 3


_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))


def _shift(bits: Tensor, by: int) -> Tensor:
    """Logical right shift of int64."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Tensor) -> Tensor:
    bits = (bits ^ _shift(bits, 30)) * _MIX[0]
    bits = (bits ^ _shift(bits, 27)) * _MIX[1]
    return bits ^ _shift(bits, 31)


def bits(seed: Tensor, stream: int, counter: Tensor) -> Tensor:
    """64 random bits for each seed and counter (int64, broadcast together)."""
    key = _mix(seed * 4 + stream + _GOLDEN)
    return _mix(key + (counter + 1) * _GOLDEN)


def uniform(seed: Tensor, stream: int, counter: Tensor) -> Tensor:
    """Uniform on [0, 1) with 53 random bits, float64, for each seed and counter (int64, broadcast together)."""
    return _shift(bits(seed, stream, counter), 11).to(torch.float64) * 2.0**-53


def permutations(seed: Tensor, stream: int, counter: Tensor, size: int) -> Tensor:
    """Random orders of `size` items: int64 `[..., size]` for seeds and counters `[...]` (int64, broadcast together)."""
    items = torch.arange(size, device=seed.device)
    keys = bits(seed[..., None], stream, counter[..., None] * size + items)
    return keys.sort(dim=-1, stable=True).indices
