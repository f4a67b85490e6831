"""Instances: noisy samples of a random function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from explorer.base.random import Stream

if TYPE_CHECKING:
    from explorer.challenge.settings import Challenge

Array = np.ndarray

FIELDS = (
    "input_dims",
    "output_dims",
    "num_features",
    "lengthscale",
    "lengthscale_power",
    "noise_std",
    "train_size",
    "val_size",
    "test_size",
)
"""The challenge's settings that an instance depends on, beside its seed."""


@dataclass(frozen=True)
class Samples:
    """inputs `[n, D]`, targets `[n, O]` (noisy), truths `[n, O]` (the function itself); float64."""

    inputs: Array
    targets: Array
    truths: Array


@dataclass(frozen=True)
class Function:
    r"""The target: $f_o(x) = \sqrt{2/K} \sum_k a_{ok} \cos(\omega_{ok} \cdot x + b_{ok})$.

    frequencies `[O, K, D]`, phases `[O, K]`, amplitudes `[O, K]`.
    """

    frequencies: Array
    phases: Array
    amplitudes: Array

    def features(self, x: Array) -> Array:
        """√(2/K) cos(ω·x + b): `[O, n, K]` for x `[n, D]`."""
        return np.stack([self.features_of(x, output) for output in range(len(self.phases))])

    def features_of(self, x: Array, output: int) -> Array:
        """The features of one output alone: `[n, K]`."""
        return np.sqrt(2 / self.phases.shape[-1]) * np.cos(x @ self.frequencies[output].T + self.phases[output])

    def __call__(self, x: Array) -> Array:
        """f(x): `[n, O]` for x `[n, D]`."""
        outputs = enumerate(self.amplitudes)  # one at a time: their features together can be gigabytes
        return np.stack([self.features_of(x, output) @ amplitudes for output, amplitudes in outputs], axis=1)


@dataclass(frozen=True)
class Dataset(Samples):
    """One instance: train, validation and test samples, in that order, and the function behind them."""

    seed: int
    function: Function
    sizes: tuple[int, int, int]

    def _part(self, index: int) -> Samples:
        start = sum(self.sizes[:index])
        part = slice(start, start + self.sizes[index])
        return Samples(self.inputs[part], self.targets[part], self.truths[part])

    @property
    def train(self) -> Samples:
        return self._part(0)

    @property
    def val(self) -> Samples:
        return self._part(1)

    @property
    def test(self) -> Samples:
        return self._part(2)

    @property
    def noise_mse(self) -> float:
        """Mean (y − f)² over the test samples and outputs: what the true function itself scores."""
        return float(np.mean((self.test.targets - self.test.truths) ** 2))


def draw(challenge: Challenge, seed: int) -> Dataset:
    """The instance of `seed`, from a stream of its own (NumPy's PCG64, float64)."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(Stream.DATA,)))
    outputs, features, dims = challenge.output_dims, challenge.num_features, challenge.input_dims
    scale = challenge.lengthscale**-challenge.lengthscale_power
    function = Function(
        frequencies=rng.normal(0, scale, (outputs, features, dims)),
        phases=rng.uniform(0, 2 * np.pi, (outputs, features)),
        amplitudes=rng.normal(0, 1, (outputs, features)),
    )
    sizes = (challenge.train_size, challenge.val_size, challenge.test_size)
    inputs = rng.uniform(-1, 1, (sum(sizes), dims))
    truths = function(inputs)
    targets = truths + rng.normal(0, challenge.noise_std, truths.shape)
    return Dataset(inputs, targets, truths, seed, function, sizes)
