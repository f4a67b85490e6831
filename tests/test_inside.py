"""The view inside a run: numbers computed another way, training undisturbed, and the heat maps without a server."""

import random
from dataclasses import replace
from types import SimpleNamespace

import holoviews as hv
import numpy as np
import pytest
import torch
from bokeh.models import ColumnDataSource
from puppets import Descent, Proposing
from reference import batch_order, harness_order, network

from explorer import Challenge, optimizers
from explorer.app.inside import InsidePanel
from explorer.app.runs import RunInput
from explorer.records import History, Phase, Run, Snapshot, Status
from explorer.records.inside import InsideSample
from explorer.training import Fleet
from explorer.training.graph import tensors_of
from explorer.training.inside import InsideLook, inside_sample
from explorer.training.rehearsal import duplicate
from explorer.views import inside as view

hv.extension("bokeh", logo=False)

SMALL = {"num_hidden_layers": 3, "width": 24, "train_size": 200, "batch_size": 64}
PRESETS = ["brief", "tig"]


def fleet_of(preset, optimizer, seeds=(3, 4), device="cpu", precision="float64", **settings):
    made = optimizers.create(optimizer) if isinstance(optimizer, str) else optimizer
    return Fleet(Challenge.preset(preset, **(SMALL | settings)), made, seeds, device, precision)


class Chancy(Descent):
    """Draws from every generator that a plug-in may draw from."""

    def step(self, state, params, gradients, *told):
        luck = random.random() + np.random.random() + torch.rand(())  # noqa: NPY002
        return [update * luck for update in super().step(state, params, gradients, *told)]


class Secretive(Descent):
    """Keeps something in its state that cannot be copied."""

    def init_state(self, params, seed):
        return {"steps": (step for step in range(1000))}

    def step(self, state, *arguments):
        next(state["steps"])
        return super().step(state, *arguments)


# Training goes on as if nobody had looked --------------------------------------------------------------------------


def looked_at_and_not(preset, make, device="cpu", precision="float64", epochs=4):
    """Two fleets, one sampled before every epoch and after the last; both from the same random state."""
    fleets = []
    for looks in (True, False):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        fleet = fleet_of(preset, make(), device=device, precision=precision)
        for _ in range(epochs):
            if looks:
                inside_sample(fleet, 1)
            fleet.advance()
        if looks:
            inside_sample(fleet, 0)
        fleets.append(fleet)
    return fleets


def assert_same(looked, alone):
    for name in ("params", "best"):
        assert torch.equal(getattr(looked, name).buffer, getattr(alone, name).buffer), name
    ours, theirs = (list(tensors_of(fleet.state)) for fleet in (looked, alone))
    assert len(ours) == len(theirs)
    assert all(map(torch.equal, ours, theirs))
    ours, theirs = looked.snapshot(), alone.snapshot()
    for name in ("train_loss", "val_loss", "test_loss", "best_epoch"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


KEYS = ["adam", "sgd", "muon", "soap", "schedule_free_adamw", "adam+ema", "adam+lookahead"]
ADAPTED = ["torch:NAdam", "torch:RMSprop", "schedulefree:AdamWScheduleFree", "pytorch_optimizer:AdaBelief"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("key", [*KEYS, *ADAPTED, Chancy, Proposing, Secretive])
def test_looking_changes_nothing(preset, key):
    looked, alone = looked_at_and_not(preset, lambda: optimizers.create(key) if isinstance(key, str) else key(lr=1e-6))
    assert_same(looked, alone)


@pytest.mark.gpu
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("key", ["adam", "muon", "schedule_free_adamw", "soap"])
def test_looking_changes_nothing_under_a_captured_graph(preset, key):
    looked, alone = looked_at_and_not(preset, lambda: optimizers.create(key), "cuda", "float32")
    assert looked.captured
    assert_same(looked, alone)
    places = [tensor.data_ptr() for tensor in (looked.params.buffer, *tensors_of(looked.state))]
    inside_sample(looked, 0)
    assert places == [tensor.data_ptr() for tensor in (looked.params.buffer, *tensors_of(looked.state))]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("key", [*KEYS, *ADAPTED])
def test_a_rehearsal_says_what_the_next_batch_does(preset, key):
    fleet = fleet_of(preset, key, batch_size=200)
    for _ in range(2):  # SOAP's first step only measures
        fleet.advance()
    told = fleet.rehearse()
    before = fleet.params.clone()
    assert torch.equal(told.weights.buffer, before.buffer)
    fleet.advance()
    assert (told.proposal is not None) == fleet.optimizer.proposes
    torch.testing.assert_close(told.gradients.flat, fleet.model.gradients.flat, rtol=1e-9, atol=1e-12)
    moved = [after - was for after, was in zip(fleet.params, before, strict=True)]
    for name, update, change, on in zip(before.names, told.updates, moved, before.trainable, strict=True):
        if on:
            torch.testing.assert_close(update, change, rtol=1e-9, atol=1e-12, msg=name)


def test_a_copied_state_shares_nothing_and_keeps_what_an_optimizer_has_on_itself():
    class Own(torch.optim.SGD):
        def __init__(self, parameters):
            super().__init__(parameters, lr=0.1)
            self.history = [1.0]

    model = [torch.nn.Parameter(torch.ones(3))]
    state = {"instances": [Own(model)], "models": [model], "t": torch.zeros(())}
    copy = duplicate(state)
    (original,), (copied,) = state["instances"], copy["instances"]
    copied.history.append(2.0)
    copy["models"][0][0].grad = torch.ones(3)
    copied.step()
    assert original.history == [1.0]
    assert model[0].tolist() == [1, 1, 1]
    assert copy["models"][0][0].tolist() == pytest.approx([0.9] * 3)


# Numbers computed another way --------------------------------------------------------------------------------------


def literal(fleet, run):
    """Of one run, with torch.nn and autograd: gradients of the next first batch, weights, and hidden ReLUs."""
    challenge, seed = fleet.challenge, fleet.runs[run].seed
    model = network(challenge)
    for tensor, ours in zip(harness_order(model), fleet.params, strict=True):
        tensor.copy_(ours[run])
    dataset = fleet.datasets[seed]
    x, y = torch.tensor(dataset.train.inputs), torch.tensor(dataset.train.targets)
    rows = batch_order(seed, fleet.epoch, challenge.train_size)[: challenge.batch_size]
    relus = []
    model.eval()
    for module in model:
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_hook(lambda module, inputs, output: relus.append(output.detach().numpy()))
    model(x)
    model.train()
    error = (model(x[rows]) - y[rows]) ** 2
    (error.mean() if challenge.gradient_reduction == "mean" else error.sum()).backward()
    linears = [module for module in model if isinstance(module, torch.nn.Linear)]
    weights = [linear.weight.detach().numpy() for linear in linears]
    gradients = [None if linear.weight.grad is None else linear.weight.grad.numpy() for linear in linears]
    norms = [module.weight.detach().numpy() for module in model if isinstance(module, torch.nn.BatchNorm1d)]
    return weights, gradients, relus[: challenge.num_hidden_layers], norms


def effective_rank(matrix):
    values = np.linalg.svd(matrix, compute_uv=False)
    share = values / values.sum()
    share = share[share > 0]
    return np.exp(-(share * np.log(share)).sum())


def with_dead_units(fleet, run, layer, count):
    """Push `count` units of a hidden layer so far down that no sample brings them up."""
    place = fleet.params.names.index(f"linears.{layer}.bias")
    fleet.params[place][run, :count] = -100
    place = fleet.params.names.index(f"norms.{layer}.weight")
    fleet.params[place][run].mul_(-1.5)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_sample_is_what_weights_and_gradients_say(preset):
    lr = 1e-5
    fleet = fleet_of(preset, optimizers.create("sgd", lr=lr, momentum=0))
    for _ in range(3):
        fleet.advance()
    with_dead_units(fleet, 1, 1, 7)
    sample = inside_sample(fleet, 1, generation=5, lane=2)
    weights, gradients, relus, norms = literal(fleet, 1)
    hidden, frozen = fleet.challenge.num_hidden_layers, fleet.challenge.frozen_layers
    assert (sample.generation, sample.lane, sample.run, sample.epoch) == (5, 2, 1, 3)
    assert sample.layers == ("1", "2", "3", "out")
    assert sample.frozen == (False,) * (hidden + 1 - frozen) + (True,) * frozen
    length = [np.linalg.norm(gradient) if gradient is not None else np.nan for gradient in gradients]
    size = [np.linalg.norm(weight) for weight in weights]
    np.testing.assert_allclose(sample.gradient_norm, length, rtol=1e-7)
    np.testing.assert_allclose(sample.update_ratio, lr * np.array(length) / size, rtol=1e-7)
    np.testing.assert_allclose(sample.cosine, np.where(np.isnan(length), np.nan, 1), rtol=1e-12)
    dead = [np.mean(np.all(relu == 0, axis=0)) for relu in relus]
    assert dead[1] >= 7 / 24
    np.testing.assert_allclose(sample.dead_share, [*dead, np.nan], rtol=1e-12)
    np.testing.assert_allclose(sample.norm_scale, [*(np.abs(norm).mean() for norm in norms), np.nan], rtol=1e-12)
    np.testing.assert_allclose(sample.effective_rank, list(map(effective_rank, weights)), rtol=1e-5)
    np.testing.assert_allclose(sample.spectral_norm, [np.linalg.norm(weight, 2) for weight in weights], rtol=1e-9)
    assert np.isnan(sample.proposal_distance).all()
    assert sample.cost > 0


def test_the_cosine_of_adams_first_step_is_that_of_signs():
    """Adam's first update is −η·g/(|g| + ε), so the cosine is the mean of |g| over its root mean square."""
    fleet = fleet_of("brief", "adam")
    sample = inside_sample(fleet, 0)
    _, gradients, *_ = literal(fleet, 0)
    expected = [np.abs(g).mean() / np.sqrt(np.square(g).mean()) for g in gradients]
    np.testing.assert_allclose(sample.cosine, expected, rtol=1e-4)
    assert (sample.cosine < 0.95).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_proposal_is_as_far_as_the_state_says(preset):
    """Schedule-Free asks for gradients at y = (1 − β)z + βx, so ‖y − x‖ = (1 − β)‖z − x‖."""
    fleet = fleet_of(preset, "schedule_free_adamw")
    for _ in range(3):
        fleet.advance()
    sample = inside_sample(fleet, 1)
    assert np.isnan(sample.proposal_distance).tolist() == list(sample.frozen)
    for layer, found in enumerate(sample.proposal_distance[: -fleet.challenge.frozen_layers or None]):
        place = fleet.params.names.index(f"linears.{layer}.weight")
        z, x = fleet.state["z"][place][1], fleet.params[place][1]
        assert found == pytest.approx(0.1 * float((z - x).norm() / x.norm()), rel=1e-9, abs=1e-15)
    assert sample.proposal_distance[0] > 0


def test_a_run_that_is_not_there_is_the_last_and_a_look_has_defaults():
    fleet = fleet_of("tig", "adam")
    assert inside_sample(fleet, 99).run == 1
    assert InsideLook() == InsideLook(run=0, every=20)


def test_a_state_that_cannot_be_copied_leaves_updates_unknown():
    sample = inside_sample(fleet_of("tig", Secretive()), 0)
    assert np.isfinite(sample.gradient_norm[:2]).all()
    assert np.isfinite(sample.effective_rank).all()
    for unknown in (sample.update_ratio, sample.cosine, sample.proposal_distance):
        assert np.isnan(unknown).all()


def test_a_diverged_run_is_looked_at_without_an_error():
    fleet = fleet_of("tig", "adam")
    fleet.params.buffer[0].fill_(torch.nan)
    sample = inside_sample(fleet, 0)
    for values in (sample.gradient_norm, sample.dead_share, sample.norm_scale, sample.effective_rank):
        assert np.isnan(values).all()
    assert np.isfinite(inside_sample(fleet, 1).effective_rank).all()


# The heat maps -----------------------------------------------------------------------------------------------------


def look(epoch, layers=5, frozen=2, run=0, proposes=False):
    """A made-up look: frozen layers without gradients, the output layer without units."""
    rng = np.random.default_rng([epoch, layers, run])
    values = rng.uniform(0.01, 1, (8, layers))
    values[2] = 2 * values[2] - 1
    values[:3, layers - frozen :] = np.nan
    values[3:5, -1] = np.nan
    if not proposes:
        values[7] = np.nan
    names = (*(str(layer) for layer in range(1, layers)), "out")
    return InsideSample(1, 0, run, epoch, names, (False,) * (layers - frozen) + (True,) * frozen, *values, cost=0.02)


def rendered(samples, quantity, limit=1000, hooks=None):
    return hv.renderer("bokeh").get_plot(view.inside(samples, quantity, limit, hooks)).handles


def cells(table):
    """{(epoch, row): value}, each value once."""
    found = dict(zip(zip(table["left"], table["bottom"], strict=True), table["color"], strict=True))
    assert len(found) == len(table["color"])
    return found


def test_every_finite_value_has_its_cell():
    samples = [look(epoch) for epoch in range(0, 200, 10)]
    for quantity in view.QUANTITIES:
        expected = {
            (sample.epoch, row - 0.5): value
            for sample in samples
            for row, value in enumerate(getattr(sample, quantity))
            if np.isfinite(value)
        }
        table = view.columns(samples, quantity)
        assert cells(table) == expected
        assert (np.subtract(table["right"], table["left"]) == 10).all()
        assert (np.subtract(table["top"], table["bottom"]) == 1).all()
    table = view.columns(samples, "spectral_norm")
    assert table["layer"][:5] == ["1", "2", "3", "4 frozen", "out frozen"]
    assert not view.applies(samples, "proposal_distance")
    assert view.applies([look(0, proposes=True)], "proposal_distance")


def test_a_longer_history_only_appends():
    samples = [look(epoch) for epoch in range(0, 200, 10)]
    for quantity in view.QUANTITIES:
        before, after = view.columns(samples[:15], quantity), view.columns(samples, quantity)
        for name, values in before.items():
            assert after[name][: len(values)] == values


def test_an_absence_is_a_gap_and_a_thinned_past_is_wider():
    table = view.columns([look(epoch) for epoch in (0, 10, 20, 30, 230, 240)], "effective_rank")
    ends = dict(zip(table["left"], table["right"], strict=True))
    assert ends == {0: 10, 10: 20, 20: 30, 30: 30 + 10 * view.GAP, 230: 240, 240: 250}
    table = view.columns([look(epoch) for epoch in (0, 20, 40, 60, 70)], "effective_rank")
    assert dict(zip(table["left"], table["right"], strict=True)) == {0: 20, 20: 40, 40: 60, 60: 70, 70: 80}


def test_only_the_run_looked_at_last_is_shown_and_an_epoch_once():
    samples = [look(0), look(0, run=1), look(10, run=1), replace(look(10, run=1), spectral_norm=np.full(5, 7.0))]
    assert [(sample.run, sample.epoch) for sample in view.shown(samples)] == [(1, 0), (1, 10)]
    assert view.columns(view.shown(samples), "spectral_norm")["color"][-5:] == [7] * 5


@pytest.mark.parametrize("quantity", view.QUANTITIES)
@pytest.mark.parametrize("count", [0, 1, 100])
def test_the_map_draws_at_every_size(quantity, count):
    samples = [look(epoch, layers=21 if count == 100 else 5) for epoch in range(0, 10 * count, 10)]
    if count == 100:
        nothing = dict.fromkeys(view.QUANTITIES, np.full(21, np.nan))
        samples[50] = replace(samples[50], **nothing)
        samples[51] = replace(samples[51], **{quantity: np.full(21, np.inf)})
        samples[52] = replace(samples[52], **{quantity: np.zeros(21)})
    handles = rendered(samples, quantity)
    table, source = view.columns(samples, quantity), handles["cds"].data
    assert {name: list(values) for name, values in source.items()} == table  # nothing is sent twice
    assert handles["x_range"].end >= max(table["right"], default=0)
    (_, value), hover = handles["hover"].tooltips[-1], handles["hover"]
    assert value.split("}{")[0] + "}" in hover.formatters  # else Bokeh takes the format for another kind
    mapper = handles["color_color_mapper"]
    positive = [value for value in table["color"] if value > 0]
    assert mapper.low < mapper.high
    assert mapper.high >= max(positive, default=mapper.high)
    if view.QUANTITIES[quantity].scale == "diverging":
        assert mapper.low == -mapper.high
    elif view.QUANTITIES[quantity].scale == "log":
        assert type(mapper).__name__ == "LogColorMapper"
        assert mapper.low <= min(positive, default=mapper.low)
        assert len(handles["color_colorbar"].ticker.ticks) >= 2
    names = handles["yaxis"].major_label_overrides
    if count == 100:
        assert names[20] == "out frozen"
        assert len(names) <= view.LABELS
    assert list(handles["yaxis"].ticker.ticks) == list(names)


def test_one_step_of_next_to_nothing_leaves_the_other_colours():
    tiny = replace(look(10), update_ratio=np.full(5, 1e-30))
    shown = view.window([look(0), tiny], "update_ratio", 1000)
    assert shown.low > 0.99e-8 * shown.high
    assert view.log_ticks(0.1, 3) == [0.1, 0.2, 0.5, 1, 2]
    assert view.log_ticks(0.003, 0.2) == [0.003, 0.01, 0.03, 0.1]
    assert view.log_ticks(1e-8, 1) == pytest.approx([10.0**power for power in range(-8, 1)])


def test_the_caption_says_what_looking_cost():
    said = view.caption([look(0), look(10)], seed=7, spent=0.75, trained=30.0)
    assert "Run 0 (seed 7), 2 looks up to epoch 10" in said
    assert "0.750 s, 2.5 % of the training time" in said
    assert "%" not in view.caption([look(0)], seed=7, spent=0.1, trained=0.0)


# The panel ---------------------------------------------------------------------------------------------------------


def history(epochs, runs=2):
    grown = History([Run(seed, {}) for seed in range(runs)])
    end = np.full(runs, epochs)
    losses = [np.ones((runs, epochs))] * 3
    grown.append(Snapshot(1, Phase.RUNNING, 1, *losses, (Status.RUNNING,) * runs, end, end, 2.0, "CPU"))
    return grown


def sources(root):
    """The data sources of a rendered panel, by name."""
    return {source.name: source for source in root.select({"type": ColumnDataSource})}


def test_the_panel_streams_what_is_new(monkeypatch):
    challenge, asked = Challenge.preset("tig"), []
    panel = InsidePanel(lambda: asked.append(1), RunInput(lambda: None))
    session = SimpleNamespace(inside=[], history=None)
    root = panel.panel.get_root()
    panel.refresh(session, challenge)
    assert "Press Start" in panel._said.object
    assert not sources(root)

    samples = [look(epoch) for epoch in range(0, 300, 10)]
    session.inside, session.history = samples[:3], history(20)
    panel.refresh(session, challenge)
    found = sources(root)
    assert set(found) == {f"inside {quantity}" for quantity in view.QUANTITIES} - {"inside proposal_distance"}
    assert "3.0 % of the training time" in panel._said.object
    streamed = []
    real = ColumnDataSource.stream
    monkeypatch.setattr(ColumnDataSource, "stream", lambda self, data: (streamed.append(self.name), real(self, data)))
    for count in (4, 30, 12):  # one more, many more, and back, as a replay goes
        session.inside = samples[:count]
        panel.refresh(session, challenge)
        for quantity in ("cosine", "effective_rank"):
            data = {name: list(values) for name, values in found[f"inside {quantity}"].data.items()}
            assert data == view.columns(samples[:count], quantity)
    assert len(streamed) == 2 * len(found)

    session.inside = [look(epoch, layers=8, frozen=0, proposes=True) for epoch in range(0, 30, 10)]
    panel.refresh(session, challenge)
    assert "inside proposal_distance" in sources(root)
    session.inside = []
    panel.refresh(session, challenge)
    assert not any(drawn.panel.visible for drawn in panel._maps.values())
    assert asked == []


def test_the_panel_asks_for_a_run_and_an_interval():
    asked = []
    panel = InsidePanel(lambda: asked.append(1), RunInput(lambda: asked.append(1)))
    assert panel.look == InsideLook(0, 20)
    panel._run.take(3)
    panel._every.value = 50
    assert panel.look == InsideLook(3, 50)
    assert len(asked) == 2
