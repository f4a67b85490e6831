"""One fleet of a tournament: joint hyperparameters, times to targets, what goes wrong, and where it is kept."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tournament_tiny import TINY, spec, unit

import explorer as ex
from explorer.base.side_by_side import one_thread
from explorer.tournament import Entry, Outcome, Store, Tournament, kept, parse, train, training
from explorer.tournament.units import jointly
from explorer.tournament.workloads import heat
from explorer.training import Fleet

INF = float("inf")
POINTS = ({"lr": 0.01}, {"lr": 0.05}, {"lr": 1e-5})
RAISES = """
def optimizer_init_state(seed, param_sizes, model_params):
    return {"steps": 0}

def optimizer_step(state, model_params, gradients, epoch, train_loss, val_loss):
    state["steps"] += 1
    if state["steps"] > 3:
        raise ArithmeticError("the optimizer's own trouble")
    return [-1e-3 * gradient for gradient in gradients]
"""


def test_points_are_joint_and_not_a_grid():
    points = ({"lr": 0.01, "beta1": 0.5}, {"lr": 0.1, "beta1": 0.95})
    both = jointly(ex.optimizers.create("adam", eps=1e-6), points)
    assert [(run["lr"], run["beta1"], run["eps"]) for run in both.grid()] == [(0.01, 0.5, 1e-6), (0.1, 0.95, 1e-6)]
    fleet = Fleet(heat(TINY), both, [1, 2], "cpu", "float64", max_epochs=5)
    for _ in range(5):
        fleet.advance()
    losses = fleet.snapshot().val_loss
    for place, point in enumerate(points):
        alone = ex.optimizers.create("adam", eps=1e-6, **point)
        found = ex.train(heat(TINY), alone, [1, 2], "cpu", max_epochs=5, precision="float64").history.val_loss
        np.testing.assert_allclose(losses[2 * place : 2 * place + 2], found, rtol=1e-9)
    assert "Jointly" not in " ".join(ex.optimizers.names())
    assert ex.optimizers.get("adam") is type(ex.optimizers.create("adam"))


@pytest.mark.parametrize("place", range(3))
def test_times_are_read_off_the_losses(place):
    """Against `ex.train` on the same challenge, epoch by epoch, median over instances."""
    targets, point = (0.9, 0.7, 0.8), POINTS[place]
    outcome = train(unit(points=(point,), targets=targets), "cpu")
    assert outcome is not None
    with one_thread():
        full = ex.train(heat(TINY), ex.optimizers.create("adam", **point), [1, 2, 3], "cpu", max_epochs=30)
    losses = full.history.val_loss.values
    epochs = [
        next((epoch for epoch, loss in enumerate(run, start=1) if loss <= target), INF)
        for run, target in zip(losses, targets, strict=True)
    ]
    (found,) = outcome.trials
    assert found.point == point
    assert found.epochs == sorted(epochs)[1]
    assert found.evaluations == 2 * found.epochs  # 64 samples in batches of 32
    assert np.isfinite(found.seconds) == np.isfinite(found.epochs) == (found.nearest <= 1) == (place < 2)
    if np.isfinite(found.epochs):
        assert found.seconds == pytest.approx(outcome.clock[int(found.epochs) - 1], abs=1e-6)
    assert outcome.clock[0] > 0
    assert (np.diff(outcome.clock) > 0).all()
    assert outcome.clock[-1] <= outcome.seconds
    np.testing.assert_allclose(outcome.losses[0][0], losses[0][: len(outcome.losses[0][0])], rtol=1e-4)


def test_a_study_stops_with_its_first_trial():
    alone = train(unit(points=POINTS[1:2], targets=(0.9, 0.7, 0.8)), "cpu")
    study = train(unit(points=POINTS, targets=(0.9, 0.7, 0.8)), "cpu")
    assert alone is not None
    assert study is not None
    assert study.trials[1].epochs == alone.trials[0].epochs == len(study.clock)
    assert {trial.epochs for trial in study.trials if trial.point != POINTS[1]} == {INF}
    assert all(trial.trained == len(study.clock) for trial in study.trials)


def test_a_decided_fleet_stops():
    quick = train(unit(targets=(5.0, 5.0, 1e-9)), "cpu")
    assert quick is not None
    assert len(quick.clock) == 1
    assert (quick.trials[0].epochs, quick.trials[0].trained) == (1, 1)


def test_two_of_four_instances_are_no_median():
    found = train(unit(targets=(5.0, 5.0, 1e-9, 1e-9), seeds=(1, 2, 3, 4)), "cpu")
    assert found is not None
    assert found.trials[0].epochs == INF
    assert found.trials[0].trained == 30


def test_of_two_instances_the_later_is_the_median_one():
    found = train(unit(targets=(5.0, 0.7), seeds=(1, 2)), "cpu")
    assert found is not None
    assert found.trials[0].epochs == len(found.clock) > 1
    assert found.trials[0].seconds == pytest.approx(found.clock[-1], abs=1e-6)


def test_without_targets_runs_train_to_their_end():
    found = train(unit(targets=(), max_epochs=8), "cpu")
    assert found is not None
    full = ex.train(heat(TINY), ex.optimizers.create("adam"), [1, 2, 3], "cpu", max_epochs=8)
    np.testing.assert_allclose(found.trials[0].best, full.history.val_loss.min("epoch"), rtol=1e-4)
    assert found.trials[0].epochs == INF


def test_evaluation_is_taken_off_the_clock(monkeypatch):
    monkeypatch.setattr(training, "evaluation_seconds", lambda fleet: 100.0)
    slow = train(unit(targets=(), max_epochs=4), "cpu")
    monkeypatch.setattr(training, "evaluation_seconds", lambda fleet: 0.0)
    fast = train(unit(targets=(), max_epochs=4), "cpu")
    assert slow is not None
    assert fast is not None
    rounding = 1e-6  # the clock is kept in whole microseconds
    assert slow.clock[-1] == pytest.approx(0.1 * slow.seconds, abs=rounding)
    assert fast.clock[-1] == pytest.approx(fast.seconds, abs=rounding)


def test_evaluation_is_measured():
    fleet = Fleet(heat(TINY), ex.optimizers.create("adam"), [1, 2], "cpu")
    before = fleet.params.buffer.clone()
    assert 0 < training.evaluation_seconds(fleet) < 1
    assert torch.equal(before, fleet.params.buffer)


def test_an_interrupted_unit_has_no_outcome():
    calls = []
    assert train(unit(targets=()), "cpu", lambda: calls.append(1) is None and len(calls) > 3) is None
    assert len(calls) == 4


def test_the_number_of_threads_changes_nothing_and_stays():
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(
                train(unit(targets=(), max_epochs=3, settings={"preset": "tig", "num_hidden_layers": 2}), "cpu")
            )
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0].losses == found[1].losses


def test_an_optimizer_that_raises_is_a_miss_with_a_sentence(tmp_path):
    file = tmp_path / "raises.py"
    file.write_text(RAISES)
    found = train(unit(entry=Entry("", str(file)), targets=(1e-9,) * 3), "cpu")
    assert found is not None
    assert found.message == "Training failed: ArithmeticError: the optimizer's own trouble"
    assert found.trials[0].epochs == INF
    assert found.trials[0].trained == 1

    file.write_text(RAISES.replace('return {"steps": 0}', "return 1 / 0"))
    found = train(unit(entry=Entry("", str(file))), "cpu")
    assert found is not None
    assert "ZeroDivisionError" in found.message
    assert (found.trials[0].seconds, found.trials[0].trained) == (INF, 0)


def test_a_device_that_is_not_there_is_no_miss():
    with pytest.raises(ValueError, match="device = 'tpu' is not known"):
        train(unit(), "tpu")


def test_a_key_is_what_the_outcome_depends_on(tmp_path):
    one = unit(points=POINTS)
    assert one.key == unit(points=POINTS).key
    others = [
        replace(one, points=POINTS[:2]),
        replace(one, seeds=(1, 2, 4)),
        replace(one, targets=(0.9, 0.9, 0.8)),
        replace(one, max_epochs=31),
        replace(one, precision="float64"),
        replace(one, settings=TINY | {"noise_std": 0.3}),
        replace(one, entry=Entry("adam", modify=("clip",))),
        replace(one, submission="other"),
    ]
    assert len({one.key, *(other.key for other in others)}) == 9
    first, second = tmp_path / "a" / "mine.py", tmp_path / "b" / "mine.py"
    for file in (first, second):
        file.parent.mkdir()
        file.write_text(RAISES)
    assert unit(entry=Entry("", str(first))).key == unit(entry=Entry("", str(second))).key
    before = unit(entry=Entry("", str(first))).key
    first.write_text(RAISES.replace("1e-3", "1e-2"))
    assert unit(entry=Entry("", str(first))).key != before


@pytest.fixture
def outcome():
    found = train(unit(max_epochs=3), "cpu")
    assert found is not None
    return found


def test_an_outcome_comes_back_as_it_went(outcome, tmp_path):
    assert Outcome.from_json(*outcome.to_json()) == outcome
    store = Store(tmp_path / "race.sqlite")
    assert store.add(unit(), outcome)
    assert Store(tmp_path / "race.sqlite").whole(unit()) == outcome
    assert store.get([unit()]) == {unit().key: replace(outcome, losses=[], clock=[])}
    assert store.get([unit(max_epochs=7)]) == {}
    assert store.whole(unit(max_epochs=7)) is None


def test_an_outcome_is_kept_once(outcome, tmp_path):
    store, other = Store(tmp_path / "race.sqlite"), Store(tmp_path / "race.sqlite")
    assert store.add(unit(), outcome)
    assert not other.add(unit(), replace(outcome, message="another"))
    assert store.get([unit()])[unit().key].message == ""
    with sqlite3.connect(tmp_path / "race.sqlite") as link:
        assert link.execute("select count(*) from tournament_units").fetchone() == (1,)


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to look at" * 40, None])
def test_a_file_that_is_no_store_is_a_sentence(tmp_path, content):
    file = tmp_path / "race.sqlite"
    if content is None:
        file = Path("/dev/null/race.sqlite")
    else:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=r"The store at .*race\.sqlite"):
        Store(file)


def test_what_is_kept_is_not_trained_again(outcome, tmp_path):
    units = [unit(seeds=(seed,) * 3) for seed in range(4)]
    store = Store(tmp_path / "race.sqlite")
    store.add(units[2], outcome)
    asked = []

    def player(pending):
        for one in pending:
            asked.append(one)
            yield one, outcome

    found = list(kept(player, store)(units))
    assert asked == [units[0], units[1], units[3]]
    assert [one for one, _ in found] == [units[2], *asked]
    assert set(store.get(units)) == {one.key for one in units}


def test_a_tournament_has_a_unit_for_everything(tmp_path):
    tournament = Tournament(parse(spec()), Store(tmp_path / "race.sqlite"))
    assert len({one.key for one in tournament.units}) == 2 * 2 * 2
    assert [one.study for one in tournament.units] == [0] * 4 + [1] * 4
    assert all(len(one.points) == 2 and len(one.seeds) == 3 for one in tournament.units)
