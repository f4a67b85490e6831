"""The recorder: nobody waits for it, nothing is lost, and what is wrong with the store is a sentence."""

import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from stored import LANES, Training, another, files, same, until

from explorer.records import Fault, Instances, Phase, Status
from explorer.records.store import (
    INTERRUPTED,
    Checkpoint,
    Recorder,
    Store,
    StoreTrouble,
    changes,
    engine,
    recorder,
)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/deep/store.db"


@pytest.fixture
def recording(url):
    made = Recorder(url)
    yield made
    assert made.close(), "the thread did not end"


def test_the_recorder_keeps_what_it_is_given(recording, url):
    take = recording.begin(LANES, {"seeds": [3]})
    training = Training()
    took = time.perf_counter()
    for _ in range(10):
        take(training.snapshot(2))
    took = time.perf_counter() - took
    take(Instances(1, *np.ones((4, 2))))
    take(Checkpoint(1, 20, b"state"))
    take("something else")
    assert took < 2, "ten transactions would take five seconds: nobody who trains waits"
    assert recording.flush()
    store = Store(url)
    same(store.history(take.id, 0), training.history)
    assert store.checkpoint(take.id, 0) == (20, b"state")
    assert store.instances(take.id, 0).noise_mse.tolist() == [1, 1]
    take(Fault(1, "harmless", ended=False))
    take(Fault(1, "of one lane", lane=0))
    take(Fault(1, "It broke."))
    assert recording.flush()
    assert (store.get(take.id).phase, store.get(take.id).message) == ("failed", "It broke.")
    assert recording.trouble == ""
    store.close()


def test_what_was_told_is_on_disk_within_a_second(recording, url):
    take = recording.begin(LANES)
    store = Store(url)
    training = Training(ends=10**6)
    until(lambda: store.knows(take.id))
    late = []
    for _ in range(30):
        take(training.snapshot(1))
        told = (training.epoch, time.monotonic())
        time.sleep(0.05)
        if training.epoch % 7 == 0:
            until(lambda told=told: store.get(take.id).lanes[0].epoch >= told[0])
            late.append(time.monotonic() - told[1])
    assert np.median(late) < 1, late  # the worst is measured by a script, on a machine that does nothing else
    store.close()


def test_transactions_are_half_a_second_apart(recording, url, monkeypatch):
    take = recording.begin(LANES)
    recording.flush()
    times = []
    write = recording._store.write  # this one's only: the process may have another recorder
    monkeypatch.setattr(recording._store, "write", lambda listed: (times.append(time.monotonic()), write(listed))[1])
    training = Training()
    until(lambda: (take(training.snapshot(1)), len(times) >= 4)[1])
    assert np.diff(times).min() > 0.45


def test_closing_writes_all_and_marks_what_was_under_way(url):
    made = Recorder(url)
    take, done = made.begin(LANES), made.begin(LANES)
    training = Training()
    take(training.snapshot(9))
    done(Training(seed=1).snapshot(9, Phase.STOPPED, Status.STOPPED))
    assert made.close()
    assert not made.alive
    store = Store(url)
    assert [store.get(one.id).phase for one in (take, done)] == [INTERRUPTED, "stopped"]
    same(store.history(take.id, 0), training.history)
    store.close()


def test_the_interpreter_s_end_is_such_a_closing(url):
    code = "take = Recorder().begin(LANES); take(Training().snapshot(9)); print(take.id)"
    id = another(code, url).communicate(timeout=60)[0].strip()
    store = Store(url)
    assert (store.get(id).phase, store.get(id).lanes[0].epoch) == (INTERRUPTED, 9)
    store.close()


def test_signs_of_life(recording, url, monkeypatch):
    take = recording.begin(LANES)
    recording.flush()
    store = Store(url)
    with files(store) as raw:
        raw.execute("UPDATE experiments SET seen = 0, host = 'this one, in a container'")
    recording._write([changes.Beat((take.id,))])
    with files(store) as raw:
        assert raw.execute("SELECT seen FROM experiments").fetchone()[0] == pytest.approx(time.time(), abs=5)
    store.close()


# Trouble is a value with a sentence, and over when it is over


def grown_in(made, training, epochs=3):
    """Train on although the store is in trouble; the sentence."""
    take = made.begin(LANES)
    take(training.snapshot(epochs))
    until(lambda: made.trouble)
    return take, made.trouble


def test_a_locked_store(recording, url, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", 0.1)
    store = Store(url)
    lock = sqlite3.connect(store.where, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    training = Training()
    take, trouble = grown_in(recording, training)
    assert "locked by another program" in trouble
    assert "waits in memory" in trouble
    with pytest.raises(StoreTrouble, match="locked"):
        store.pin("x")
    assert not recording.flush(0.2)
    take(training.snapshot(2))
    lock.execute("ROLLBACK")
    assert recording.flush()
    assert recording.trouble == ""
    same(store.history(take.id, 0), training.history)
    store.close()


def test_a_full_disk(recording, url):
    recording.flush()
    until(lambda: recording._store is not None)
    store = recording._store

    def pages(most):
        with store._engine.connect() as connection:
            return connection.exec_driver_sql(f"PRAGMA max_page_count = {most}").scalar()

    pages(1)
    training = Training(ends=10**6)
    take = recording.begin(LANES)
    take(training.snapshot(5000))
    until(lambda: recording.trouble)
    assert "disk that holds the store" in recording.trouble
    assert "is full" in recording.trouble
    pages(10**6)
    assert recording.flush()
    assert recording.trouble == ""
    same(store.history(take.id, 0), training.history)


@pytest.mark.parametrize("garbage", [b"not a database" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_corrupt_file(garbage, tmp_path):
    path = tmp_path / "store.db"
    path.write_bytes(garbage)
    with pytest.raises(StoreTrouble, match="damaged"):
        Store(f"sqlite:///{path}")
    made = Recorder(f"sqlite:///{path}")
    training = Training()
    take, trouble = grown_in(made, training)
    assert "is damaged" in trouble
    assert path.read_bytes() == garbage, "it is left for whoever can mend it"
    path.unlink()
    for beside in tmp_path.glob("store.db-*"):
        beside.unlink()
    assert made.flush(), "as the sentence says"
    assert made.close()
    store = Store(f"sqlite:///{path}")
    same(store.history(take.id, 0), training.history)
    store.close()


def test_a_page_that_went_bad(url):
    """Somewhere in the middle of a file that was good."""
    store = Store(url)
    id = store.begin(LANES)
    store.append(id, 0, Training(ends=10**6).snapshot(5000))
    store.close()
    path = Path(url.removeprefix("sqlite:///"))
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xa5" * (len(raw) - 4096)
    path.write_bytes(raw)
    with pytest.raises(StoreTrouble, match="damaged"):
        Store(url)


def test_a_place_that_cannot_be_written(tmp_path, url):
    file = tmp_path / "a file"
    file.write_text("")
    made = Recorder(f"sqlite:///{file}/inside/store.db")
    _, trouble = grown_in(made, Training())
    assert "cannot be opened: Not a directory" in trouble
    assert made.close()
    Store(url).close()
    read_only = f"sqlite:///file:{url.removeprefix('sqlite:///')}?mode=ro&uri=true"
    made = Recorder(read_only)
    _, trouble = grown_in(made, Training())
    assert "read-only" in trouble
    assert made.close()


def test_a_read_only_folder():
    """As somebody who is not root, for whom permissions hold."""
    code = """
folder = sys.argv[1]
os.chmod(folder, 0o555)
import sqlalchemy
sqlalchemy.create_engine("sqlite://").connect().close()  # loads what that somebody may not be allowed to read
if os.geteuid() == 0:
    os.seteuid(65534)
made = Recorder(f"sqlite:///{folder}/store.db")
take = made.begin(LANES)
take(Training().snapshot(3))
until(lambda: made.trouble)
print(made.trouble, made.close())
"""
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        folder = Path(above) / "folder"
        folder.mkdir()
        said = another(code, "", arguments=[folder]).communicate(timeout=60)[0]
        assert "cannot be opened: the folder is not there or not writable" in said
        assert said.strip().endswith("True"), "the thread ended"
        folder.chmod(0o755)


def test_what_waits_is_bounded(url, monkeypatch, tmp_path):
    monkeypatch.setattr(recorder, "MOST_WAITING", 20_000)
    blocker = tmp_path / "deep"
    blocker.write_text("in the way")
    made = Recorder(url)
    training = Training(ends=10**6)
    take = made.begin(LANES)
    for _ in range(100):
        take(training.snapshot(10))
    assert made._bytes <= 20_000
    blocker.unlink()
    assert made.flush()
    made.begin(LANES)
    assert made.flush()
    assert "epochs of some experiments were not kept" in made.trouble
    store = Store(url)
    kept = store.history(take.id, 0)
    assert 0 < kept.epoch < 1000
    np.testing.assert_array_equal(kept.losses, training.history.losses[:, :, : kept.epoch])
    assert made.close()
    store.close()


def test_a_bug_in_the_store_does_not_end_the_thread(recording, url, monkeypatch):
    write = Store.write

    def breaks(self, listed):
        raise ArithmeticError("a bug")

    monkeypatch.setattr(Store, "write", breaks)
    recording.begin(LANES)
    assert recording.flush()
    monkeypatch.setattr(Store, "write", write)
    take = recording.begin(LANES)
    assert recording.flush()
    store = Store(url)
    assert store.knows(take.id)
    store.close()


def test_there_is_one_thread_and_it_is_named(tmp_path):
    def count():  # others' are let be: a process keeps one for the app
        return sum(thread.name == "explorer-store" for thread in threading.enumerate())

    before = count()
    recorder = Recorder(f"sqlite:///{tmp_path}/store.db")
    assert count() == before + 1
    assert recorder.close()
    assert count() == before
