"""`explorer bench`: who takes turns, and what is written down.  The figures themselves are nobody's test."""

import json

import pytest
import torch
from typer.testing import CliRunner

import explorer as ex
from explorer.cli import app
from explorer.cli.bench_steps import Still, added
from explorer.cli.timing import BLOCK, Row, in_turns
from explorer.training import Fleet

CPU = torch.device("cpu")


def test_contenders_take_turns_and_a_unit_is_a_part_of_a_call(monkeypatch):
    turns, now = [], [0.0]
    monkeypatch.setattr("explorer.cli.timing.time.perf_counter", lambda: now[0])

    def contender(name, seconds):
        def call():
            turns.append(name)
            now[0] += seconds

        return call

    rows = [Row(4, "a", 2, contender("a", BLOCK), units=10), Row(4, "b", 1, contender("b", 0.3 * BLOCK))]
    in_turns(rows, CPU, rounds=2)
    assert turns == ["a", "b", "b", "b", "b"] * 2
    assert rows[0].a_run * 1e-3 == pytest.approx(BLOCK / 10 / 2)
    assert rows[1].a_run * 1e-3 == pytest.approx(0.3 * BLOCK)


def test_rows_of_epochs(tmp_path):
    file = tmp_path / "rows.json"
    told = CliRunner().invoke(
        app, ["bench", "--device", "cpu", "--layers", "2", "--runs", "1,2", "--rounds", "1", "--json", str(file)]
    )
    assert told.exit_code == 0, told.output
    found = json.loads(file.read_text())
    assert [(row["name"], row["runs"]) for row in found["rows"]] == [
        ("plain PyTorch", 1), ("fleet R = 1", 1), ("fleet R = 2", 2),
    ]  # fmt: skip
    assert all(0 < row["a_run"] < 10_000 for row in found["rows"])


def test_rows_of_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(ex.optimizers, "names", lambda: ["adam", "shampoo"])
    file = tmp_path / "rows.json"
    arguments = ["--device", "cpu", "--layers", "2", "--runs", "1", "--rounds", "1", "--json", str(file)]
    told = CliRunner().invoke(app, ["bench", "--optimizers", *arguments])
    assert told.exit_code == 0, told.output
    took = {row["name"]: row["milliseconds"] for row in json.loads(file.read_text())["rows"]}
    assert list(took) == ["no optimizer", "adam, apart", "adam", "shampoo"]
    assert took["shampoo"] > took["no optimizer"]
    lines = {line.rpartition("  ")[0].split("  ")[0]: line.split() for line in told.output.splitlines()[2:]}
    assert float(lines["adam, apart"][-1]) == 1


def test_what_a_step_adds_is_the_median_difference():
    nothing, ours = (Row(4, "", 1, print, milliseconds=took) for took in ([1.0, 9.0, 2.0], [2.0, 12.0, 9.0]))
    assert added(ours, nothing) == 3


def test_a_still_fleet_trains_nothing():
    fleet = Still(ex.Challenge.preset("tig", num_hidden_layers=2, width=8), ex.optimizers.create("adam"), [0], "cpu")
    before = fleet.params.flat.clone()
    fleet.advance()
    assert torch.equal(fleet.params.flat, before)


def test_an_update_is_what_an_epoch_s_batches_do():
    challenge = ex.Challenge.preset("tig", num_hidden_layers=2, width=8, train_size=32, batch_size=32)
    whole, parts = (Fleet(challenge, ex.optimizers.create("muon"), [0, 1], "cpu") for _ in range(2))
    whole.advance()
    order = parts._shuffle(parts._now)[:, :, None]
    x, y = (side.gather(1, order.expand_as(side)) for side in (parts._train_inputs, parts._train_targets))
    parts.model.train_batch(parts.params, x, y, statistics=parts.params)
    parts.update()
    torch.testing.assert_close(parts.params.buffer, whole.params.buffer, rtol=0, atol=0)


@pytest.mark.parametrize(("interval", "epochs"), [(8, 1), (10, 5), (80, 10), (120, 15), (1000, 125)])
def test_a_cycle_is_the_epochs_from_a_refresh_to_the_next_at_the_same_batch(interval, epochs):
    challenge = ex.Challenge.preset("tig", num_hidden_layers=2, width=16)
    assert len(challenge.batches()) == 8
    fleet = Fleet(challenge, ex.optimizers.create("soap", interval=interval), 0, device="cpu")
    assert fleet._bound.cycle() == epochs
    fleet.state["taken"].fill_(1000 * interval)
    turn = fleet._bound.turn(fleet.state)
    fleet._bound.replayed(fleet.state, 8 * epochs)
    assert fleet._bound.turn(fleet.state) == turn == 0
