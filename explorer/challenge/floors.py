"""How low a test error can be expected to go: what the data and the harness allow any optimizer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from explorer.challenge.data import Array, Dataset
from explorer.challenge.settings import Challenge


class Floors(NamedTuple):
    """Test MSE in expectation; single instances scatter around it.

    kernel: exact Gaussian-process posterior mean under the kernel that the features imply, knowing σ.
    feature: Bayesian linear regression that is told ω and b.
    readout: the kernel floor's predictor with its mean over the training inputs taken away, since a frozen batch norm
    (γ = 1, β = 0) in front of a frozen output layer with bias 0 has mean zero there; NaN where those are not frozen.
    """

    kernel: float
    feature: float
    readout: float


def floors(challenge: Challenge, dataset: Dataset) -> Floors:
    """The three floors of one instance (float64, on the CPU; a few tens of milliseconds at 1,000 samples)."""
    train, test, variance = dataset.train, dataset.test, challenge.noise_std**2

    scale = challenge.lengthscale**challenge.lengthscale_power
    gram = _kernel(train.inputs, train.inputs, scale)
    weights = _solve(gram + variance * np.eye(len(gram)), train.targets)
    at_train = gram @ weights
    at_test = _kernel(test.inputs, train.inputs, scale) @ weights

    told = np.empty_like(at_test)
    for output in range(challenge.output_dims):
        phi, phi_at_test = (dataset.function.features_of(part.inputs, output) for part in (train, test))
        posterior = phi.T @ phi + variance * np.eye(phi.shape[1])
        told[:, output] = phi_at_test @ _solve(posterior, phi.T @ train.targets[:, output : output + 1])[:, 0]

    def mse(prediction: Array) -> float:
        return float(np.mean((test.targets - prediction) ** 2))

    readout = mse(at_test - at_train.mean(axis=0)) if challenge.frozen_layers >= 2 else float("nan")
    return Floors(mse(at_test), mse(told), readout)


def _kernel(a: Array, b: Array, scale: float) -> Array:
    """exp(−‖a − b‖² / 2 scale²): the covariance of f over random features with frequencies from N(0, scale⁻² I)."""
    distance = torch.cdist(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    return np.exp(-0.5 * (distance / scale) ** 2)


def _solve(matrix: Array, right: Array) -> Array:
    factor = torch.linalg.cholesky(torch.from_numpy(matrix))
    return torch.cholesky_solve(torch.from_numpy(right), factor).numpy()
