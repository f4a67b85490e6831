"""Threshold, α, pass and quality by hand."""

import numpy as np
import pytest

from explorer import Challenge
from explorer.challenge import scoring


def test_threshold_is_the_formula_s_sum_over_outputs_divided_by_the_samples():
    challenge = Challenge.preset("tig", accuracy_factor=1500)
    data = challenge.dataset(0)
    total = ((data.test.targets - data.test.truths) ** 2).sum()
    assert scoring.threshold(challenge, data.noise_mse) == pytest.approx((4 - 1.5) / 250 * total, rel=1e-12)


@pytest.mark.parametrize(("preset", "loosest"), [("brief", 4), ("tig", 8)])
def test_threshold_over_noise(preset, loosest):
    challenge = Challenge.preset(preset)
    assert scoring.threshold(challenge, 0.04) == pytest.approx(loosest * 0.04)
    assert scoring.threshold(challenge.replace(accuracy_factor=3000), 0.04) == pytest.approx(loosest / 4 * 0.04)


def test_alpha_is_where_a_run_would_just_pass():
    challenge = Challenge.preset("tig")
    noise, test = np.array([0.04, 0.05]), np.array([0.2, 0.9])
    for alpha, n, t in zip(scoring.alpha(challenge, noise, test), noise, test, strict=True):
        if 0 < alpha <= 4:
            there = challenge.replace(accuracy_factor=(4 - alpha) * 1000)
            assert scoring.threshold(there, n) == pytest.approx(t)
    np.testing.assert_allclose(scoring.alpha(challenge, noise, test), [2.5, 9.0])


def test_passing_is_at_or_under_the_threshold():
    challenge = Challenge()
    edge = scoring.threshold(challenge, 0.04)
    passed = scoring.passed(challenge, 0.04, np.array([edge, np.nextafter(edge, 1), np.nan, np.inf, 0.0]))
    assert passed.tolist() == [True, False, False, False, True]


def test_quality_refers_to_the_threshold_in_the_brief():
    challenge = Challenge(accuracy_factor=2000)  # threshold 2 × 0.04
    np.testing.assert_allclose(scoring.quality(challenge, 0.04, np.array([0.0, 0.04, 0.08, 8.08])), [1, 0.5, 0, -100])


def test_quality_refers_to_alpha_four_in_the_harness_and_is_clamped():
    for factor in (0, 2000):
        challenge = Challenge.preset("tig", accuracy_factor=factor)  # reference 8 × 0.04 at any factor
        found = scoring.quality(challenge, 0.04, np.array([0.0, 0.08, 0.32, 8.0]))
        np.testing.assert_allclose(found, [1, 0.75, 0, -10])


def test_scores_broadcast_over_runs():
    challenge = Challenge()
    noise = np.array([0.03, 0.04, 0.05])
    assert scoring.threshold(challenge, noise).shape == (3,)
    assert np.isnan(scoring.quality(challenge, noise, np.full(3, np.nan))).all()
