"""What the app and the command line train is in the store, whatever ends it, and goes on from there."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from stored import until
from typer.testing import CliRunner

import explorer as ex
from explorer.app.session import Session
from explorer.cli import app
from explorer.records import LOSSES, Phase
from explorer.records.store import INTERRUPTED, Recorder, Store
from explorer.training import continuation
from explorer.training.plan import Entry, Plan

CHALLENGE = ex.Challenge.preset(
    "tig", num_hidden_layers=3, width=8, train_size=48, val_size=12, test_size=10, batch_size=16, num_features=8,
    max_epochs=60, patience=10_000,
)  # fmt: skip
ADAM = ex.optimizers.create("adam", ["cosine"], lr=[1e-3, 1e-2])
PLAN = Plan((Entry("one", CHALLENGE, ADAM), Entry("two\x07", CHALLENGE, ex.optimizers.create("soap"))), (3, 5),
            "cpu", "float64")  # fmt: skip


@pytest.fixture
def url(tmp_path, monkeypatch):
    found = f"sqlite:///{tmp_path}/store.db"
    monkeypatch.setenv("EXPLORER_STORE", found)
    return found


@pytest.fixture
def session(url, monkeypatch):
    """A session whose checkpoints come as fast as they can."""
    monkeypatch.setattr(continuation, "EVERY", 0.0)
    monkeypatch.setattr(continuation, "SHARE", 1.0)
    monkeypatch.setattr(continuation, "BYTES_PER_SECOND", 10**12)
    recorder = Recorder(url)
    made = Session(recorder)
    yield made
    made.close()
    recorder.close()


def drained(session, condition):
    def true():
        session.drain()
        return condition()

    until(true, 60)


def whole():
    """Each lane's losses, trained in one go without a store."""
    found = []
    for entry in PLAN.entries:
        history = ex.train(entry.challenge, entry.optimizer, PLAN.seeds, "cpu", precision="float64").history
        found.append(np.array([history[loss].values for loss in LOSSES]))
    return found


def test_a_session_that_is_closed_leaves_what_another_continues_to_the_same_curve(url, session):
    session.set_pace(30.0)
    session.start(PLAN)
    drained(session, lambda: session.epoch >= 8)
    worker = session.worker
    session.close()
    until(lambda: not worker.alive, 20)
    session._recorder.flush()
    store = Store(url)
    (kept,) = store.find()
    assert (kept.phase, [lane.name for lane in kept.lanes]) == (INTERRUPTED, ["one", "two "])
    assert min(lane.epoch for lane in kept.lanes) >= 8
    assert kept.settings == {"device": "cpu", "precision": "float64"}

    again = continuation.go_on(store, kept.id)
    assert all(entry.past is not None and entry.past.history.epoch >= 1 for entry in again.entries)
    session.set_pace(None)
    session.start(again)
    drained(session, lambda: session.phase is Phase.FINISHED)
    session._recorder.flush()
    for place, curve in enumerate(whole()):
        np.testing.assert_allclose(session.lanes[place].history.losses, curve, rtol=1e-9, atol=0)
        np.testing.assert_allclose(store.history(kept.id, place).losses, curve, rtol=1e-9, atol=0)
    assert store.get(kept.id).phase == "finished"
    assert np.isfinite(store.instances(kept.id, 1).noise_mse).all()
    with pytest.raises(ValueError, match="only one that was interrupted can be continued"):
        continuation.go_on(store, kept.id)
    store.close()


def test_every_start_is_an_experiment_of_its_own_and_the_one_before_is_stopped(url, session):
    for _ in range(2):
        session.set_pace(30.0)
        session.start(PLAN)
        drained(session, lambda: session.epoch >= 2)
    session.worker.stop()
    drained(session, lambda: session.phase is Phase.STOPPED)
    session._recorder.flush()
    store = Store(url)
    assert [one.phase for one in store.find()] == ["stopped", "stopped"]
    assert [lane.epoch for lane in store.find()[0].lanes] == [lane.history.epoch for lane in session.lanes]
    store.close()


def test_training_goes_on_where_the_store_cannot_be_opened(tmp_path):
    (tmp_path / "file").write_text("")
    session = Session(Recorder(f"sqlite:///{tmp_path}/file/store.db"))
    session.start(PLAN)
    drained(session, lambda: session.phase is Phase.FINISHED)
    assert session.epoch == CHALLENGE.max_epochs
    until(lambda: session.trouble)
    assert "cannot be opened" in session.trouble
    session.close()
    session._recorder.close(0.1)


SETTINGS = [f"--set={name}={CHALLENGE.values[name]}" for name in
            ("num_hidden_layers", "width", "train_size", "val_size", "test_size", "batch_size", "num_features",
             "patience")]  # fmt: skip
TRAIN = ["train", *SETTINGS, "--device=cpu", "--precision=float64", "--optimizer=adam+cosine", "--seeds=3,5"]


def test_a_killed_command_is_continued_by_another_to_the_same_curve(url):
    command = [sys.executable, "-c", "from explorer.training import continuation\ncontinuation.EVERY = 0.2\n"
               "from explorer.cli import app; app()", *TRAIN, "--set=max_epochs=1200"]  # fmt: skip
    victim = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ))

    def kept():
        store = Store(url)
        try:
            found = store.find()
            return found and store.checkpoint(found[0].id, 0) and found[0].id
        finally:
            store.close()

    until(kept, 60)
    time.sleep(0.3)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    store = Store(url)
    (found,) = store.find()
    assert (found.phase, found.lanes[0].epoch < 1200) == (INTERRUPTED, True)
    before = found.lanes[0].epoch
    said = CliRunner().invoke(app, ["runs", "continue", found.id])
    assert said.exit_code == 0, said.output
    assert "finished" in said.output
    history = store.history(found.id, 0)
    store.close()
    assert history.epoch == 1200 > before
    challenge = CHALLENGE.replace(max_epochs=1200)
    expected = ex.train(challenge, ex.optimizers.create("adam", ["cosine"]), [3, 5], "cpu", precision="float64")
    for place, loss in enumerate(LOSSES):
        np.testing.assert_allclose(history.losses[place], expected.history[loss].values, rtol=1e-9, atol=0)


def test_the_command_line_keeps_what_it_trains(url):
    said = CliRunner().invoke(app, [*TRAIN, "--set=max_epochs=5"])
    assert said.exit_code == 0, said.output
    store = Store(url)
    (found,) = store.find()
    assert (found.phase, found.lanes[0].epoch, found.lanes[0].runs) == ("finished", 5, 2)
    assert found.lanes[0].ratio > 0
    store.close()
