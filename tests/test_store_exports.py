"""Exports come back as they were; what else stands in a file is refused in a sentence and never executed."""

import ast
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import LANES, Training, same

from explorer.records import Instances
from explorer.records.store import INTERRUPTED, Store, archive, export_runs, import_runs, schema, values

NAN = float("nan")


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/deep/store.db"


@pytest.fixture
def store(url):
    store = Store(url)
    yield store
    store.close()


def exported(store, tmp_path):
    id = store.begin(LANES, {"seeds": [3]}, "to hand on")
    trained = [Training(0), Training(1, runs=1)]
    for epochs in (1, 30, 2):
        for training in trained:
            store.append(id, training.lane, training.snapshot(epochs))
    store.learn(id, Instances(1, *np.array([[1, 2], [NAN, 3], [4, 5], [NAN, NAN]])))
    store.annotate(id, "<b>notes</b>\nof mine")
    store.pin(id)
    store.finish(id, "stopped", "said")
    path = tmp_path / "runs.jsonl.gz"
    export_runs(store, [id], path)
    return id, path, trained


@pytest.fixture
def other(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/other.db")
    yield store
    store.close()


def test_an_export_comes_back_as_it_was(store, other, tmp_path):
    id, path, trained = exported(store, tmp_path)
    found = import_runs(other, path)
    assert (found.taken, found.known) == ([id], [])
    assert repr(other.get(id)) == repr(store.get(id)), "with NaN where there is NaN"
    for training in trained:
        same(other.history(id, training.lane), training.history)
        here, there = store.instances(id, training.lane), other.instances(id, training.lane)
        for fact in ("noise_mse", "kernel_floor", "feature_floor", "readout_floor"):
            np.testing.assert_array_equal(getattr(here, fact), getattr(there, fact))
    again = import_runs(other, path.open("rb"))
    assert (again.taken, again.known) == ([], [id])
    assert len(other.find(search="notes")) == 1


def test_a_running_experiment_arrives_interrupted(store, other, tmp_path):
    id = store.begin(LANES)
    store.append(id, 0, Training().snapshot(3))
    export_runs(store, [id[:6]], tmp_path / "x")
    import_runs(other, tmp_path / "x")
    assert other.get(id).phase == INTERRUPTED
    other.recover()
    assert other.get(id).phase == INTERRUPTED


def test_a_failed_export_leaves_no_half_file(store, tmp_path):
    id, path, _ = exported(store, tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no experiment"):
        export_runs(store, [id, "ffff"], path)
    with pytest.raises(ValueError, match="cannot be written: Not a directory"):
        export_runs(store, [id], path / "inside")
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.glob("*runs*")] == ["runs.jsonl.gz"]


def lines(path):
    return [json.loads(line) for line in gzip.open(path)]


def packed(told):
    text = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in told)
    return io.BytesIO(gzip.compress(text))


def put(line, *path_and_value):
    """Set something deep inside a line."""
    *path, last, value = path_and_value
    for step in path:
        line = line[step]
    line[last] = value


BAD = [
    (1, ("experiment", "id", "../../etc/passwd"), "12 hexadecimal digits"),
    (1, ("experiment", "id", ["a"]), "12 hexadecimal digits"),
    (1, ("experiment", "title", "x" * 201), "has 201 characters; 200 are allowed"),
    (1, ("experiment", "title", "\x1b]0;owned\x07"), "control character"),
    (1, ("experiment", "title", "\u202egnp.exe"), "control character"),
    (1, ("experiment", "notes", "\ud800"), "surrogate"),
    (1, ("experiment", "notes", 5), "notes must be text"),
    (1, ("experiment", "began", 1e308), "finite number|seconds from"),
    (1, ("experiment", "began", -1), "seconds from 0"),
    (1, ("experiment", "began", "now"), "finite number"),
    (1, ("experiment", "ended", 1e11), "seconds from 0"),
    (1, ("experiment", "phase", "owned"), "phase = \"owned\" is not allowed"),
    (1, ("experiment", "pinned", 1), "pinned must be true or false"),
    (1, ("experiment", "lanes", 10**9), "integer from 1 to 64"),
    (1, ("experiment", "lanes", 3), "has 3 lanes, but 2 are here"),
    (1, ("experiment", "lanes", 1), "more lanes than the 1"),
    (1, ("experiment", "settings", []), "settings must be an object"),
    (1, ("experiment", "settings", {"a": 10**30}), "integer from"),
    (1, ("experiment", "extra", 1), "and nothing else"),
    (2, ("lane", "name", None), "must be text"),
    (2, ("lane", "runs", []), "from 1 to 4096"),
    (2, ("lane", "runs", [{}] * 5000), "5000 entries"),
    (2, ("lane", "runs", 0, "seed", -1), "seed = -1"),
    (2, ("lane", "runs", 0, "seed", 2**62), "seed ="),
    (2, ("lane", "runs", 0, "seed", True), "seed = true"),
    (2, ("lane", "runs", 0, "status", "fine"), "status = \"fine\""),
    (2, ("lane", "runs", 0, "epochs", 10**7), "epochs = 10000000"),
    (2, ("lane", "runs", 0, "epochs", 9999), "a run has 9999 epochs, but only 33"),
    (2, ("lane", "runs", 0, "best_epoch", 34), "best_epoch = 34"),
    (2, ("lane", "runs", 0, "noise_mse", "big"), "noise_mse = \"big\""),
    (3, ("epochs", "first", 2), "first = 2"),
    (3, ("epochs", "seconds", [0.0]), "must have 1 numbers a run"),
    (3, ("epochs", "seconds", []), "from 1 to"),
    (3, ("epochs", "seconds", [0.0] * 10001), "10001 entries"),
    (3, ("epochs", "val_loss", [[1.0]]), "a list of 2 lists"),
    (3, ("epochs", "val_loss", 0, 0, "1"), "val_loss = \"1\""),
    (3, ("epochs", "val_loss", 0, 0, [1]), "val_loss = "),
    (3, ("epochs", "train_loss", {"__reduce__": "os.system"}), "a list of 2 lists"),
]  # fmt: skip


@pytest.mark.parametrize(("at", "change", "sentence"), BAD)
def test_every_value_of_an_import_is_checked(store, other, tmp_path, at, change, sentence):
    _, path, _ = exported(store, tmp_path)
    told = lines(path)
    put(told[at], *change)
    with pytest.raises(ValueError, match=sentence) as refusal:
        import_runs(other, packed(told))
    assert str(refusal.value).startswith("Line ")
    assert len(str(refusal.value)) < 300
    assert other.find() == []


HEADER = {"format": "optimizer-explorer runs", "version": 1}


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ([], "Line 1 of the file is refused: it does not name the format"),
        ([{"format": "other"}], "does not name the format"),
        ([HEADER | {"version": 2}], "version = 2 is not known"),
        ([HEADER, b"{nonsense\n"], "Line 2 of the file is refused: it is not JSON"),
        ([HEADER, b'{"experiment": NaN}\n'], "NaN is not JSON"),
        ([HEADER, b"[" * 100_000 + b"\n"], "nested too deep|not JSON"),
        ([HEADER, b'{"a":' * 50_000 + b"1" + b"}" * 50_000], "nested too deep"),
        ([HEADER, b"9" * 5000], "."),
        ([HEADER, b"\xff\xfe\n"], "not JSON"),
        ([HEADER, []], "not an object"),
        ([HEADER, {"experiment": {}, "lane": {}}], "one of experiment, lane, epochs"),
        ([HEADER, {"code": "import os"}], "kind = \"code\""),
        ([HEADER, {"lane": {}}], "belongs to no experiment"),
        ([HEADER, {"epochs": {}}], "belongs to no experiment"),
        ([HEADER, {"experiment": 1}], "must be an object"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_by_the_line(other, told, sentence):
    with pytest.raises(ValueError, match=sentence):
        import_runs(other, packed(told))


def test_settings_nested_too_deep_are_refused(store, other, tmp_path):
    _, path, _ = exported(store, tmp_path)
    told = lines(path)
    deep = {}
    told[1]["experiment"]["settings"] = deep
    for _ in range(20):
        deep["a"] = deep = {}
    with pytest.raises(ValueError, match="nested deeper than 12 levels"):
        import_runs(other, packed(told))
    with pytest.raises(ValueError, match="must be plain JSON, not set"):
        values.settings("settings", {"a": {1, 2}})


def test_files_that_are_no_exports(other, tmp_path):
    (tmp_path / "x").write_bytes(b"PK\x03\x04 a zip file")
    for source in (tmp_path / "x", io.BytesIO(b"\x1f\x8b broken"), io.BytesIO(packed([HEADER]).getvalue()[:-9])):
        with pytest.raises(ValueError, match=r"cannot be unpacked|is refused"):
            import_runs(other, source)
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        import_runs(other, tmp_path / "not there")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        import_runs(other, tmp_path)


def test_bombs_are_refused_before_they_are_unpacked(other, monkeypatch):
    bomb = io.BytesIO(gzip.compress(json.dumps(HEADER).encode() + b"\n" + b" " * 200_000_000, compresslevel=1))
    with pytest.raises(ValueError, match="more than 16,777,216 bytes"):
        import_runs(other, bomb)
    monkeypatch.setattr(archive, "MOST_TEXT", 1_000_000)
    wide = io.BytesIO(gzip.compress(json.dumps(HEADER).encode() + b"\n" + b'{"lane": {}}\n' * 100_000))
    with pytest.raises(ValueError, match="belongs to no experiment"):
        import_runs(other, wide)
    many = io.BytesIO(gzip.compress((b" " * 70_000 + json.dumps(HEADER).encode() + b"\n") * 20))
    with pytest.raises(ValueError, match="is refused"):
        import_runs(other, many)
    monkeypatch.setattr(archive, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="100 are allowed"):
        import_runs(other, wide)


def test_what_stood_before_a_bad_line_has_been_taken_in(store, other, tmp_path):
    id, path, _ = exported(store, tmp_path)
    told = lines(path)
    broken = json.loads(json.dumps(told[1:]))
    broken[0]["experiment"]["id"] = "f" * 12
    broken[-1]["epochs"]["first"] = 3
    with pytest.raises(ValueError, match="first = 3"):
        import_runs(other, packed([*told, *broken]))
    assert [summary.id for summary in other.find()] == [id]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
PLACES = [(1, "experiment"), (2, "lane"), (3, "epochs")]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_stands_in_an_import_it_is_taken_in_or_refused_in_a_sentence(store, other, tmp_path, data):
    """One value anywhere replaced by any JSON."""
    if not hasattr(other, "told"):
        other.told = lines(exported(store, tmp_path)[1])
    told = json.loads(json.dumps(other.told))
    line = data.draw(st.integers(1, len(told) - 1))
    at, key = told[line], next(iter(told[line]))
    while data.draw(st.booleans()) and at[key] and isinstance(at[key], dict | list):
        at = at[key]
        key = data.draw(st.sampled_from(list(at) if isinstance(at, dict) else list(range(len(at)))))
    at[key] = data.draw(JSON)
    taken = []
    try:
        taken = import_runs(other, packed(told)).taken
    except ValueError as error:
        sentence = str(error)
    else:
        sentence = "Line "
    assert sentence.startswith("Line ")
    for id in taken:
        for lane in range(len(other.get(id).lanes)):
            other.history(id, lane)
        other.purge(id)


def test_nothing_in_the_store_unpickles():
    for path in Path(schema.__file__).parent.glob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"pickle", "eval", "exec", "marshal", "shelve", "PickleType"}, path
        assert "PickleType" not in path.read_text()
