"""Tournaments from the first unit to the last, in one process; what the command line makes of them."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from tournament_tiny import TINY, spec, toml
from typer.testing import CliRunner

import explorer as ex
from explorer.cli import app
from explorer.tournament import MEASURES, Store, Tournament, here, parse, timed, workloads

BOTH = {"rulesets": ["external", "self_tuning"], "self_tuning": {"studies": 2}}
EXACT = ["ruleset", "submission", "study", "workload", "kind", "trial", "hyperparameters", "epochs", "evaluations"]
"""What does not hang on the machine's pace."""


@pytest.fixture(autouse=True)
def run_store(tmp_path, monkeypatch):
    """The command line's own store, instead of a person's."""
    monkeypatch.setenv("EXPLORER_STORE", f"sqlite:///{tmp_path}/race.sqlite")


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tournament held in one go."""
    tournament = Tournament(parse(spec(**BOTH)), Store(tmp_path_factory.mktemp("race") / "race.sqlite"))
    assert np.isnan(tournament.left())
    for _ in tournament.play(here("cpu")):
        pass
    return tournament


def test_a_row_a_trial(finished):
    table = finished.table()
    assert len(table) == 2 * 2 * 2 * 2 + 2 * 2 * 2  # submissions, workloads, studies, and two trials or one
    assert table.groupby(["ruleset", "submission", "workload", "study"]).size().groupby("ruleset").max().to_dict() == {
        "external": 2,
        "self_tuning": 1,
    }
    assert set(json.loads(table.hyperparameters[0])) == {"lr"}
    missed = np.isinf(table.epochs)
    assert 0 < missed.sum() < len(table)
    assert (table.nearest[missed] > 1).all()
    assert (table.seconds[~missed] > 0).all()
    assert (table.evaluations == 2 * table.epochs).all()
    assert finished.left() == 0


@pytest.mark.parametrize("measure", MEASURES)
def test_scores_are_those_of_the_table(finished, measure):
    found = finished.scores(measure)
    plain = ex.scores(finished.table().assign(time_s=lambda rows: rows[measure]), baseline="sgd")
    pd.testing.assert_series_equal(found.benchmark, plain.benchmark)
    assert set(found.benchmark.index) == {(r, s) for r in ("external", "self_tuning") for s in ("adam", "sgd")}
    assert found.speedups["external", "sgd"] == pytest.approx(0, abs=1e-12)


def test_an_unknown_measure_is_a_sentence(finished):
    with pytest.raises(ValueError, match="measure = 'days' is not known: it must be one of seconds, epochs"):
        timed(finished.table(), "days")


def test_what_was_interrupted_goes_on(finished, tmp_path):
    """Stopped after five fleets, then in the middle of one; never twice the same fleet."""
    told = parse(spec(**BOTH))
    tournament = Tournament(told, Store(tmp_path / "race.sqlite"))
    trained = []
    for unit, _ in tournament.play(here("cpu")):
        trained.append(unit.key)
        if len(trained) == 5:
            break
    again = Tournament(told, Store(tmp_path / "race.sqlite"))
    assert [unit.key for unit in again.units if unit.key in again.outcomes] == trained
    countdown = iter(range(60))
    trained += [unit.key for unit, _ in again.play(here("cpu", lambda: next(countdown, None) is None))]
    assert 5 < len(trained) < len(again.units)
    last = Tournament(told, Store(tmp_path / "race.sqlite"))
    trained += [unit.key for unit, _ in last.play(here("cpu"))]
    assert trained == [unit.key for unit in finished.units]
    pd.testing.assert_frame_equal(last.table()[EXACT], finished.table()[EXACT])


def test_killed_and_told_again_the_table_is_the_same(finished, tmp_path):
    """`kill -9` while it trains: what was told as done is in the store, and the rest is done by the same command."""
    file = tmp_path / "race.toml"
    file.write_text(toml(spec(**BOTH)))
    command = [sys.executable, "-m", "explorer", "race", str(file), "--device", "cpu"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("   4/"):
                os.kill(running.pid, signal.SIGKILL)
                break
        running.stdout.read()
    held = Tournament(parse(spec(**BOTH)), Store(tmp_path / "race.sqlite"))
    assert 4 <= len(held.outcomes) < len(held.units)
    done = invoke("race", file, "--device", "cpu", "--json", "-")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    table = pd.DataFrame(told["table"])
    table["epochs"], table["evaluations"] = table.epochs.fillna(np.inf), table.evaluations.fillna(np.inf)
    pd.testing.assert_frame_equal(table[EXACT], finished.table()[EXACT])
    assert told["finished"]


def test_the_command_tells_scores_and_writes_them(finished, tmp_path):
    file = tmp_path / "race.toml"
    file.write_text(toml(spec(**BOTH)))
    done = invoke("race", file, "--device", "cpu", "--json", tmp_path / "found.json")
    assert done.exit_code == 0, done.output
    assert "16 fleets, 0 of them done before" in done.stdout
    assert " 16/16  sgd on u_noise, self_tuning, study 1: missed" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    benchmark = finished.scores("epochs").benchmark
    rows = found["epochs"]["scores"]
    assert {(row["ruleset"], row["submission"]): row["benchmark"] for row in rows} == pytest.approx(benchmark.to_dict())
    assert all(row["low"] <= row["benchmark"] + 1e-9 and row["benchmark"] <= row["high"] + 1e-9 for row in rows)
    again = invoke("race", file, "--device", "cpu")
    assert "16 fleets, 16 of them done before" in again.stdout
    assert "  1/16" not in again.stdout


def test_a_dry_run_trains_nothing(tmp_path):
    file = tmp_path / "race.toml"
    file.write_text(toml(spec()))
    done = invoke("race", file, "--dry", "--device", "cpu")
    assert done.exit_code == 0
    assert done.stdout.startswith("tiny: 8 fleets, 0 of them done before.\nAt most ")
    assert "8 fleets, 0 of them done before" in invoke("race", file, "--dry", "--device", "cpu").stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--device", "tpu"], "device = 'tpu' is not known"),
        (["--workers", "two"], "workers = 'two' is not allowed: it must be an integer from 1, or gpus"),
        (["--workers", "0"], "workers = 0 is not allowed"),
        (["--workers", "2", "--scheduler", "tcp://x"], "scheduler is not allowed with workers"),
        (["--store", "/dev/null/race.sqlite"], "The store at /dev/null/race.sqlite cannot be opened"),
        (["--json", "/nowhere/found.json"], "json = /nowhere/found.json cannot be written"),
    ],
)
def test_bad_arguments_are_sentences(tmp_path, arguments, sentence):
    file = tmp_path / "race.toml"
    file.write_text(toml(spec()))
    done = invoke("race", file, *arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr


def test_a_bad_spec_is_refused_before_anything_is_made(tmp_path):
    file = tmp_path / "race.toml"
    file.write_text(toml(spec(max_epochs=-1)))
    done = invoke("race", file)
    assert done.exit_code == 2
    assert "max_epochs = -1 is not allowed" in done.stderr
    assert [path for path in tmp_path.iterdir() if path != file] == []


def test_targets_are_made_by_a_command(tmp_path, monkeypatch):

    tiny = workloads.Workload("tig_tiny", "base", TINY, (1, 2, 3))
    monkeypatch.setitem(workloads._NAMED, "tig_tiny", tiny)
    rules = ["--instances", 3, "--trials", 1, "--reruns", 2, "--max-epochs", 3, "--device", "cpu"]
    files = ["--output", tmp_path / "targets.json", "--store", tmp_path / "made.sqlite"]
    began = time.monotonic()
    done = invoke("targets", "tig_tiny", *rules, *files)
    first = time.monotonic() - began
    assert done.exit_code == 0, done.output
    entry = json.loads((tmp_path / "targets.json").read_text())["tig_tiny"]
    assert len(entry["targets"]) == 3
    assert entry["rule"] == {"instances": 3, "trials": 1, "reruns": 2, "max_epochs": 3, "precision": "float32"}
    assert first < 60
    assert len(Store(tmp_path / "made.sqlite").get([])) == 0
    unknown = invoke("targets", "tig_3", *rules, *files)
    assert (unknown.exit_code, "workload = 'tig_3' is not known" in unknown.stderr) == (2, True)
