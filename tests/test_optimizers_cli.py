"""The commands for people who write optimizers: new, check, tune."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from explorer.cli import check, new, tune


@pytest.fixture
def run(tmp_path, monkeypatch):
    app = typer.Typer()
    for module in (check, new, tune):
        app.command(module.__name__.rpartition(".")[2])(module.command)
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, words)


def test_a_new_file_passes_the_check(run, tmp_path):
    made = run("new", "my.py")
    assert made.exit_code == 0
    assert "explorer check my.py" in made.output
    assert "explorer train --plugin my.py" in (tmp_path / "my.py").read_text()
    checked = run("check", "my.py")
    assert checked.exit_code == 0, checked.output
    assert "my keeps the contract.  A step takes " in checked.output


def test_new_leaves_what_is_there(run, tmp_path):
    (tmp_path / "mine.py").write_text("x = 1")
    for word, sentence in [("mine.py", "is there already"), ("mine.txt", "must end in .py"), ("no/my.py", "cannot be")]:
        refused = run("new", word)
        assert refused.exit_code == 2
        assert sentence in refused.output
    assert (tmp_path / "mine.py").read_text() == "x = 1"


@pytest.mark.parametrize(
    ("last_lines", "sentence"),
    [
        (
            "    gradients[0].zero_()\n    return updates",
            "step wrote into the gradients it was given: linears.0.weight.",
        ),
        ("    return updates[1:]", "step raised ValueError: optimizer_step returned 25 tensors; there are 26"),
    ],
)
def test_check_says_what_is_broken(run, tmp_path, last_lines, sentence):
    run("new", "broken.py")
    path = tmp_path / "broken.py"
    path.write_text(path.read_text().replace("    return updates", last_lines))
    checked = run("check", "broken.py")
    assert checked.exit_code == 1
    assert sentence in checked.output


def test_check_refuses_what_is_no_optimizer(run):
    checked = run("check", "absent.py")
    assert checked.exit_code == 2
    assert "is not a Python file" in checked.output


def test_tune_gives_each_rate_the_same_runs_and_keeps_the_best(run, monkeypatch):
    monkeypatch.setattr(tune, "FACTORS", (1e-4, 1.0, 1e9))
    monkeypatch.setattr(tune, "GO_ON", 2)
    done = run("tune", "adam", "--layers", "2,3", "--seeds", "1000-1001", "--fresh", "3000", "--max-epochs", "25",
               "--device", "cpu")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["lr"] == found["default"]
    assert [len(scores) for scores in found["by_rate"].values()] == [2, 2, 1]
    assert set(found["tuned_on"]) == {"2", "3"}
    assert found["fresh"]["passed"].endswith("/1")
