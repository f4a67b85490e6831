"""The run store: what goes in comes out, whatever happens to the process."""

import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import inspect
from stored import LANES, RUNS, Training, another, files, same

from explorer.records import Instances, Phase, Run, Snapshot, Status
from explorer.records.store import INTERRUPTED, NewLane, Store, StoreTrouble, changes, engine, recover, schema


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/deep/store.db"


@pytest.fixture
def store(url):
    store = Store(url)
    yield store
    store.close()


# What goes in comes out


def test_an_experiment_comes_back_as_it_was(store):
    id = store.begin(LANES, {"seeds": [3]}, "a title")
    first, second = Training(0), Training(1, runs=1)
    for epochs in (0, 1, 3, 20, 7, 0, 5):
        store.append(id, 0, first.snapshot(epochs))
        store.append(id, 1, second.snapshot(epochs, message="a sentence" if epochs == 3 else ""))
        same(store.history(id, 0), first.history)
        same(store.history(id, 1), second.history)
    facts = [np.array([0.1, 0.2]), np.array([1.0, np.nan]), np.array([2.0, 3.0]), np.full(2, np.nan)]
    store.learn(id, Instances(1, *facts))
    for found, fact in zip(("noise_mse", "kernel_floor", "feature_floor", "readout_floor"), facts, strict=True):
        np.testing.assert_array_equal(getattr(store.instances(id, 0), found), fact)
    summary = store.get(id)
    assert (summary.title, summary.settings, summary.phase) == ("a title", {"seeds": [3]}, "running")
    assert (summary.message, summary.notes, summary.pinned, summary.ended) == ("a sentence", "", False, None)
    assert [lane.name for lane in summary.lanes] == ["adam", "soap"]
    assert summary.lanes[0].settings == LANES[0].settings
    assert [(lane.epoch, lane.seconds, lane.device, lane.runs) for lane in summary.lanes] == [
        (36, 9.0, "CPU", 2), (36, 9.0, "CPU", 1)
    ]  # fmt: skip
    assert summary.lanes[0].statuses == {"running": 1, "early_stopped": 1}
    expected = np.mean(first.history.at_best[2] / facts[0])
    assert summary.lanes[0].ratio == pytest.approx(expected)
    assert np.isnan(summary.lanes[1].ratio)
    assert list(store.history(id, 0).to_xarray().lr.values) == [1e-3, 1e-2]


def test_an_end_is_an_end(store):
    id = store.begin(LANES)
    training = Training()
    store.append(id, 0, training.snapshot(30))
    store.keep(id, 0, 30, b"state")
    assert store.checkpoint(id, 0) == (30, b"state")
    store.append(id, 0, training.snapshot(3, Phase.FINISHED, Status.MAX_EPOCHS))
    summary = store.get(id)
    assert summary.phase == "finished"
    assert summary.ended == pytest.approx(time.time(), abs=5)
    assert store.checkpoint(id, 0) is None, "nobody continues what has ended"
    same(store.history(id, 0), training.history)


def test_epochs_that_were_on_their_way_are_nobody_s(store):
    id = store.begin(LANES)
    training = Training(ends=4)
    late = training.snapshot(9, Phase.FINISHED, Status.MAX_EPOCHS)
    late = Snapshot(**(vars(late) | {"epochs": np.array([6, 4])}))
    store.append(id, 0, late)
    assert store.history(id, 0).epoch == store.get(id).lanes[0].epoch == 6


def test_a_gap_and_other_runs_are_refused(store):
    id = store.begin(LANES)
    training = Training()
    training.snapshot(3)
    with pytest.raises(ValueError, match="expected epoch 1, got a snapshot from 4"):
        store.append(id, 0, training.snapshot(3))
    with pytest.raises(ValueError, match="expected 2 runs, got a snapshot of 1"):
        store.append(id, 0, Training(runs=1).snapshot(3))
    with pytest.raises(ValueError, match="no such lane"):
        store.append(id, 7, Training().snapshot(3))
    for call in (lambda: store.finish("0" * 12, "stopped"), lambda: store.get("f"), lambda: store.history(id, 9)):
        with pytest.raises(ValueError, match="no experiment"):
            call()
    assert store.history(id, 0).epoch == 0


def test_one_that_does_not_fit_harms_no_other(store):
    ids = [store.begin(LANES) for _ in range(2)]
    good, bad = Training(), Training()
    bad.snapshot(1)
    refused = store.write([
        changes.Append(ids[0], 0, good.snapshot(2)), changes.Append(ids[1], 0, bad.snapshot(2)),
        changes.Pin("no one's"), changes.Annotate(ids[1], "\x1b[2J"), changes.Append(ids[0], 0, good.snapshot(1)),
    ])  # fmt: skip
    assert len(refused) == 3
    assert "control character '\\x1b'" in refused[2]
    same(store.history(ids[0], 0), good.history)


def test_epochs_are_written_once(store):
    """A run that was continued trains some epochs again: the first record stays, and what follows is taken in."""
    id = store.begin(LANES)
    training, again = Training(), Training()
    store.append(id, 0, training.snapshot(20))
    store.keep(id, 0, 14, b"after epoch 14")
    with files(store) as raw:
        before = raw.execute("SELECT * FROM epochs ORDER BY first").fetchall()
    again.snapshot(14)
    again.rng = np.random.default_rng(99)  # were it not the same, the first record would still stay
    store.resume(id)
    store.append(id, 0, again.snapshot(0))
    assert store.get(id).lanes[0].statuses == {"running": 2}
    store.append(id, 0, again.snapshot(4))
    same(store.history(id, 0), training.history)
    store.append(id, 0, again.snapshot(12))
    history = store.history(id, 0)
    assert history.epoch == 30
    np.testing.assert_array_equal(history.losses[:, :, :20], training.history.losses)
    np.testing.assert_array_equal(history.losses[:, :, 20:], again.history.losses[:, :, 20:])
    assert history.status == again.history.status
    with files(store) as raw:
        assert raw.execute("SELECT * FROM epochs ORDER BY first").fetchall()[: len(before)] == before


def test_a_checkpoint_of_epochs_that_are_not_there_is_left_out(store):
    id = store.begin(LANES)
    store.keep(id, 0, 5, b"too early")
    assert store.checkpoint(id, 0) is None


def test_finding(store):
    ids = [store.begin([NewLane(name, {"lr": lr}, RUNS)], title=title) for name, lr, title in
           (("adam", 0.5, "Zebra"), ("soap", 0.25, "äpfel"), ("adam+clip", 0.5, "100% _"))]  # fmt: skip

    def found(**how):
        return [ids.index(summary.id) for summary in store.find(**how)]

    assert found() == [2, 1, 0]
    assert found(order="oldest") == [0, 1, 2]
    assert found(order="title") == [2, 0, 1]
    assert found(search="ADAM 0.5") == [2, 0]
    assert found(search="ÄPFEL") == [1]
    assert found(search="%") == [2]
    assert found(search="0% _") == [2]
    assert found(search="' OR 1=1 --") == []
    assert found(limit=1) == [2]
    store.annotate(ids[0], "Seen in class")
    assert found(search="class zebra") == [0]
    store.finish(ids[1], Phase.FAILED, "why")
    assert found(phases=["failed", "stopped"]) == [1]
    store.pin(ids[0])
    assert found(pinned=True) == [0]
    assert found(order="pinned") == [0, 2, 1]
    store.pin(ids[0], False)
    assert found(pinned=True) == []
    assert store.get(ids[1][:11]).message == "why"
    with pytest.raises(ValueError, match="order = 'x' is not known"):
        store.find(order="x")
    with pytest.raises(ValueError, match=r"more than one|no experiment"):
        store.get("")


def test_deleting_can_be_undone_until_it_is_purged(url, monkeypatch):
    store = Store(url)
    ids = [store.begin(LANES) for _ in range(2)]
    training = Training()
    store.append(ids[0], 0, training.snapshot(5))
    for id in ids:
        store.delete(id)
    assert store.find() == []
    assert len(store.find(deleted=True)) == 2
    store.undelete(ids[0])
    assert [summary.id for summary in store.find()] == [ids[0]]
    store.recover()
    assert store.knows(ids[1])
    monkeypatch.setattr(recover, "PURGE_AFTER", -1.0)
    store.recover()
    assert not store.knows(ids[1])
    same(store.history(ids[0], 0), training.history)
    with files(store) as raw:
        for table in ("lanes", "runs"):
            assert raw.execute(f"SELECT count(*) FROM {table} WHERE experiment = ?", [ids[1]]).fetchone() == (0,)
    store.purge(ids[0])
    assert not store.knows(ids[0])
    store.close()


def test_a_purge_gives_the_room_back(store):
    id = store.begin(LANES)
    store.append(id, 0, Training().snapshot(1))
    store.keep(id, 0, 1, os.urandom(3_000_000))
    with files(store) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert Path(store.where).stat().st_size > 3_000_000
        store.purge(id)
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert Path(store.where).stat().st_size < 200_000


# Processes that end


def test_a_process_that_is_gone_leaves_interrupted_experiments(url):
    with another("store = Store(); print(store.begin(LANES), flush=True); input()", url, stdin=subprocess.PIPE) as gone:
        id = gone.stdout.readline().strip()
        store = Store(url)
        assert store.get(id).phase == "preparing", "it is still there"
        gone.kill()
    store.recover()
    assert store.get(id).phase == INTERRUPTED
    assert store.get(id).ended == pytest.approx(time.time(), abs=60)
    store.resume(id)
    assert Store(url).get(id).phase == "preparing", "now it is this process's"
    store.close()


def test_another_process_with_the_same_number_is_not_the_same(store):
    id = store.begin(LANES)
    with files(store) as raw:
        raw.execute("UPDATE experiments SET process = process - 1000")
    store.recover()
    assert store.get(id).phase == INTERRUPTED


def test_processes_elsewhere_are_believed_while_they_give_signs_of_life(store):
    id = store.begin(LANES)
    with files(store) as raw:
        raw.execute("UPDATE experiments SET host = 'elsewhere'")
    store.recover()
    assert store.get(id).phase == "preparing"
    with files(store) as raw:
        raw.execute("UPDATE experiments SET seen = seen - 3600")
    store.recover()
    assert store.get(id).phase == INTERRUPTED
    store.append(id, 0, Training().snapshot(1))
    assert store.get(id).phase == "running", "it was a laptop that had slept"


def test_two_processes_open_a_new_store_at_once(url):
    code = "store = Store(); id = store.begin(LANES); store.append(id, 0, Training().snapshot(9)); print(id)"
    both = [another(code, url) for _ in range(2)]
    ids = [process.communicate(timeout=60)[0].strip() for process in both]
    assert all(process.returncode == 0 for process in both)
    store = Store(url)
    assert {summary.id for summary in store.find()} == set(ids)
    store.close()


def test_two_that_write_at_once_wait_for_each_other(url):
    """A transaction that has read before it writes must have SQLite's lock from its beginning."""

    def write(seed):
        store, training = Store(url), Training(ends=10**6, seed=seed)
        id = store.begin(LANES)
        for _ in range(60):
            store.append(id, 0, training.snapshot(1))
        same(store.history(id, 0), training.history)
        store.close()

    with ThreadPoolExecutor(2) as both:
        assert list(both.map(write, (1, 2))) == [None, None]


# The schema

VERSION_1 = """
CREATE TABLE schema (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE experiments (id VARCHAR(12) NOT NULL, title TEXT NOT NULL, began DOUBLE NOT NULL, ended DOUBLE,
    phase TEXT NOT NULL, message TEXT NOT NULL, settings JSON NOT NULL, notes TEXT NOT NULL, pinned BOOLEAN NOT NULL,
    deleted DOUBLE, words TEXT NOT NULL, host TEXT NOT NULL, pid BIGINT NOT NULL, process DOUBLE NOT NULL,
    seen DOUBLE NOT NULL, PRIMARY KEY (id));
CREATE INDEX ix_experiments_began ON experiments (began);
CREATE TABLE lanes (experiment VARCHAR(12) NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL, settings JSON NOT NULL,
    runs INTEGER NOT NULL, epoch INTEGER NOT NULL, seconds DOUBLE NOT NULL, device TEXT NOT NULL,
    PRIMARY KEY (experiment, place), FOREIGN KEY(experiment) REFERENCES experiments (id) ON DELETE CASCADE);
CREATE TABLE runs (experiment VARCHAR(12) NOT NULL, lane INTEGER NOT NULL, place INTEGER NOT NULL, seed BIGINT NOT NULL,
    hyperparameters JSON NOT NULL, status TEXT NOT NULL, epochs INTEGER NOT NULL, best_epoch INTEGER NOT NULL,
    train_loss DOUBLE, val_loss DOUBLE, test_loss DOUBLE, noise_mse DOUBLE, kernel_floor DOUBLE, feature_floor DOUBLE,
    readout_floor DOUBLE, PRIMARY KEY (experiment, lane, place),
    FOREIGN KEY(experiment) REFERENCES experiments (id) ON DELETE CASCADE);
CREATE TABLE epochs (experiment VARCHAR(12) NOT NULL, lane INTEGER NOT NULL, first INTEGER NOT NULL,
    seconds DOUBLE NOT NULL, losses BLOB NOT NULL, PRIMARY KEY (experiment, lane, first),
    FOREIGN KEY(experiment) REFERENCES experiments (id) ON DELETE CASCADE);
CREATE TABLE checkpoints (experiment VARCHAR(12) NOT NULL, lane INTEGER NOT NULL, epoch INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (experiment, lane),
    FOREIGN KEY(experiment) REFERENCES experiments (id) ON DELETE CASCADE);
INSERT INTO schema VALUES (1);
INSERT INTO experiments VALUES ('0123456789ab', 'an old one', 1.7e9, NULL, 'running', 'said', '{"seeds": [3, 5]}',
    'noted', 1, NULL, 'an old one', 'host', 1, 2.5, 1.7e9);
INSERT INTO lanes VALUES ('0123456789ab', 0, 'adam', '{"optimizer": "adam"}', 2, 3, 1.5, 'CPU');
INSERT INTO runs VALUES ('0123456789ab', 0, 0, 3, '{"lr": 0.1}', 'running', 3, 2, 12, 22, 32, 0.5, 0.6, NULL, 0.8);
INSERT INTO runs VALUES ('0123456789ab', 0, 1, 5, '{"lr": 0.2}', 'diverged', 1, 1, 14, 24, 34, 0.5, 0.6, NULL, 0.8);
INSERT INTO checkpoints VALUES ('0123456789ab', 0, 2, x'00ff');
"""
"""A store as it was written when the schema had version 1.  Never change this: it is what people have."""
NAN = float("nan")
OLD = np.array([[[11, 12, 13], [14, NAN, NAN]], [[21, 22, 23], [24, NAN, NAN]], [[31, 32, 33], [34, NAN, NAN]]])


def old_store(url):
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir()
    with sqlite3.connect(path) as raw:
        raw.executescript(VERSION_1)
        for first, part, seconds in ((1, OLD[:, :, :2], 1.0), (3, OLD[:, :, 2:], 1.5)):
            raw.execute("INSERT INTO epochs VALUES ('0123456789ab', 0, ?, ?, ?)", [first, seconds, part.tobytes()])


def check_old(store):
    summary = store.get("0123")
    assert (summary.title, summary.began, summary.notes, summary.pinned) == ("an old one", 1.7e9, "noted", True)
    assert (summary.phase, summary.message, summary.settings) == (INTERRUPTED, "said", {"seeds": [3, 5]})
    history = store.history("0123456789ab", 0)
    np.testing.assert_array_equal(history.losses, OLD)
    np.testing.assert_array_equal(history.at_best, [[12, 14], [22, 24], [32, 34]])
    np.testing.assert_array_equal(history.seconds, [0.5, 1, 1.5])
    assert history.runs == (Run(3, {"lr": 0.1}), Run(5, {"lr": 0.2}))
    assert history.status == ("running", "diverged")
    np.testing.assert_array_equal(store.instances("0123456789ab", 0).readout_floor, [0.8, 0.8])
    assert store.checkpoint("0123456789ab", 0) == (2, b"\x00\xff")


def test_a_store_of_version_1_is_read_whole(url):
    old_store(url)
    store = Store(url)
    check_old(store)
    store.close()


def tables(store):
    looked = inspect(store._engine)
    return {
        name: sorted((column["name"], str(column["type"]), column["nullable"]) for column in looked.get_columns(name))
        for name in looked.get_table_names()
    }


def test_a_new_store_has_the_tables_that_an_old_one_is_brought_to(url, store, tmp_path):
    old = f"sqlite:///{tmp_path}/old/store.db"
    old_store(old)
    brought = Store(old)
    assert tables(brought) == tables(store)
    brought.close()


def test_migrations_run_once_each_and_whole_or_not_at_all(url, monkeypatch):
    old_store(url)

    def second(connection):
        connection.exec_driver_sql("ALTER TABLE experiments ADD COLUMN colour TEXT")
        connection.exec_driver_sql("UPDATE experiments SET colour = 'blue'")

    def third(connection):
        connection.exec_driver_sql("ALTER TABLE lanes ADD COLUMN colour TEXT")
        raise ArithmeticError("a bug")

    monkeypatch.setattr(schema, "MIGRATIONS", [second, third])
    with pytest.raises(ArithmeticError):
        Store(url)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        assert raw.execute("SELECT version FROM schema").fetchall() == [(1,)]
        assert "colour" not in str(raw.execute("SELECT sql FROM sqlite_master").fetchall())
    monkeypatch.setattr(schema, "MIGRATIONS", [second])
    for _ in range(2):
        store = Store(url)
        with files(store) as raw:
            assert raw.execute("SELECT version FROM schema").fetchall() == [(2,)]
            assert raw.execute("SELECT colour FROM experiments").fetchall() == [("blue",)]
        check_old(store)
        store.close()


def test_a_later_version_is_refused_and_left_alone(url):
    old_store(url)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        raw.execute("UPDATE schema SET version = 7")
    with pytest.raises(StoreTrouble, match=r"later version of the explorer \(schema 7; this one knows up to 1\)"):
        Store(url)
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        assert raw.execute("SELECT phase FROM experiments").fetchall() == [("running",)]


def test_somebody_else_s_database_is_refused(url, tmp_path):
    with sqlite3.connect(tmp_path / "other.db") as raw:
        raw.execute("CREATE TABLE accounts (id INTEGER)")
    with pytest.raises(StoreTrouble, match="not a store of the explorer"):
        Store(f"sqlite:///{tmp_path}/other.db")


# Where it is


def test_the_place(monkeypatch, tmp_path):
    monkeypatch.delenv("EXPLORER_STORE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert engine.location().database == str(tmp_path / "optimizer-explorer" / "store.db")
    monkeypatch.setenv("EXPLORER_STORE", "sqlite:////somewhere/else.db")
    assert engine.location().database == "/somewhere/else.db"
    secret = engine.location("postgresql+psycopg://me:secret@there/runs")
    assert "secret" not in engine.described(secret)
    with pytest.raises(StoreTrouble, match="EXPLORER_STORE = 'nonsense' is not allowed"):
        engine.location("nonsense")
    with pytest.raises(StoreTrouble, match="cannot be opened"):
        Store("nonsense://x")
    with pytest.raises(StoreTrouble, match="cannot be opened"):
        Store("oracle://x")


def test_only_its_owner_reads_the_folder(store):
    assert Path(store.where).parent.stat().st_mode & 0o077 == 0


def test_a_lane_that_ended_is_told_of_while_others_train(tmp_path):
    """Its last run ended in epoch 4, which was seen in epoch 5; what is told of it afterwards brings no epoch."""
    store = Store(f"sqlite:///{tmp_path}/store.db")
    id = store.begin(LANES)
    training = Training(lane=1, runs=1)
    ended = replace(training.snapshot(5, status=Status.EARLY_STOPPED), epochs=np.array([4]), best_epoch=np.array([2]))
    store.append(id, 1, ended)
    for _ in range(2):
        again = replace(
            training.snapshot(0, status=Status.EARLY_STOPPED), epochs=ended.epochs, best_epoch=ended.best_epoch
        )
        store.append(id, 1, again)
    assert store.get(id).lanes[1].epoch == 4
    store.close()
