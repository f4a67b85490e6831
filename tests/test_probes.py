"""Looks into a fleet: numbers computed another way, from the weights themselves."""

import time

import numpy as np
import pytest
import torch

import explorer as ex
from explorer.challenge import scoring
from explorer.training import Fleet
from explorer.training.plan import Plan
from explorer.training.probes import FunctionLook, function_sample
from explorer.training.worker import Worker


def literal(fleet, params, run, x):
    """The network's outputs by torch.nn.functional, one run at a time."""
    own = {name: tensor[run] for name, tensor in zip(params.names, params, strict=True)}
    h = torch.as_tensor(x, dtype=fleet.dtype)
    for layer in range(fleet.challenge.num_hidden_layers):
        h = torch.relu(h @ own[f"linears.{layer}.weight"].T + own[f"linears.{layer}.bias"])
        norm = [own[f"norms.{layer}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
        h = torch.nn.functional.batch_norm(h, *norm, eps=1e-5)
    last = fleet.challenge.num_hidden_layers
    return (h @ own[f"linears.{last}.weight"].T + own[f"linears.{last}.bias"]).numpy()


@pytest.mark.parametrize(("challenge", "axis"), [(ex.Challenge.preset("tig"), 0), (ex.Challenge(input_dims=3), 2)])
def test_a_sample_is_what_the_weights_say(challenge, axis):
    fleet = Fleet(challenge, ex.optimizers.create("adam"), [4, 5], device="cpu", precision="float64")
    for _ in range(3):
        fleet.advance()
    sample = function_sample(fleet, FunctionLook(run=1, axis=axis))
    grid = np.zeros((len(sample.x), challenge.input_dims))
    grid[:, axis] = sample.x
    dataset = fleet.datasets[5]
    np.testing.assert_allclose(sample.truth, dataset.function(grid), rtol=1e-12)
    np.testing.assert_allclose(sample.kept, literal(fleet, fleet.best, 1, grid), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(sample.current, literal(fleet, fleet.params, 1, grid), rtol=1e-9, atol=1e-12)
    distance = np.mean((literal(fleet, fleet.best, 1, dataset.test.inputs) - dataset.test.truths) ** 2)
    assert sample.distance == pytest.approx(distance, rel=1e-9)
    assert sample.epoch == 3
    np.testing.assert_allclose(
        sample.residuals, dataset.test.targets - literal(fleet, fleet.best, 1, dataset.test.inputs), rtol=1e-9
    )
    np.testing.assert_array_equal(sample.test_x, dataset.test.inputs[:, axis])


def test_a_plane_goes_through_its_anchor_along_both_inputs():
    challenge = ex.Challenge(input_dims=4, num_hidden_layers=1, width=8)
    fleet = Fleet(challenge, ex.optimizers.create("adam"), [4], device="cpu", precision="float64")
    fleet.advance()
    sample = function_sample(fleet, FunctionLook(axis=2, across=0, anchor=7))
    dataset = fleet.datasets[4]
    places = np.tile(dataset.test.inputs[6], (3, 1))
    rows, columns = [0, 17, 40], [5, 3, 40]
    places[:, 0], places[:, 2] = sample.plane[rows], sample.plane[columns]
    np.testing.assert_allclose(sample.plane_truth[rows, columns], dataset.function(places), rtol=1e-12)
    np.testing.assert_allclose(
        sample.plane_kept[rows, columns], literal(fleet, fleet.best, 0, places), rtol=1e-9, atol=1e-12
    )
    place = dataset.test.inputs[6].copy()
    place[2] = sample.x[9]
    np.testing.assert_allclose(sample.truth[9], dataset.function(place[None])[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("inputs", "axis", "across", "found"), [(1, 0, 1, None), (2, 1, 1, 0), (3, 0, 9, 2), (3, 2, 2, 0), (3, 0, 1, 1)]
)
def test_the_second_input_is_another_one(inputs, axis, across, found):
    fleet = Fleet(
        ex.Challenge(input_dims=inputs, num_hidden_layers=1, width=8), ex.optimizers.create("adam"), [0], device="cpu"
    )
    sample = function_sample(fleet, FunctionLook(axis=axis, across=across, anchor=10**6))
    assert sample.across == found
    assert sample.plane_kept.shape == ((0, 0, 1) if found is None else (41, 41, 1))


def test_the_distance_to_the_function_is_the_test_error_less_the_noise():
    challenge = ex.Challenge.preset("tig", test_size=4000)
    fleet = Fleet(challenge, ex.optimizers.create("adam"), [1], device="cpu")
    for _ in range(15):
        fleet.advance()
    snapshot = fleet.snapshot()
    test = snapshot.test_loss[0, snapshot.best_epoch[0] - 1]
    sample = function_sample(fleet, FunctionLook())
    noise = fleet.datasets[1].noise_mse
    assert test <= scoring.threshold(challenge, np.array(noise))  # it has passed
    # Their difference is the cross term 2·mean((f − prediction)·noise), whose deviation this is.
    deviation = 2 * np.sqrt(sample.distance * challenge.noise_std**2 / (challenge.test_size * challenge.output_dims))
    assert abs(test - noise - sample.distance) < 4 * deviation


def test_a_worker_samples_only_while_somebody_looks():
    worker = Worker()
    try:
        worker.start(Plan.of(ex.Challenge.preset("tig"), ex.optimizers.create("adam"), (0,), "cpu"), paused=True)
        worker.step()
        worker.look(0, FunctionLook())
        worker.step()
        worker.look(0)
        worker.step()
        epochs, looked = [], []
        for _ in range(400):
            for record in worker.drain():
                if type(record).__name__ == "Snapshot" and record.train_loss.shape[1]:
                    epochs.append(record.epoch)
                if type(record).__name__ == "FunctionSample":
                    looked.append(record.epoch)
            if 3 in epochs:
                break
            time.sleep(0.05)
        assert 3 in epochs
        assert 3 not in looked
        assert looked
    finally:
        worker.close()
