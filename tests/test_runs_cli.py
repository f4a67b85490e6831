"""`explorer runs`, on a store that a real training has filled."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

import explorer as ex
from explorer.cli import app
from explorer.records import Instances
from explorer.records.store import Store
from explorer.training.continuation import new_lane
from explorer.training.fleet import Fleet
from explorer.training.survey import Survey

CHALLENGE = ex.Challenge.preset("tig", width=8, train_size=32, val_size=12, test_size=10, num_features=8, max_epochs=4)


def explorer(*arguments):
    return CliRunner().invoke(app, ["runs", *map(str, arguments)])


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("EXPLORER_STORE", f"sqlite:///{tmp_path}/store.db")
    store = Store()
    yield store
    store.close()


@pytest.fixture
def trained(store):
    """An experiment of two lanes, and what `explorer.train` says of the first."""
    optimizers = [ex.optimizers.create("adam", lr=[1e-3, 1e-2]), ex.optimizers.create("lion")]
    id = store.begin([new_lane(one.key, CHALLENGE, one, [3, 5]) for one in optimizers], {"seeds": [3, 5]}, "[red]two")
    for place, optimizer in enumerate(optimizers):
        fleet = Fleet(CHALLENGE, optimizer, [3, 5], "cpu")
        for _ in range(4):
            fleet.advance()
        store.append(id, place, fleet.snapshot())
        known = Survey(CHALLENGE, fleet.runs, fleet.datasets).complete()
        store.learn(id, Instances(**(vars(known) | {"lane": place})))
    store.finish(id, "finished")
    return id, ex.train(CHALLENGE, optimizers[0], [3, 5], "cpu")


def test_list(store, trained):
    id, result = trained
    done = explorer("list")
    assert done.exit_code == 0
    header, row = done.stdout.splitlines()
    assert header.split() == ["id", "began", "phase", "title", "runs", "epochs", "test/noise", "notes"]
    assert [row.split()[i] for i in (0, 3, 4, 5, 6)] == [id, "finished", "[red]two", "6", "4"]
    told = json.loads(explorer("list", "--json").stdout)
    ratio = (result.outcomes.test_loss / result.outcomes.noise_mse).mean()
    assert told[0]["lanes"][0]["ratio"] == pytest.approx(ratio)
    assert told[0]["lanes"][0]["statuses"] == {"max_epochs": 4}
    for arguments, found in (
        (["lion"], 1), (["muon"], 0), (["--phase", "finished"], 1), (["--phase", "failed"], 0), (["--pinned"], 0)
    ):  # fmt: skip
        assert len(json.loads(explorer("list", *arguments, "--json").stdout)) == found
    assert explorer("list", "muon").stdout == "Nothing was found.\n"
    bad = explorer("list", "--order", "x")
    assert bad.exit_code == 2
    assert "order = 'x' is not known" in bad.stderr


def test_show(trained):
    id, result = trained
    done = explorer("show", id[:5])
    assert done.exit_code == 0
    assert "[red]two" in done.stdout, "it is no markup"
    assert done.stdout.count("max_epochs") == 6
    told = json.loads(explorer("show", id, "--json").stdout)
    first = told["lanes"][0]
    assert first["settings"]["challenge"] == CHALLENGE.values
    assert first["settings"]["hyperparameters"]["lr"] == [1e-3, 1e-2]
    for name in ("train_loss", "val_loss", "test_loss"):
        np.testing.assert_array_equal(first["history"][name], result.history[name].values)
    for row, expected in zip(first["outcomes"], result.outcomes.to_dict("records"), strict=True):
        assert set(row) == set(expected)
        for name in ("seed", "lr", "status", "best_epoch", "test_loss", "alpha", "passed", "quality", "readout_floor"):
            assert row[name] == expected[name] or math.isclose(row[name], expected[name])


def test_an_experiment_of_unknown_settings_is_shown_all_the_same(store):
    id = store.begin([new_lane("x", CHALLENGE, ex.optimizers.create("adam"), [0])])
    with store._writing.begin() as connection:
        connection.exec_driver_sql("""UPDATE lanes SET settings = '{"optimizer": "of yesterday"}'""")
    done = explorer("show", id)
    assert done.exit_code == 0
    assert "0 epochs" in done.stdout


def test_notes_pins_and_deleting(store, trained):
    id, _ = trained
    assert explorer("note", id, "seen\nin class").exit_code == 0
    assert explorer("pin", id[:6]).exit_code == 0
    assert "pinned  [red]two" in explorer("list").stdout
    assert "seen in class" in explorer("list", "CLASS").stdout
    assert explorer("pin", id, "--off").exit_code == 0
    assert store.get(id).pinned is False
    done = explorer("delete", id)
    assert done.stdout == f"1 experiment deleted; to bring back: explorer runs delete --undo {id}\n"
    assert explorer("list").stdout == "Nothing is in the store yet.\n"
    assert id in explorer("list", "--deleted").stdout
    assert explorer("delete", "--undo", id).exit_code == 0
    assert id in explorer("list").stdout
    bad = explorer("note", id, "\x1b[31m")
    assert (bad.exit_code, bad.stderr.startswith("explorer: notes holds the control character")) == (2, True)
    assert explorer("show", "nope").stderr == "explorer: There is no experiment 'nope' in the store.\n"


def test_export_and_import(store, trained, tmp_path, monkeypatch):
    id, _ = trained
    file = tmp_path / "runs.jsonl.gz"
    assert explorer("export", file).stdout == f"1 experiment written to {file}.\n"
    assert explorer("export", file, id[:4]).exit_code == 0
    monkeypatch.setenv("EXPLORER_STORE", f"sqlite:///{tmp_path}/other.db")
    assert explorer("import", file).stdout == "1 experiment taken in, 0 known already.\n"
    assert explorer("import", file).stdout == "0 experiments taken in, 1 known already.\n"
    other = Store()
    np.testing.assert_array_equal(other.history(id, 0).losses, store.history(id, 0).losses)
    other.close()
    file.write_text("nonsense")
    bad = explorer("import", file)
    assert (bad.exit_code, "cannot be unpacked" in bad.stderr) == (2, True)
    assert explorer("import", tmp_path / "nothing").exit_code == 2


def test_a_store_that_cannot_be_opened_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "store.db").write_bytes(b"garbage" * 1000)
    monkeypatch.setenv("EXPLORER_STORE", f"sqlite:///{tmp_path}/store.db")
    done = explorer("list")
    assert done.exit_code == 2
    assert "is damaged" in done.stderr
