"""Settings of the challenge, and the data that they draw."""

import re

import numpy as np
import pytest

from explorer import Challenge

# DESIGN's table, written out once more.
SHARED = {
    "num_features": 128,
    "lengthscale": 0.3,
    "noise_std": 0.2,
    "train_size": 1000,
    "val_size": 200,
    "test_size": 250,
    "num_hidden_layers": 4,
    "width": 256,
    "batch_size": 128,
    "max_epochs": 1000,
    "patience": 50,
    "min_delta": 1e-7,
    "accuracy_factor": 0,
}
PRESETS = {
    "brief": SHARED
    | {
        "input_dims": 8,
        "output_dims": 1,
        "lengthscale_power": 1,
        "frozen_layers": 0,
        "restore_statistics": False,
        "gradient_reduction": "mean",
        "quality_reference": "threshold",
    },
    "tig": SHARED
    | {
        "input_dims": 1,
        "output_dims": 2,
        "lengthscale_power": 2,
        "frozen_layers": 2,
        "restore_statistics": True,
        "gradient_reduction": "sum",
        "quality_reference": "loosest",
    },
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_the_design_s(name):
    assert Challenge.preset(name).values == PRESETS[name]
    assert set(Challenge.presets()) == set(PRESETS)


def test_the_bare_challenge_is_the_brief():
    assert Challenge().values == Challenge.preset("brief").values


def test_every_field_says_what_it_is():
    for name, field in Challenge.fields().items():
        assert field.doc, name
        assert Challenge.check(name, field.default) == field.default


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0 is not allowed: it must be an integer from 1 to 20."),
        ({"num_hidden_layers": 999}, "num_hidden_layers = 999 is not allowed: it must be an integer from 1 to 20."),
        ({"num_hidden_layers": "abc"}, "num_hidden_layers = 'abc' is not allowed: it must be an integer from 1 to 20."),
        ({"accuracy_factor": 4000}, "accuracy_factor = 4000 is not allowed: it must be a number from 0 to below 4000."),
        ({"accuracy_factor": -1}, "accuracy_factor = -1 is not allowed: it must be a number from 0 to below 4000."),
        ({"lengthscale_power": 3}, "lengthscale_power = 3 is not allowed: it must be one of 1, 2."),
        ({"gradient_reduction": "max"}, "gradient_reduction = 'max' is not allowed: it must be one of mean, sum."),
        (
            {"num_hidden_layers": 1, "frozen_layers": 2},
            "num_hidden_layers = 1 is not allowed with frozen_layers = 2, which would freeze everything: "
            "it must be an integer from 2 to 20.",
        ),
        (
            {"train_size": 257, "batch_size": 128},
            "batch_size = 128 is not allowed with train_size = 257: "
            "the last batch would hold one sample, and batch norm needs two.",
        ),
    ],
)
def test_bad_settings_get_a_sentence(values, sentence):
    with pytest.raises(ValueError, match=rf"^{re.escape(sentence)}$"):
        Challenge(**values)


def test_unknown_presets_and_fields_get_a_sentence():
    with pytest.raises(ValueError, match=r"^preset = 'tgi' is not known: it must be one of brief, tig\.$"):
        Challenge.preset("tgi")
    with pytest.raises(
        ValueError, match=r"^layers is not a setting of Challenge; its settings are: num_hidden_layers, "
    ):
        Challenge.preset("tig", layers=3)


def test_batches_of_an_epoch_end_with_a_partial_one():
    sizes = [end - start for start, end in Challenge().batches()]
    assert sizes == [128] * 7 + [104]
    assert Challenge(train_size=100).batches() == [(0, 100)]


def test_one_seed_one_instance():
    challenge = Challenge.preset("tig")
    first, again, other = challenge.dataset(3), challenge.dataset(3), challenge.dataset(4)
    for field in ("inputs", "targets", "truths"):
        np.testing.assert_array_equal(getattr(first, field), getattr(again, field))
        assert not np.array_equal(getattr(first, field), getattr(other, field))


def test_the_instance_depends_on_the_data_s_settings_alone():
    plain = Challenge().dataset(5)
    changed = Challenge(num_hidden_layers=9, width=64, batch_size=32, accuracy_factor=1500, patience=3).dataset(5)
    np.testing.assert_array_equal(plain.targets, changed.targets)


@pytest.mark.parametrize("name", PRESETS)
def test_shapes_and_splits(name):
    challenge = Challenge.preset(name)
    data = challenge.dataset(0)
    dims, outputs = challenge.input_dims, challenge.output_dims
    assert data.inputs.shape == (1450, dims)
    assert data.targets.shape == data.truths.shape == (1450, outputs)
    for part, size in ((data.train, 1000), (data.val, 200), (data.test, 250)):
        assert part.inputs.shape == (size, dims)
        assert part.targets.shape == part.truths.shape == (size, outputs)
    for field in ("inputs", "targets", "truths"):
        parts = [getattr(part, field) for part in (data.train, data.val, data.test)]
        np.testing.assert_array_equal(np.concatenate(parts), getattr(data, field))


@pytest.mark.parametrize("name", PRESETS)
def test_moments_of_many_instances(name):
    """Noise, inputs, frequencies, phases and amplitudes have the laws of DESIGN's table; f has variance one."""
    challenge = Challenge.preset(name)
    instances = [challenge.dataset(seed) for seed in range(30)]
    noise = np.stack([data.targets - data.truths for data in instances])
    assert noise.std() == pytest.approx(0.2, rel=0.01)
    assert abs(noise.mean()) < 0.005
    inputs = np.stack([data.inputs for data in instances])
    assert inputs.min() >= -1
    assert inputs.max() <= 1
    assert inputs.var() == pytest.approx(1 / 3, rel=0.02)
    functions = [data.function for data in instances]
    frequencies = np.stack([function.frequencies for function in functions])
    assert frequencies.shape[1:] == (challenge.output_dims, 128, challenge.input_dims)
    assert frequencies.std() == pytest.approx({"brief": 1 / 0.3, "tig": 1 / 0.3**2}[name], rel=0.02)
    phases = np.stack([function.phases for function in functions])
    assert 0 <= phases.min() < 0.05
    assert 2 * np.pi - 0.05 < phases.max() <= 2 * np.pi
    amplitudes = np.stack([function.amplitudes for function in functions])
    assert amplitudes.var() == pytest.approx(1, rel=0.07)
    # Var f = E Σ a² (2/K) cos² = 1, over instances.
    assert np.mean([data.truths**2 for data in instances]) == pytest.approx(1, rel=0.25)


def test_truths_are_the_sum_of_cosines():
    data = Challenge.preset("tig").dataset(1)
    x, f = data.inputs[17, 0], data.function
    for output in range(2):
        total = 0.0
        for k in range(128):
            total += f.amplitudes[output, k] * np.cos(f.frequencies[output, k, 0] * x + f.phases[output, k])
        assert data.truths[17, output] == pytest.approx(np.sqrt(2 / 128) * total, rel=1e-12)


def test_noise_mse_is_the_true_function_s_own_test_error():
    data = Challenge.preset("tig").dataset(2)
    by_hand = sum((y - f) ** 2 for y, f in zip(data.targets[1200:].flat, data.truths[1200:].flat, strict=True)) / 500
    assert data.noise_mse == pytest.approx(by_hand, rel=1e-12)
