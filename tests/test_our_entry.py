"""Level Adam and its parts, each computed another way; and the command that compares optimizers pair by pair."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from optimizer_harness import TRAINED, bind, drive, slope, start
from typer.testing import CliRunner

import explorer as ex
from explorer import optimizers
from explorer.base.tensors import Tensors
from explorer.cli import compare
from explorer.optimizers import contract, modifiers
from explorer.optimizers.modifiers import network, offset
from explorer.optimizers.modifiers.clock import clock, tick

BATCHES = 4
SMALL = ex.Challenge.preset("tig", width=48)
NAN = torch.full((2,), math.nan, dtype=torch.float64)


def test_the_clock_knows_the_last_batch_from_the_second_epoch_on():
    state = clock("x", [torch.zeros(3, 2)])
    seen = [[tuple(map(bool, tick("x", state, torch.tensor(e)))) for _ in range(3)] for e in range(3)]
    assert seen[0] == [(False, False)] * 3
    assert seen[1] == seen[2] == [(True, False), (False, False), (False, True)]


def test_kinks_lie_in_the_cube_and_then_the_optimizer_goes_on():
    params = start(2)
    weights = params[0].clone()
    runs = drive(bind(optimizers.create("sgd", "kinks", lr=0.0), 2, kinks_range=[1.0, 3.0]), params, 3)
    next(runs)
    places = -params[1] / weights[:, :, 0]  # x where w x + b = 0, with one input
    assert (places.abs().amax(1) <= torch.tensor([1.0, 3.0])).all()
    assert places.unique().numel() == places.numel()
    bent = params[1].clone()
    next(runs)
    torch.testing.assert_close(params[1], bent)
    assert not torch.equal(bent, start(2)[1])


def test_layers_behind_the_first_start_as_the_identity_and_then_the_optimizer_goes_on():
    challenge = SMALL.replace(num_hidden_layers=6)
    fleets = [
        ex.training.Fleet(challenge, optimizers.create("sgd", modify, lr=1e-9), [0, 1], "cpu")
        for modify in ([], ["identity:layers=2,lift=4"])
    ]
    for fleet in fleets:
        fleet.advance()
    plain, ours = (fleet.params for fleet in fleets)
    eye = torch.eye(48).expand(2, -1, -1)
    for layer in range(7):
        weight, bias = ours[2 * layer], ours[2 * layer + 1]
        if 2 <= layer < 5:  # the last hidden layer and the read-out are frozen
            torch.testing.assert_close(weight, eye, rtol=0, atol=1e-3)
            torch.testing.assert_close(bias, torch.full_like(bias, 4))
        else:
            torch.testing.assert_close(weight, plain[2 * layer], rtol=0, atol=1e-3)
    before = ours[4].clone()
    fleets[1].advance()
    assert 0 < (ours[4] - before).abs().max() < 1e-3


def test_an_identity_hands_on_what_it_gets():
    """The function of a deep network with such a start is that of the shallow one with the same layers around it."""
    deep = SMALL.replace(num_hidden_layers=5)
    fleet = ex.training.Fleet(deep, optimizers.create("sgd", "identity:layers=2,lift=5", lr=1e-9), [0], "cpu")
    short = ex.training.Fleet(
        SMALL.replace(num_hidden_layers=3), optimizers.create("sgd", lr=1e-9), [0], "cpu", max_epochs=100
    )
    fleet.advance()  # puts the layers there
    for theirs, ours in ((0, 0), (1, 1), (2, 4), (3, 5)):
        for part in (0, 1):
            short.params[2 * theirs + part].copy_(fleet.params[2 * ours + part])
    for _ in range(60):  # running statistics settle
        fleet.advance()
        short.advance()
    x = torch.linspace(-1, 1, 101)[None, :, None]
    ours, theirs = (of.model.evaluate(of.params, x) for of in (fleet, short))
    assert theirs.std() > 0.1
    assert (ours - theirs).std() < 0.1 * theirs.std()


@pytest.mark.parametrize("frozen", [0, 2])
def test_evaluation_sees_what_training_saw(frozen):
    """Where running statistics are one batch's own, kept as they are kept, outputs differ by Bessel's factor alone."""
    challenge = SMALL.replace(num_hidden_layers=6, frozen_layers=frozen, width=24)
    fleet = ex.training.Fleet(challenge, optimizers.create("sgd"), [0, 1, 2], "cpu", "float64")
    params = fleet.params
    for index in network.linears(params)[:-1]:
        params[index].mul_(1000)  # so that the batch norms' ε is nothing beside the variances
    inputs = torch.rand(3, 16, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    trained = in_training(params, inputs)
    plain = fleet.model.evaluate(params, inputs)
    ours = bind(optimizers.create("sgd", "bessel:batch=16", lr=1.0), 3)
    state, still = ours.init_state(params, torch.arange(3)), params.zeros_like()
    for epoch in range(2):
        for _ in range(BATCHES):
            params.flat.add_(ours.step(state, params, still, torch.tensor(epoch), NAN, NAN).flat)
    scales = [
        (of - of.mean(1, keepdim=True)).flatten(1).norm(dim=1)
        / (trained - trained.mean(1, keepdim=True)).flatten(1).norm(dim=1)
        for of in (plain, fleet.model.evaluate(params, inputs))
    ]
    assert (scales[0] < 0.95).all()
    torch.testing.assert_close(scales[1], torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-6)


def in_training(params, inputs):
    """The outputs `[R, B, O]` where every batch norm takes the batch's statistics, which become the running ones."""
    h, weights = inputs, network.linears(params)
    for index in weights[:-1]:
        h = torch.relu(h @ params[index].mT + params[index + 1][:, None])
        gamma, beta, mean, variance = params[network.norm(params, index) :][:4]
        mean.copy_(h.mean(1))
        variance.copy_(h.var(1))
        h = (h - mean[:, None]) / (h.var(1, correction=0, keepdim=True) + 1e-5).sqrt() * gamma[:, None] + beta[:, None]
    return h @ params[weights[-1]].mT + params[weights[-1] + 1][:, None]


def test_an_epoch_ends_with_the_average_and_trains_beside_it():
    """Two steps an epoch; plain descent on one run, written out."""
    γ, β, lr = 3.0, 0.6, 0.05
    y = [start(1)[index][0].clone() for index in TRAINED]
    z, x = [w.clone() for w in y], [w.clone() for w in y]
    run = drive(bind(optimizers.create("sgd", f"epoch_average:power={γ},pull={β}", lr=lr), 1), start(1), 12)
    for step, (params, _) in enumerate(run):
        g = slope(step, 0, y)
        c = (1 + γ) / (step + 1 + γ)
        z = [a - lr * b for a, b in zip(z, g, strict=True)]
        x = [(1 - c) * a + c * b for a, b in zip(x, z, strict=True)]
        ends = step % 2 == 1 and step > 2  # batches are counted in the first epoch
        y = x if ends else [(1 - β) * a + β * b for a, b in zip(z, x, strict=True)]
        for index, expected in zip(TRAINED, y, strict=True):
            torch.testing.assert_close(params[index][0], expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_the_shift_is_the_shortest(outputs):
    generator = torch.Generator().manual_seed(outputs)
    jacobian = torch.randn(3, outputs, 9, generator=generator, dtype=torch.float64)
    wanted = torch.randn(3, outputs, generator=generator, dtype=torch.float64)
    expected = (torch.linalg.pinv(jacobian) @ wanted[:, :, None])[:, :, 0]
    torch.testing.assert_close(offset.least(jacobian, wanted), expected)
    assert not offset.least(jacobian, torch.zeros_like(wanted)).any()


def steps(optimizer, epochs, val_loss):
    """Drive `optimizer` with gradients of 0.1 and BATCHES steps an epoch; yield the parameters after each step.

    val_loss: losses `[2]` of an epoch, given the state that was shown.
    """
    params = contract.layout().zeros(2, "cpu", torch.float64)
    params.buffer.uniform_(0.1, 1, generator=torch.Generator().manual_seed(0))
    gradients = params.zeros_like()
    gradients.flat.fill_(0.1)
    state, loss = optimizer.init_state(params, torch.arange(2)), NAN
    for epoch in range(epochs):
        for _ in range(BATCHES):
            params.flat.add_(optimizer.step(state, params, gradients, torch.tensor(epoch), loss, loss).flat)
            yield params, state
        loss = val_loss(state)


def test_the_offset_is_in_the_model_at_the_ends_of_epochs_alone():
    plain = steps(bind(optimizers.create("sgd", lr=0.1), 2), 9, lambda state: NAN)
    ours = bind(optimizers.create("sgd", "offset:wait=1,probe=0.5", lr=0.1), 2)
    shifted = 0
    for step, ((found, state), (expected, _)) in enumerate(
        zip(steps(ours, 9, lambda _: torch.ones(2)), plain, strict=True)
    ):
        place = network.norm(found, network.frozen_layers(found)[0] - 2) + 1
        assert found.names[place] == "norms.2.bias"
        change = found[place] - expected[place]
        torch.testing.assert_close(change, *state["offset_shift"])
        if step % BATCHES < BATCHES - 1:
            assert change.abs().max() < 1e-12
        shifted += bool(change.abs().max() > 1e-3)
        for index, name in enumerate(found.names):
            assert index == place or torch.equal(found[index], expected[index]), name
    assert shifted >= 4


def test_a_search_finds_the_means_from_losses_alone():
    """Two runs with means of their own; a loss that falls all the while; shifts that act with 1.3 of their strength."""
    means = torch.tensor([[0.7, -0.4], [-1.2, 0.05]], dtype=torch.float64)
    fall = iter(0.5 * 0.8**epoch for epoch in range(1000))

    def val_loss(state):
        shown = 1.3 * (state["offset_shown"] - state["offset_leak"])
        return next(fall) + 0.04 + (shown - means).square().mean(1)

    for _, state in steps(bind(optimizers.create("sgd", "offset:wait=3", lr=0.0), 2), 80, val_loss):  # noqa: B007
        pass
    torch.testing.assert_close(1.3 * state["offset_found"], means, rtol=0, atol=3e-3)


def test_what_running_means_have_seen_is_made_up_for():
    running, before = torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    ours = bind(optimizers.create("sgd", "offset:wait=2", lr=0.0), 2)
    for step, (_, state) in enumerate(steps(ours, 30, lambda state: state["offset_shown"].square().mean(1))):
        running = 0.9 * running + 0.1 * before  # what was in the model in this batch
        last = step % BATCHES == BATCHES - 1
        before = state["offset_shown"].clone() if last else torch.zeros_like(before)
        if last:
            torch.testing.assert_close(state["offset_leak"], running)
    assert running.any()


def test_where_the_last_layer_is_trained_nothing_is_done():
    challenge = SMALL.replace(frozen_layers=0)
    plain, ours = (
        ex.training.Fleet(challenge, optimizers.create("adam", modify), [0], "cpu", max_epochs=3)
        for modify in ([], ["offset:wait=1"])
    )
    for fleet in (plain, ours):
        for _ in range(3):
            fleet.advance()
    torch.testing.assert_close(ours.params.buffer, plain.params.buffer, rtol=1e-5, atol=1e-7)
    assert "offset_found" not in ours.state


def test_the_jacobian_tells_how_the_outputs_move():
    fleet = ex.training.Fleet(SMALL, optimizers.create("adam"), range(4), "cpu")
    for _ in range(8):
        fleet.advance()
    params = fleet.params
    frozen = network.frozen_layers(params)
    optimizer = bind(optimizers.create("adam", "offset"), 4, torch.float32)
    wanted = torch.tensor([0.3, -0.2]).expand(4, 2)
    moved = Tensors(params.layout, params.buffer.clone())
    moved[network.norm(params, frozen[0] - 2) + 1].add_(offset.least(optimizer._jacobian(params), wanted))
    x = torch.linspace(-1, 1, 201)[None, :, None].expand(4, -1, -1)
    change = (fleet.model.evaluate(moved, x) - fleet.model.evaluate(params, x)).mean(1)
    torch.testing.assert_close(change.mean(0), wanted[0], rtol=0.2, atol=0.02)


def test_the_entry_is_its_parts():
    names = ["cosine", "kinks", "identity", "bessel", "offset"]
    entry = optimizers.create("level_adam")
    parts = optimizers.create("adam", names, **{name: getattr(entry, name) for name in entry.fields()})
    for name in names:
        assert isinstance(entry, modifiers.get(name))
    for (ours, _), (theirs, _) in zip(drive(entry, start(2), 40), drive(parts, start(2), 40), strict=True):
        torch.testing.assert_close(ours.flat, theirs.flat, rtol=0, atol=0)
    assert entry.capturable
    assert not entry.proposes


def test_the_offset_lets_a_run_through_its_read_out_floor():
    """On an instance that the read-out floor hurts; a narrow network, which learns in seconds."""
    results = {
        name: ex.train(SMALL, optimizers.create(name, lr=1e-3, cosine_epochs=50), [1001], "cpu", max_epochs=60)
        for name in ("adam+cosine+kinks", "level_adam")
    }
    without, ours = (result.outcomes.iloc[0] for result in results.values())
    assert without.test_loss > 0.9 * without.readout_floor
    assert ours.test_loss < 0.75 * ours.readout_floor


def made_up(spec, ratios, curves, layers=4):
    return pd.DataFrame(
        {"spec": spec, "layers": layers, "seed": range(len(ratios)), "ratio": ratios, "distance": ratios,
         "quality": [1 - ratio / 8 for ratio in ratios], "test_loss": [min(curve) for curve in curves], "test": curves}
    )  # fmt: skip


def test_pairs_are_compared():
    theirs = made_up("a", [2.0, 4.0, 3.0], [[5.0, 3.0, 2.0], [9.0, 6.0, 4.0], [9.0, 3.0, 5.0]])
    ours = made_up("b", [1.0, 2.0, 3.0], [[2.0, 1.0, 1.0], [4.5, 4.0, 2.0], [3.0, 3.0, 3.0]])
    row = compare.paired(pd.concat([theirs, ours.iloc[::-1]]), "a").loc["b"]
    assert row.beside == pytest.approx((0.5 * 0.5 * 1.0) ** (1 / 3))
    assert row.ratio == pytest.approx(6 ** (1 / 3))
    assert row.mean_quality == pytest.approx(0.75)
    assert row.reach == pytest.approx(np.median([1 / 3, 2 / 3, 1 / 2]))
    assert 0.5 <= row.beside_low < row.beside < row.beside_high <= 1
    alone = compare.paired(pd.concat([theirs, ours]), "a").loc["a"]
    assert alone.beside == alone.beside_low == alone.reach == 1


def test_a_run_without_a_loss_is_not_left_out():
    theirs, ours = made_up("a", [2.0, 4.0], [[2.0], [4.0]]), made_up("b", [1.0, math.nan], [[1.0], [9.0]])
    row = compare.paired(pd.concat([theirs, ours]), "a").loc["b"]
    assert math.isnan(row.beside)
    assert row.mean_quality == pytest.approx((1 - 1 / 8 - 10) / 2)


def test_the_command_compares(tmp_path):
    app = typer.Typer()
    app.command()(compare.command)
    file = tmp_path / "runs.jsonl"
    common = ["--set", "width=8", "--seeds", "1000,1001", "--max-epochs", "3", "--device", "cpu"]
    found = CliRunner().invoke(app, ["adam", "adam:lr=0.1", *common, "--layers", "2,3", "--json", str(file)])
    assert found.exit_code == 0, found.output
    assert "all depths, adam:lr=0.1: ratio" in found.output
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["layers"], row["spec"], row["seed"]) for row in rows][:3] == [
        (2, "adam", 1000), (2, "adam", 1001), (2, "adam:lr=0.1", 1000),
    ]  # fmt: skip
    challenge = ex.Challenge.preset("tig", width=8, num_hidden_layers=3)
    kept = ex.train(challenge, optimizers.create("adam", lr=0.1), [1000, 1001], "cpu", max_epochs=3).outcomes
    assert [row["test_loss"] for row in rows[-2:]] == pytest.approx(kept.test_loss.tolist())
    refused = CliRunner().invoke(app, ["adam", "adam", *common])
    assert refused.exit_code == 2
    assert "twice" in refused.output
