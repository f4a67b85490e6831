"""The network of a fleet on a CPU, run by run: its literal twin is the stacked one."""

import pytest
import torch

import explorer as ex
from explorer.challenge import runwise
from explorer.challenge.model import StackedMLP, initialize
from explorer.challenge.runwise import RunwiseMLP
from explorer.training import Fleet

RUNS, CPU = 3, torch.device("cpu")
WIDE = ex.Challenge.preset("tig", num_hidden_layers=2, train_size=96, batch_size=32)
needs_onednn = pytest.mark.skipif(not runwise.supports(WIDE, CPU, "float32"), reason="torch was built without oneDNN")


def distance(found, expected):
    """‖found − expected‖ / ‖expected‖."""
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


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
    challenge = ex.Challenge.preset("tig", batch_size=64, val_size=50, test_size=40, **fields)
    found = []
    for dtype in (torch.float64, torch.float32):
        torch.manual_seed(0)
        stacked = dtype is torch.float64
        network = StackedMLP(challenge, RUNS, CPU, dtype) if stacked else RunwiseMLP(challenge, RUNS, CPU)
        params = network.layout.zeros(RUNS, CPU, torch.float64)
        initialize(challenge, params, torch.arange(RUNS))
        params.flat.add_(0.05 * torch.randn_like(params.flat))
        params = type(params)(params.layout, params.buffer.to(dtype))
        x = torch.randn(RUNS, 90, challenge.input_dims, dtype=torch.float64).to(dtype)
        y = torch.randn(RUNS, 90, challenge.output_dims, dtype=torch.float64).to(dtype)
        # The last batch of 1000 samples in batches of 64 has 40.
        squared = network.train_batch(params, x[:, :40], y[:, :40], params if tracked else None)
        losses = torch.empty(2, RUNS, dtype=dtype)
        network.losses(params, x, y, losses)
        found.append([squared.sum(0), losses, params.buffer, *network.gradients])
    for plain, ours in zip(*found, strict=True):
        assert distance(ours, plain) < 1e-5 if plain.any() else not ours.any()


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
