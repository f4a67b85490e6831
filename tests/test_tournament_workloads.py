"""What tournaments are played on, and what their rulesets draw."""

import numpy as np
import pytest
import torch

from explorer import optimizers
from explorer.tournament import named, names
from explorer.tournament.rulesets import External, SelfTuning, sobol
from explorer.tournament.workloads import INSTANCES, RERUN, Heat
from explorer.training import Fleet


def test_five_base_workloads_and_six_variants_of_each():
    workloads = [named(name) for name in names()]
    base = [workload for workload in workloads if workload.kind == "base"]
    assert [workload.challenge().num_hidden_layers for workload in base] == [4, 7, 10, 14, 18]
    assert len(workloads) == 5 + 5 * 6
    for workload in workloads:
        own = max((one.name for one in base if workload.name.startswith(one.name)), key=len)
        assert named(own).challenge().num_hidden_layers == workload.challenge().num_hidden_layers
    seeds = [seed for workload in workloads for seed in workload.instances]
    assert len(set(seeds)) == len(workloads) * INSTANCES
    assert min(seeds) >= 100_000


def test_variants_change_what_they_say():
    plain = named("tig_7").challenge().values
    changed = {
        name: {key: value for key, value in named(f"tig_7_{name}").challenge().values.items() if value != plain[key]}
        for name in ("noise", "lengthscale", "inputs", "unfrozen", "few", "scaled")
    }
    assert changed == {
        "noise": {"noise_std": 0.4},
        "lengthscale": {"lengthscale": 0.25},
        "inputs": {"input_dims": 2},
        "unfrozen": {"frozen_layers": 0},
        "few": {"train_size": 250},
        "scaled": {"input_scale": 10.0},
    }


def test_an_unknown_workload_is_a_sentence():
    with pytest.raises(ValueError, match="workload = 'tig_5' is not known"):
        named("tig_5")


def test_a_rerun_has_the_same_data_and_another_start_and_order():
    challenge = Heat(width=4, num_hidden_layers=1, train_size=16, val_size=8, test_size=8, batch_size=16)
    first, again = challenge.dataset(7), challenge.dataset(7 + 3 * RERUN)
    assert np.array_equal(first.inputs, again.inputs)
    assert np.array_equal(first.targets, again.targets)
    assert not np.array_equal(first.inputs, challenge.dataset(8).inputs)
    fleet = Fleet(challenge, optimizers.create("sgd"), [7, 7 + 3 * RERUN], "cpu", "float64")
    assert not torch.equal(fleet.params[0][0], fleet.params[0][1])
    orders = fleet._shuffle(torch.zeros((), dtype=torch.int64))
    assert orders[0].tolist() != orders[1].tolist()


def test_scaled_inputs_are_the_same_samples_of_a_stretched_function():
    plain, wide = Heat.preset("tig"), Heat.preset("tig", input_scale=10.0)
    a, b = plain.dataset(5), wide.dataset(5)
    np.testing.assert_allclose(b.inputs, 10 * a.inputs)
    np.testing.assert_array_equal(b.targets, a.targets)
    np.testing.assert_allclose(b.function(b.inputs), b.truths, atol=1e-9)


def test_the_first_run_of_an_instance_is_that_of_its_seed():
    workload = named("tig_4")
    assert workload.seeds(0) == workload.instances
    assert [seed % RERUN for seed in workload.seeds(2)] == list(workload.instances)


def test_sobol_points_fill_the_space_evenly():
    """Of the first 4 points of a scrambled sequence one lies in each quarter, of the first 8 one in each eighth; on a
    logarithmic scale where the field has one."""
    adam = optimizers.get("adam")
    points = sobol(adam, {"lr": (1e-4, 1.0), "beta1": (0.5, 0.9)}, 8, study=0)
    decades = np.log10([point["lr"] for point in points]) + 4
    for count in (4, 8):
        assert sorted(np.floor(decades[:count] / 4 * count)) == list(range(count))
        even = (np.array([point["beta1"] for point in points[:count]]) - 0.5) / 0.4
        assert sorted(np.floor(even * count)) == list(range(count))


def test_points_hang_on_the_study_alone():
    ruleset, adam = External(trials=5), optimizers.get("adam")
    first = ruleset.points(adam, {}, 0)
    assert len(first) == 5
    assert first == ruleset.points(adam, {}, 0)
    assert not {point["lr"] for point in first} & {point["lr"] for point in ruleset.points(adam, {}, 1)}
    lion = ruleset.points(optimizers.get("lion"), {}, 0)
    shares = [one["lr"] / other["lr"] for one, other in zip(first, lion, strict=True)]
    np.testing.assert_allclose(shares, 3e-3 / 5e-5)


def test_a_space_that_is_not_given_lies_around_the_rates():
    ruleset = External(span=5)
    assert set(ruleset.space(optimizers.get("muon"))) == {"lr", "vector_lr"}
    low, high = ruleset.space(optimizers.get("adam"))["lr"]
    assert (low, high) == pytest.approx((6e-4, 1.5e-2))
    for point in External(span=5, trials=64).points(optimizers.get("adam"), {}, 3):
        assert low <= point["lr"] <= high


def test_self_tuning_has_one_trial_and_half_as_much_time_again():
    ruleset = SelfTuning()
    assert ruleset.points(optimizers.get("adam"), {"lr": (1e-4, 1)}, 0) == ({},)
    assert (ruleset.epochs(200), External().epochs(200), ruleset.epochs(3)) == (300, 200, 5)


def test_constants_of_rulesets_are_checked():
    with pytest.raises(ValueError, match="trials = 0 is not allowed: it must be an integer from 1 to 999"):
        External(trials=0)
    with pytest.raises(ValueError, match=r"budget = 0\.5 is not allowed"):
        SelfTuning(budget=0.5)
