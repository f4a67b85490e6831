"""Scores of a test error: threshold, α, pass, quality.  Plain NumPy; arguments broadcast.

The threshold's sum runs over all outputs and is divided by the number of test samples, so
ε*² = (α / N_test) Σ (y − f)² = α · O · noise MSE, where the noise MSE is a mean over samples *and* outputs.
"""

from __future__ import annotations

import numpy as np

from explorer.challenge.settings import Challenge

LOOSEST_ALPHA = 4.0


def threshold(challenge: Challenge, noise_mse: np.ndarray) -> np.ndarray:
    """ε*², as a mean squared error, for instances of the given noise MSE `[R]`."""
    return challenge.alpha * challenge.output_dims * np.asarray(noise_mse)


def alpha(challenge: Challenge, noise_mse: np.ndarray, test_mse: np.ndarray) -> np.ndarray:
    """The α at which a test MSE `[R]` would just pass."""
    return np.asarray(test_mse) / (challenge.output_dims * np.asarray(noise_mse))


def passed(challenge: Challenge, noise_mse: np.ndarray, test_mse: np.ndarray) -> np.ndarray:
    """Whether a test MSE `[R]` is at or under the threshold (NaN is not)."""
    return np.asarray(test_mse) <= threshold(challenge, noise_mse)


def quality(challenge: Challenge, noise_mse: np.ndarray, test_mse: np.ndarray) -> np.ndarray:
    """(reference − test MSE) / reference, with the reference that the challenge's `quality_reference` names."""
    if challenge.quality_reference == "threshold":
        reference = threshold(challenge, noise_mse)
        return (reference - test_mse) / reference
    reference = LOOSEST_ALPHA * challenge.output_dims * np.asarray(noise_mse)
    return np.clip((reference - test_mse) / reference, -10, 10)
