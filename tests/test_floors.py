"""The floors against computations of another kind, and DESIGN's figures."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from explorer import Challenge
from explorer.challenge import floors, scoring

SMALL = {"train_size": 150, "val_size": 20, "test_size": 40}


def posterior_mean(challenge, data, at):
    """The Gaussian process's prediction by a dense inverse, covariance entry by entry."""
    scale = {1: challenge.lengthscale, 2: challenge.lengthscale**2}[challenge.lengthscale_power]
    gram = np.exp(-cdist(data.train.inputs, data.train.inputs, "sqeuclidean") / (2 * scale**2))
    cross = np.exp(-cdist(at, data.train.inputs, "sqeuclidean") / (2 * scale**2))
    inverse = np.linalg.inv(gram + challenge.noise_std**2 * np.eye(len(gram)))
    return np.stack([cross @ inverse @ data.train.targets[:, o] for o in range(challenge.output_dims)], axis=1)


@pytest.mark.parametrize("name", ["brief", "tig"])
@pytest.mark.parametrize("seed", [0, 1])
def test_kernel_floor_is_the_gaussian_process_s_test_error(name, seed):
    challenge = Challenge.preset(name, **SMALL)
    data = challenge.dataset(seed)
    by_hand = np.mean((data.test.targets - posterior_mean(challenge, data, data.test.inputs)) ** 2)
    assert floors(challenge, data).kernel == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize("name", ["brief", "tig"])
def test_kernel_is_what_the_features_imply(name):
    """The mean of φ(x)·φ(x') over many draws of ω and b is the covariance that the floor assumes."""
    challenge = Challenge.preset(name, num_features=4096, output_dims=8, train_size=8, val_size=8, test_size=8)
    data = challenge.dataset(0)
    x = np.linspace(-0.2, 0.2, 9)[:, None] * np.ones(challenge.input_dims)
    phi = data.function.features(x)
    scale = {"brief": 0.3, "tig": 0.3**2}[name]
    expected = np.exp(-cdist(x, x, "sqeuclidean") / (2 * scale**2))
    np.testing.assert_allclose(np.mean(phi @ phi.transpose(0, 2, 1), axis=0), expected, atol=0.03)


@pytest.mark.parametrize("name", ["brief", "tig"])
def test_feature_floor_is_ridge_regression_on_the_true_features(name):
    """Prior a ~ N(0, I) and noise σ: the least squares of [Φ; σI] a = [y; 0]."""
    challenge = Challenge.preset(name, **SMALL)
    data, k = challenge.dataset(0), challenge.num_features
    errors = []
    for output in range(challenge.output_dims):
        phi = data.function.features(data.train.inputs)[output]
        stacked = np.vstack([phi, challenge.noise_std * np.eye(k)])
        amplitudes, *_ = np.linalg.lstsq(stacked, np.append(data.train.targets[:, output], np.zeros(k)), rcond=None)
        prediction = data.function.features(data.test.inputs)[output] @ amplitudes
        errors.append((data.test.targets[:, output] - prediction) ** 2)
    assert floors(challenge, data).feature == pytest.approx(np.mean(errors), rel=1e-8)


def test_readout_floor_takes_the_training_mean_away():
    challenge = Challenge.preset("tig", **SMALL)
    data = challenge.dataset(0)
    mean = posterior_mean(challenge, data, data.train.inputs).mean(axis=0)
    centred = posterior_mean(challenge, data, data.test.inputs) - mean
    assert floors(challenge, data).readout == pytest.approx(np.mean((data.test.targets - centred) ** 2), rel=1e-9)


@pytest.mark.parametrize(("frozen", "applies"), [(0, False), (1, False), (2, True), (3, True)])
def test_readout_floor_applies_where_norm_and_output_layer_are_frozen(frozen, applies):
    challenge = Challenge.preset("tig", frozen_layers=frozen, **SMALL)
    assert np.isfinite(floors(challenge, challenge.dataset(0)).readout) == applies


def test_nothing_passes_the_brief():
    """DESIGN: the kernel floor lies far over the loosest threshold, in the median of 8 seeds and in each."""
    challenge = Challenge()
    data = [challenge.dataset(seed) for seed in range(8)]
    ratios = [floors(challenge, d).kernel / scoring.threshold(challenge, d.noise_mse) for d in data]
    assert np.median(ratios) > 5
    assert min(ratios) > 4


def test_tig_s_floors_over_noise():
    """DESIGN: kernel floor 1.02 to 1.05; read-out floor 1.03 to 9.4, geometric mean 2.60 over 32 seeds (sketch)."""
    challenge = Challenge.preset("tig")
    found = []
    for seed in range(32):
        data = challenge.dataset(seed)
        found.append(np.array(floors(challenge, data)) / data.noise_mse)
    kernel, feature, readout = np.array(found).T
    assert 1.02 < np.median(kernel) < 1.06
    assert np.median(feature) < np.median(kernel)
    assert (readout > kernel * 0.99).all()
    assert 1.9 < np.exp(np.log(readout).mean()) < 3.5
