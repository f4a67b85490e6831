"""Looking back: a history cut at an epoch is the history that there was then, and everything shown follows."""

from types import SimpleNamespace

import numpy as np
import panel as pn
import pytest

import explorer as ex
from explorer.app import replay, words
from explorer.app.session import Session
from explorer.records import History, Status
from explorer.training import Fleet
from explorer.training.plan import Entry, Plan
from explorer.training.probes import FunctionLook

CHALLENGE = ex.Challenge.preset("tig", width=16, train_size=64, batch_size=32, patience=6, max_epochs=40)


def test_a_history_cut_at_an_epoch_is_the_one_that_there_was_then():
    fleet = Fleet(CHALLENGE, ex.optimizers.create("adam", lr=[1e-3, 1e-1, 1e4]), [0, 1], device="cpu")
    whole, then = History(fleet.runs), {}
    growing = History(fleet.runs)
    while fleet.epoch < CHALLENGE.max_epochs:
        fleet.advance()
        snapshot = fleet.snapshot()
        growing.append(snapshot)
        whole.append(snapshot)
        then[fleet.epoch] = (growing.losses.copy(), growing.status, growing.epochs.copy(), growing.best_epoch.copy())
        if snapshot.finished:
            break
    assert len(set(whole.epochs)) > 1, "runs should end at different epochs for this to be a test"
    for epoch, (losses, status, epochs, best) in then.items():
        cut = whole.upto(epoch, CHALLENGE.min_delta)
        np.testing.assert_array_equal(cut.losses, losses)
        assert cut.status == status
        np.testing.assert_array_equal(cut.epochs, epochs)
        np.testing.assert_array_equal(cut.best_epoch, best)
    assert whole.upto(0).epoch == 0
    assert whole.upto(10**6, CHALLENGE.min_delta).epoch == whole.epoch


@pytest.fixture
def session():
    made = Session()
    yield made
    made.close()


def trained(session, *names, epochs=12, seeds=(0, 1)):
    """A session whose lanes have trained some epochs and hold."""
    entries = tuple(Entry(name, CHALLENGE, ex.optimizers.create(name)) for name in names)
    session.start(Plan(entries, seeds, device="cpu"), paused=True)
    for _ in range(epochs):
        session.worker.step()
    while session.epoch < epochs or not all(lane.history.epoch == session.epoch for lane in session.lanes):
        session.drain()
    return session


def test_replay_shows_every_lane_as_it_was(session):
    trained(session, "adam", "sgd")
    session.replay(5)
    alone = ex.train(CHALLENGE, ex.optimizers.create("sgd"), seeds=(0, 1), device="cpu", max_epochs=5)
    lane = session.lanes[1]
    np.testing.assert_array_equal(lane.shown.losses[2], alone.history.test_loss.values)
    assert lane.shown.status == (Status.RUNNING, Status.RUNNING)
    np.testing.assert_array_equal(lane.outcomes.test_loss, alone.outcomes.test_loss)
    assert [race.history.epoch for race in session.compared] == [5, 5]
    session.replay(None)
    assert lane.shown.epoch == 12


def test_what_was_learnt_then_comes_from_the_film(session):
    trained(session, "adam")
    reference = Fleet(CHALLENGE, ex.optimizers.create("adam"), [0, 1], device="cpu")
    for _ in range(5):
        reference.advance()
    from explorer.training.probes import function_sample

    expected = function_sample(reference, FunctionLook())
    session.look(FunctionLook(epoch=5))
    while session.learnt is None or session.learnt.epoch != 5:
        session.drain()
    np.testing.assert_allclose(session.learnt.current, expected.current, rtol=1e-6)
    np.testing.assert_allclose(session.learnt.kept, expected.kept, rtol=1e-6)
    said = replay.held(session)
    assert "losses of all 12 epochs" in said
    frames = session.lanes[0].history.epochs[0] + 1  # the start is one
    assert f"weights of run 0 every epoch, {frames} of at most 64 snapshots" in said


def test_hidden_lanes_are_not_compared_and_names_are_told_apart(session):
    trained(session, "adam", "adam", "sgd", epochs=2)
    assert [lane.name for lane in session.compared] == ["adam", "adam #2", "sgd"]
    assert words.differing({name: lane.challenge for name, lane in session.contest.items()}) == ""
    session.lanes[2].challenge = CHALLENGE.replace(num_hidden_layers=7, accuracy_factor=100.0)
    said = words.differing({name: lane.challenge for name, lane in session.contest.items()})
    assert said.endswith("beside adam, sgd has num_hidden_layers 7 instead of 4.")
    session.hidden = {session.lanes[0].key}
    assert [lane.name for lane in session.compared] == ["adam", "sgd"]


def test_a_replay_plays_from_the_first_epoch_to_the_last(monkeypatch):
    stopped, drawn = [], []
    ticking = SimpleNamespace(stop=lambda: stopped.append(True))
    monkeypatch.setattr(pn.state, "add_periodic_callback", lambda tick, period: ticking)
    bar = replay.ReplayBar(lambda: drawn.append(bar.epoch))
    bar.refresh(SimpleNamespace(epoch=7, busy=False, lane=None))
    bar._on.value = True
    assert drawn.pop() == 7
    bar._toggle()
    for _ in range(2):
        with pytest.raises(StopIteration):
            bar._tick().send(None)
    assert (drawn, stopped) == ([0, 5, 7], [True])
    bar._slider.value = 6  # as a person does
    assert drawn == [0, 5, 7, 6]
