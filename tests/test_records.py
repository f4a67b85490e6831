"""Histories grown from snapshots, and the rows that come of them."""

import numpy as np
import pytest

from explorer import Challenge
from explorer.records import History, Instances, Phase, Run, Snapshot, Status
from explorer.training.result import outcomes

RUNS = (Run(3, {"lr": 1e-3, "flag": True}), Run(4, {"lr": 1e-2, "flag": True}))
NAN = np.nan


def snapshot(first, losses, status=("running", "running"), epochs=(0, 0), best=(0, 0), seconds=0.0):
    """losses: `[R, k]` of the validation loss; training loss is ten times that, test loss a tenth."""
    val = np.array(losses, dtype=float).reshape(2, -1)
    status = tuple(Status(s) for s in status)
    return Snapshot(
        1, Phase.RUNNING, first, 10 * val, val, val / 10, status, np.array(epochs), np.array(best), seconds, "CPU"
    )


def grown():
    """Run 0 goes on to epoch 3, run 1 ends after epoch 2; its best epochs are 3 and 1."""
    history = History(RUNS)
    history.append(snapshot(1, [[], []]))
    history.append(snapshot(1, [[3.0, 2.5], [4.0, 5.0]], ("running", "early_stopped"), (2, 2), (2, 1), seconds=2.0))
    history.append(snapshot(3, [[2.0], [NAN]], ("max_epochs", "early_stopped"), (3, 2), (3, 1), seconds=5.0))
    return history


def test_history_is_the_snapshots_in_order():
    history = grown()
    np.testing.assert_array_equal(history.losses[1], [[3, 2.5, 2], [4, 5, NAN]])
    np.testing.assert_array_equal(history.losses[0], 10 * history.losses[1])
    np.testing.assert_array_equal(history.seconds, [1, 2, 5])
    np.testing.assert_array_equal(history.at_best, [[20, 40], [2, 4], [0.2, 0.4]])


def test_a_part_is_the_history_of_those_runs_and_follows_the_whole():
    whole = History(RUNS)
    whole.append(snapshot(1, [[3.0, 2.5], [4.0, 5.0]], ("running", "early_stopped"), (2, 2), (2, 1), seconds=2.0))
    part = whole.part([1])
    assert part.runs == (RUNS[1],)
    whole.append(snapshot(3, [[2.0], [NAN]], ("max_epochs", "early_stopped"), (3, 2), (3, 1), seconds=5.0))
    assert part.epoch == 2
    part.follow(whole, [1])
    np.testing.assert_array_equal(part.losses, whole.losses[:, [1]])
    np.testing.assert_array_equal(part.seconds, whole.seconds)
    np.testing.assert_array_equal(part.at_best, whole.at_best[:, [1]])
    assert part.status == (Status.EARLY_STOPPED,)


def test_nothing_is_best_before_the_first_epoch():
    assert np.isnan(History(RUNS).at_best).all()
    assert History(RUNS).to_xarray().sizes["epoch"] == 0


def test_history_refuses_a_gap():
    history = History(RUNS)
    history.append(snapshot(1, [[3.0, 2.5, 2.0], [4.0, 5.0, 6.0]]))
    with pytest.raises(ValueError, match="expected epoch 4, got a snapshot from 5"):
        history.append(snapshot(5, [[1.0], [NAN]]))


def test_history_grows_past_its_first_room():
    history = History(RUNS)
    values = np.arange(2 * 700, dtype=float).reshape(2, 700)
    history.append(snapshot(1, values[:, :200]))
    history.append(snapshot(201, values[:, 200:]))
    np.testing.assert_array_equal(history.losses[1], values)


def test_epochs_after_the_last_run_s_end_are_nobody_s():
    history = History(RUNS)
    ended = ("early_stopped", "diverged")
    history.append(snapshot(1, [[3.0, NAN, NAN], [4.0, 5.0, NAN]], ended, (1, 2), (1, 1)))
    assert history.epoch == 2
    np.testing.assert_array_equal(history.losses[1], [[3, NAN], [4, 5]])


def test_history_as_xarray():
    data = grown().to_xarray()
    assert set(data.data_vars) == {"train_loss", "val_loss", "test_loss"}
    assert data.val_loss.dims == ("run", "epoch")
    assert data.epoch.values.tolist() == [1, 2, 3]
    assert data.seed.values.tolist() == [3, 4]
    assert data.lr.values.tolist() == [1e-3, 1e-2]
    assert float(data.val_loss.sel(epoch=2, run=1)) == 5
    assert np.isnan(data.val_loss.sel(epoch=3, run=1))


def test_outcomes_by_hand():
    challenge = Challenge.preset("tig", accuracy_factor=3000)  # threshold α O noise = 2 noise
    nan = np.full(2, NAN)
    instances = Instances(1, np.array([0.15, 0.1]), np.array([0.2, 0.3]), np.array([0.1, 0.2]), nan)
    table = outcomes(challenge, grown(), instances, "a sentence")
    first, second = table.to_dict("records")
    assert (first["seed"], first["lr"], first["flag"], first["status"]) == (3, 1e-3, True, "max_epochs")
    assert (first["epochs"], first["best_epoch"], first["seconds"]) == (3, 3, 5.0)
    assert (first["train_loss"], first["val_loss"], first["test_loss"]) == (20, 2, 0.2)
    assert first["threshold"] == pytest.approx(0.3)
    assert first["passed"]
    assert first["alpha"] == pytest.approx(0.2 / 0.3)
    assert first["quality"] == pytest.approx((8 * 0.15 - 0.2) / (8 * 0.15))
    assert (first["kernel_floor"], first["feature_floor"]) == (0.2, 0.1)
    assert np.isnan(first["readout_floor"])
    assert first["message"] == "a sentence"
    assert (second["epochs"], second["best_epoch"], second["seconds"]) == (2, 1, 2.0)
    assert not second["passed"]  # 0.4 over a threshold of 0.2


def test_snapshots_know_their_last_epoch_and_whether_all_have_ended():
    assert snapshot(4, [[1.0, 1.0], [1.0, 1.0]]).epoch == 5
    assert snapshot(1, [[], []]).epoch == 0
    assert not snapshot(1, [[1.0], [1.0]], ("running", "diverged")).finished
    assert snapshot(1, [[1.0], [1.0]], ("failed", "diverged")).finished
