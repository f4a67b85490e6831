"""The fixed loop over a fleet: against the literal twin, against single runs, and by hand."""

import math
import re
from typing import ClassVar

import numpy as np
import pytest
import torch
from puppets import TINY, Descent, Greedy, Proposing, ProposingBuffer, Puppet, Spy, puppet
from reference import batch_order, literal_run

from explorer import Challenge, optimizers
from explorer.records import Status
from explorer.training import Fleet

EPOCHS = 5
PRESETS = ["brief", "tig"]


def fleet_of(challenge, optimizer, seeds, **settings):
    return Fleet(challenge, optimizer, seeds, **({"device": "cpu", "precision": "float64"} | settings))


def trained(challenge, optimizer, seeds, epochs=EPOCHS, **settings):
    """A fleet after `epochs` epochs and its losses `[3, R, epochs]`."""
    fleet = fleet_of(challenge, optimizer, seeds, **settings)
    for _ in range(epochs):
        assert fleet.advance()
    snapshot = fleet.snapshot()
    return fleet, np.stack([snapshot.train_loss, snapshot.val_loss, snapshot.test_loss]), snapshot


def run_of(tensors, run):
    return [tensor[run].clone() for tensor in tensors]


# The literal twin ----------------------------------------------------------------------------------------------------


def assert_twin(challenge, optimizer, make_torch_optimizer, seeds=(0, 5), propose=None, epochs=EPOCHS):
    start = fleet_of(challenge, optimizer, seeds)
    starts = [run_of(start.params, run) for run in range(len(seeds))]
    fleet, losses, snapshot = trained(challenge, optimizer, seeds, epochs)
    for run, seed in enumerate(seeds):
        orders = [batch_order(seed, epoch, challenge.train_size) for epoch in range(epochs)]
        twin = literal_run(challenge, challenge.dataset(seed), starts[run], orders, make_torch_optimizer, propose)
        twin_losses = [twin.train_loss, twin.val_loss, twin.test_loss]
        np.testing.assert_allclose(losses[:, run], twin_losses, rtol=1e-9, atol=0)
        assert snapshot.best_epoch[run] == twin.best_epoch
        for found, expected in ((fleet.params, twin.last), (fleet.best, twin.best)):
            for name, ours, theirs in zip(fleet.params.names, found, expected, strict=True):
                np.testing.assert_allclose(ours[run], theirs, rtol=1e-7, atol=1e-11, err_msg=name)
        for name, ours, before in zip(fleet.params.names, fleet.params, starts[run], strict=True):
            assert (ours[run] != before).any() == moves(challenge, name, propose), name


def moves(challenge, name, propose):
    """Whether a tensor should have changed: all but the frozen ones."""
    _, index, rest = name.split(".")
    if rest.startswith("running"):
        return propose is None or not challenge.restore_statistics
    frozen_from = challenge.num_hidden_layers + 1 - challenge.frozen_layers
    return int(index) < frozen_from


# Learning rates are small enough for the loss to fall: where it does not, rounding grows a thousandfold an epoch.
TWINS = [
    ("brief", "sgd", {"lr": 1e-3, "momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9)),
    ("tig", "sgd", {"lr": 1e-6, "momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=1e-6, momentum=0.9)),
    ("brief", "adam", {"lr": 1e-3}, lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)),
    ("tig", "adam", {"lr": 1e-3}, lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.999), eps=1e-8)),
]


@pytest.mark.parametrize(("preset", "name", "hyperparameters", "make"), TWINS)
def test_a_fleet_is_the_literal_loop(preset, name, hyperparameters, make):
    assert_twin(Challenge.preset(preset), optimizers.create(name, **hyperparameters), make)


def descent(lr):
    """Plain gradient descent, ours and torch's."""
    return Descent(lr=lr), lambda parameters: torch.optim.SGD(parameters, lr=lr)


@pytest.mark.parametrize("frozen", [0, 1, 3])
@pytest.mark.parametrize(("reduction", "lr"), [("mean", 1e-3), ("sum", 1e-6)])
def test_twin_with_any_number_of_frozen_layers(frozen, reduction, lr):
    challenge = Challenge.preset(
        "tig", frozen_layers=frozen, gradient_reduction=reduction, num_hidden_layers=3, width=24, batch_size=96
    )
    assert_twin(challenge, *descent(lr), seeds=(2,))


def test_the_best_snapshot_is_kept_when_later_epochs_are_worse():
    """An instance on which the best epoch comes before the last one, in twin and fleet alike."""
    challenge = Challenge(num_hidden_layers=2, width=16, train_size=200)
    _, _, snapshot = trained(challenge, Descent(lr=0.05), 0)
    assert 0 < snapshot.best_epoch[0] < EPOCHS
    assert_twin(challenge, *descent(0.05), seeds=(0,))


def scaled_weights(tensors):
    """The literal form of what `Proposing` asks for; running statistics follow the weights and biases in fours."""
    norms_from = next(
        i for i, tensor in enumerate(tensors) if i > 0 and tensor.dim() == 1 and tensors[i - 1].dim() == 1
    )
    for index, tensor in enumerate(tensors):
        if index < norms_from or (index - norms_from) % 4 < 2:
            tensor.mul_(1.25)


@pytest.mark.parametrize("restore", [True, False])
@pytest.mark.parametrize("kind", [Proposing, ProposingBuffer])
def test_a_proposal_is_honoured_and_the_originals_come_back(kind, restore):
    challenge = Challenge.preset("tig", num_hidden_layers=3, width=16, train_size=200, restore_statistics=restore)
    _, make = descent(1e-6)
    assert_twin(challenge, kind(lr=1e-6), make, propose=scaled_weights)


def test_a_proposal_changes_the_outcome():
    """The guard's guard: a loop that ignored proposals would not pass for one that honours them."""
    challenge = Challenge.preset("tig", num_hidden_layers=3, width=16, train_size=200, restore_statistics=False)
    plain, proposing = (trained(challenge, kind(lr=1e-6), 0)[1] for kind in (Descent, Proposing))
    assert np.abs(plain / proposing - 1).max() > 1e-3


# Fleet = singles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_runs_together_are_each_as_alone_and_permuting_seeds_permutes_results(preset):
    challenge, optimizer = Challenge.preset(preset), optimizers.create("adam", lr=1e-3)
    _, together, _ = trained(challenge, optimizer, [4, 0])
    for run, seed in enumerate([4, 0]):
        _, alone, _ = trained(challenge, optimizer, seed)
        np.testing.assert_allclose(together[:, run], alone[:, 0], rtol=1e-9, atol=0)
    _, permuted, _ = trained(challenge, optimizer, [0, 4])
    np.testing.assert_allclose(permuted, together[:, ::-1], rtol=1e-9, atol=0)


SWEEPS = [
    ("sgd", {"lr": [1e-7, 1e-6], "momentum": [0.0, 0.9]}),
    ("adam", {"lr": [1e-4, 1e-2], "beta2": [0.9, 0.99]}),
    ("adamw", {"lr": [1e-3, 1e-2], "weight_decay": [0.0, 0.5]}),
]


@pytest.mark.parametrize(("name", "sweep"), SWEEPS)
def test_a_sweep_is_its_single_values(name, sweep):
    challenge = Challenge.preset("tig", num_hidden_layers=3, width=32, train_size=300)
    (first, firsts), (second, seconds) = sweep.items()
    fleet, together, _ = trained(challenge, optimizers.create(name, **sweep), [1, 6])
    assert [run.seed for run in fleet.runs] == [1, 6] * 4
    run = 0
    for a in firsts:
        for b in seconds:
            _, alone, _ = trained(challenge, optimizers.create(name, **{first: a, second: b}), [1, 6])
            for seed in (0, 1):
                assert (fleet.runs[run].hyperparameters[first], fleet.runs[run].hyperparameters[second]) == (a, b)
                np.testing.assert_allclose(together[:, run], alone[:, seed], rtol=1e-9, atol=0)
                run += 1


def test_optimizers_at_one_seed_share_instance_start_and_batches():
    fleets = [fleet_of(Challenge(), optimizers.create(name), 3) for name in ("sgd", "adam")]
    torch.testing.assert_close(fleets[0].params.buffer, fleets[1].params.buffer, rtol=0, atol=0)
    np.testing.assert_array_equal(fleets[0].datasets[3].targets, fleets[1].datasets[3].targets)
    # With a learning rate of zero the training loss of an epoch depends on the instance, the start and the batches.
    zero = [trained(Challenge(), optimizers.create(name, lr=0.0), 3, epochs=1)[1] for name in ("sgd", "adam")]
    np.testing.assert_array_equal(zero[0], zero[1])


def test_initial_weights_follow_the_harness_s_rule():
    fleet = fleet_of(Challenge.preset("tig"), Descent(), range(3))
    for name, tensor in zip(fleet.params.names, fleet.params, strict=True):
        if name.startswith("linears") and name.endswith("weight"):
            fan_out, fan_in = tensor.shape[1:]
            bound = 0.5 * math.sqrt(2 / (fan_in + fan_out))
            assert tensor.abs().max() <= bound
            assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
            assert abs(tensor.mean().item()) < 0.2 * bound
            assert (tensor[0] != tensor[1]).any()
        else:
            is_one = name.endswith("running_var") or (name.startswith("norms") and name.endswith(".weight"))
            assert (tensor == is_one).all()


def test_tensors_come_in_the_harness_s_order():
    names = fleet_of(Challenge.preset("tig", num_hidden_layers=2), Descent(), 0).params.names
    linears = [f"linears.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")]
    norms = [f"norms.{i}.{kind}" for i in range(2) for kind in ("weight", "bias", "running_mean", "running_var")]
    assert list(names) == linears + norms


# What an optimizer is told, and what it may do -----------------------------------------------------------------------


def test_optimizers_are_told_the_epoch_and_the_last_epoch_s_losses():
    challenge = Challenge(num_hidden_layers=1, width=8, train_size=40, batch_size=16)
    _, losses, _ = trained(challenge, Spy(lr=1e-3), [2, 8], epochs=3)
    (what, seeds, _), *calls = Spy.seen
    assert (what, seeds) == ("init", [2, 8])
    assert [call[:2] for call in calls] == [
        (what, epoch) for epoch in range(3) for _ in range(3) for what in ("query", "step")
    ]
    for _, epoch, train, val, _ in calls:
        if epoch == 0:
            assert train.isnan().all()
            assert val.isnan().all()
        else:
            np.testing.assert_allclose(train, losses[0, :, epoch - 1])
            np.testing.assert_allclose(val, losses[1, :, epoch - 1])


def test_updates_are_added_to_trainable_tensors_alone():
    challenge = Challenge.preset("tig", num_hidden_layers=3, width=8, train_size=40, batch_size=40)
    start = run_of(fleet_of(challenge, Greedy(), 0).params, 0)
    fleet, *_ = trained(challenge, Greedy(), 0, epochs=1)
    added = {
        name: set((after[0] - before).flatten().round(decimals=9).tolist())
        for name, before, after in zip(fleet.params.names, start, fleet.params, strict=True)
        if "running" not in name
    }
    frozen = {
        "linears.2.weight",
        "linears.2.bias",
        "linears.3.weight",
        "linears.3.bias",
        "norms.2.weight",
        "norms.2.bias",
    }
    assert {name for name, by in added.items() if by == {0.0}} == frozen
    assert {name for name, by in added.items() if by == {1.0}} == set(added) - frozen


def test_gradients_of_frozen_tensors_and_statistics_are_zero():
    challenge = Challenge.preset("tig", num_hidden_layers=3, width=8, train_size=40, batch_size=40)
    fleet, *_ = trained(challenge, Descent(), 0, epochs=2)
    for slot, gradient in zip(fleet.params.layout.slots, fleet.model.gradients, strict=True):
        assert gradient.any() == slot.trainable, slot.name


# Stopping, by hand ---------------------------------------------------------------------------------------------------


def scripted(distances, **settings):
    """Outputs whose validation loss is (some constant) + distance²."""
    mean = TINY.dataset(0).val.targets.mean()
    return [mean + distance for distance in distances]


def run_to_the_end(challenge, optimizer, seeds=0):
    fleet = fleet_of(challenge, optimizer, seeds)
    while fleet.epoch < challenge.max_epochs:
        fleet.advance()
    return fleet, fleet.snapshot()


BASE = TINY.dataset(0).val.targets.var()
BY_HAND = [
    # distances by epoch, settings, expected status, epochs, best epoch
    ("patience counts from the best epoch", [3, 2, 1, 1.5, 1.2, 1.1, 0], {}, "early_stopped", 6, 3),
    ("an equal loss is no improvement", [2, 1, 1, 1, 1, 0], {}, "early_stopped", 5, 2),
    ("a better epoch starts patience anew", [3, 4, 4, 2, 4, 4, 1, 4, 4, 4, 0], {}, "early_stopped", 10, 7),
    ("getting better until the last epoch", [9, 8, 7, 6, 5, 4, 3, 2, 1], {"max_epochs": 9}, "max_epochs", 9, 9),
    ("never better than the first", [1, 2, 3, 4, 5], {}, "early_stopped", 4, 1),
    ("patience of one", [3, 2, 2.5, 0], {"patience": 1}, "early_stopped", 3, 2),
    ("patience ends with the last epoch", [2, 1, 3, 3, 3], {"max_epochs": 5}, "early_stopped", 5, 2),
    # Squares 1.00, 0.64, 0.25, 0.16, 0.09, 0.04 with improvements of at least 0.5 counting: only 1.00 → 0.25 does.
    ("small improvements add up", [1, 0.8, 0.5, 0.4, 0.3, 0.2, 0], {"min_delta": 0.5}, "early_stopped", 6, 3),
    ("not a number", [3, 2, math.nan, 0, 0, 0, 0], {}, "diverged", 3, 2),
    ("infinity", [3, 2, 1, math.inf, 0, 0, 0], {}, "diverged", 4, 3),
    ("diverged at once", [math.nan, 0, 0], {}, "diverged", 1, 0),
    ("far too large", [3, 2, 1e5, 0, 0, 0], {}, "diverged", 3, 2),
    ("divergence in the last epoch of all", [3, math.nan], {"max_epochs": 2}, "diverged", 2, 1),
]


@pytest.mark.parametrize(
    ("distances", "settings", "status", "epochs", "best"), [c[1:] for c in BY_HAND], ids=[c[0] for c in BY_HAND]
)
def test_stopping_by_hand(distances, settings, status, epochs, best):
    challenge = TINY.replace(**({"patience": 3, "min_delta": 0, "max_epochs": 12} | settings))
    fleet, snapshot = run_to_the_end(challenge, puppet(scripted(distances)))
    assert snapshot.status == (status,)
    assert (snapshot.epochs[0], snapshot.best_epoch[0]) == (epochs, best)
    finite = [distance for distance in distances[:epochs] if abs(distance) < 100]
    np.testing.assert_allclose(snapshot.val_loss[0, : len(finite)], BASE + np.square(finite), rtol=1e-9)
    assert np.isnan(snapshot.val_loss[0, epochs:]).all()
    if best:
        kept = dict(zip(fleet.best.names, fleet.best, strict=True))["linears.1.bias"].item()
        assert kept == pytest.approx(scripted(distances)[best - 1], rel=1e-9)


def test_runs_of_a_fleet_stop_each_by_itself():
    lines = [scripted(distances) for _, distances, settings, *_ in BY_HAND if not settings]
    expected = [case[3:] for case in BY_HAND if not case[2]]
    challenge = TINY.replace(patience=3, min_delta=0, max_epochs=12)
    _, snapshot = run_to_the_end(challenge, puppet(*lines))
    assert list(zip(snapshot.status, snapshot.epochs, snapshot.best_epoch, strict=True)) == expected
    assert snapshot.finished


def test_the_script_is_followed():
    """The guard's guard: without the puppet's update the validation loss is not the prescribed one."""

    class Idle(Puppet):
        script: ClassVar = [[0.0]]

        def step(self, state, params, *arguments):
            return [torch.zeros_like(tensor) for tensor in params]

    _, snapshot = run_to_the_end(TINY.replace(max_epochs=1), Idle())
    assert abs(snapshot.val_loss[0, 0] - BASE) > 1e-6


def test_divergence_ends_one_run_and_the_others_go_on_as_alone():
    challenge = Challenge.preset("tig", num_hidden_layers=3, width=32, train_size=300)
    _, losses, snapshot = trained(challenge, optimizers.create("sgd", lr=[1e-7, 1e6, 1e-6]), [0, 1])
    assert snapshot.status == (Status.RUNNING,) * 2 + (Status.DIVERGED,) * 2 + (Status.RUNNING,) * 2
    assert snapshot.epochs.tolist() == [EPOCHS, EPOCHS, 1, 1, EPOCHS, EPOCHS]
    assert np.isnan(losses[:, 2:4, 1:]).all()
    for runs, lr in (([0, 1], 1e-7), ([4, 5], 1e-6)):
        _, alone, _ = trained(challenge, optimizers.create("sgd", lr=lr), [0, 1])
        np.testing.assert_allclose(losses[:, runs], alone, rtol=1e-9, atol=0)


# Commands ------------------------------------------------------------------------------------------------------------


def test_an_interrupted_epoch_is_given_up_between_two_batches():
    fleet = fleet_of(Challenge(num_hidden_layers=1, width=8), Descent(), 0)
    asked = iter([False, False, True])
    assert not fleet.advance(lambda: next(asked))
    assert fleet.epoch == 0
    assert fleet.snapshot().train_loss.shape == (1, 0)


def test_stop_ends_the_runs_that_still_go_on():
    challenge = TINY.replace(patience=2, min_delta=0)
    fleet = fleet_of(challenge, puppet(scripted([1, 2, 3, 4]), scripted([4, 3, 2, 1])), 0)
    for _ in range(4):
        fleet.advance()
    fleet.stop()
    assert fleet.snapshot().status == (Status.EARLY_STOPPED, Status.STOPPED)


def test_tuning_changes_every_run_from_then_on():
    challenge = Challenge(num_hidden_layers=1, width=8, train_size=64)
    fleet = fleet_of(challenge, Descent(lr=[1e-3, 1e-2]), 0)
    fleet.advance()
    fleet.tune(lr=0.0)
    before = fleet.params.flat.clone()
    fleet.advance()
    torch.testing.assert_close(fleet.params.flat, before, rtol=0, atol=0)
    for bad in (math.nan, -1.0):
        with pytest.raises(ValueError, match=r"^lr = .* is not allowed: it must be a number from 0 to 1e\+09\.$"):
            fleet.tune(lr=bad)
    fleet.advance()
    torch.testing.assert_close(fleet.params.flat, before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("seeds", "sentence"),
    [
        ([], "seeds = [] is not allowed: a fleet needs at least one seed."),
        ([0, -1], "seeds holds -1, which is not allowed: each must be an integer from 0 to 2^62 - 1."),
        ([1.5], "seeds holds 1.5, which is not allowed: each must be an integer from 0 to 2^62 - 1."),
        ([True], "seeds holds True, which is not allowed: each must be an integer from 0 to 2^62 - 1."),
        ([2**62], f"seeds holds {2**62}, which is not allowed: each must be an integer from 0 to 2^62 - 1."),
    ],
)
def test_bad_seeds_get_a_sentence(seeds, sentence):
    with pytest.raises(ValueError, match=rf"^{re.escape(sentence)}$"):
        Fleet(TINY, Descent(), seeds)


def test_seeds_may_be_numpy_s():
    assert fleet_of(TINY, Descent(), np.arange(3)).seeds == [0, 1, 2]
    assert fleet_of(TINY, Descent(), np.int64(7)).seeds == [7]


# CUDA ----------------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("preset", PRESETS)
def test_cuda_agrees_with_cpu(preset):
    """float64, rtol 1e-7: same instance, same start, same batches; sums are taken in another order."""
    challenge, optimizer = Challenge.preset(preset), optimizers.create("adam", lr=1e-3)
    _, there, _ = trained(challenge, optimizer, range(3), epochs=3, device="cuda")
    _, here, _ = trained(challenge, optimizer, range(3), epochs=3)
    np.testing.assert_allclose(there, here, rtol=1e-7, atol=0)
