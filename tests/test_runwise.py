"""The network of a fleet on a CPU, run by run: its literal twin is the stacked one."""

import pytest
import torch
from twins import CPU, RUNS, agrees_with_stacked

import explorer as ex
from explorer.challenge import runwise
from explorer.challenge.model import StackedMLP
from explorer.challenge.runwise import RunwiseMLP
from explorer.training import Fleet

WIDE = ex.Challenge.preset("tig", num_hidden_layers=2, train_size=96, batch_size=32)
needs_onednn = pytest.mark.skipif(not runwise.supports(WIDE, CPU, "float32"), reason="torch was built without oneDNN")


@needs_onednn
@pytest.mark.parametrize(
    "fields",
    [
        {"num_hidden_layers": 3, "width": 64},
        {"num_hidden_layers": 2, "width": 40, "frozen_layers": 0, "gradient_reduction": "mean", "input_dims": 20},
        {"num_hidden_layers": 1, "width": 33, "frozen_layers": 0, "output_dims": 1},
    ],
)
@pytest.mark.parametrize("tracked", [True, False])
def test_a_batch_run_by_run_is_a_stacked_one(fields, tracked):
    agrees_with_stacked(lambda challenge: RunwiseMLP(challenge, RUNS, CPU), tracked, **fields)


@needs_onednn
def test_a_run_does_not_know_of_the_others():
    together, alone = (Fleet(WIDE, ex.optimizers.create("adam"), seeds, "cpu") for seeds in ([0, 1, 2], [1]))
    for fleet in (together, alone):
        assert isinstance(fleet.model, RunwiseMLP)
        for _ in range(3):
            fleet.advance()
    assert torch.equal(together.params.buffer[1:2], alone.params.buffer)


def test_where_onednn_is_missing_runs_are_stacked(monkeypatch):
    monkeypatch.setattr(runwise, "_linear", None)
    assert isinstance(Fleet(WIDE, ex.optimizers.create("adam"), [0], "cpu").model, StackedMLP)


@pytest.mark.parametrize(("width", "precision"), [(256, "float64"), (64, "float32")])
def test_other_precisions_and_narrow_layers_are_stacked(width, precision):
    fleet = Fleet(WIDE.replace(width=width), ex.optimizers.create("adam"), [0], "cpu", precision)
    assert isinstance(fleet.model, StackedMLP)
