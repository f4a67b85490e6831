"""Modifiers and optimizers that propose, against libraries or literal loops around the plain optimizer."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import pytorch_optimizer
import schedulefree
import torch
from optimizer_harness import TRAINED, agree, bind, drive, per_run, slope, start, torch_run

import explorer as ex
from explorer import optimizers
from explorer.optimizers import Optimizer, modifiers
from explorer.optimizers.adam import Adam
from explorer.optimizers.modifiers import averages
from explorer.training import Fleet, moving
from explorer.training.graph import tensors_of

STEPS = 60
close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-11)


def trajectory(optimizer, runs=2, steps=STEPS):
    """Flat trained parameters `[steps, runs, n]` of the small fleet."""
    return torch.stack([params.flat.clone() for params, _ in drive(optimizer, start(runs), steps)])


def rates_seen(modify, epochs, val_loss=lambda epoch: math.nan, runs=1, **columns):
    """The factor on the learning rate by epoch `[epochs, runs]`, as plain descent's steps show it."""
    optimizer = bind(optimizers.create("sgd", modify=modify, lr=1.0), runs, **columns)
    params = start(runs)
    state = optimizer.init_state(params, torch.arange(runs))
    ones = params.zeros_like()
    ones.flat.fill_(1)
    filled = partial(torch.full, (runs,), dtype=torch.float64)
    factors = []
    for epoch in range(epochs):
        given = torch.tensor(epoch), filled(math.nan), filled(val_loss(epoch))
        for _batch in range(3):
            updates = optimizer.step(state, params, ones, *given)
        factors.append(-updates.flat[:, 0])
    return torch.stack(factors)


class TakesX:
    """A schedulefree reference optimizer, read at its average x."""

    def __init__(self, inner):
        self.inner, self.state = inner, inner.state
        inner.train()

    def step(self):
        self.inner.step()


def at_x(run):
    for _, memory in run:
        yield memory.pop("x"), memory


SHARED = {"lr": [1e-2, 3e-2, 0.1], "beta": [0.9, 0.8, 0.5], "warmup": [0.0, 10.0, 30.0],
          "weight_decay": [0.0, 0.1, 0.01], "r": [0.0, 1.0, 0.5], "weight_lr_power": [2.0, 1.0, 0.0]}  # fmt: skip


def test_schedule_free_sgd_agrees_with_its_authors():
    def make(model, beta, warmup, **rest):
        return TakesX(schedulefree.SGDScheduleFreeReference(model, momentum=beta, warmup_steps=warmup, **rest))

    references = [
        at_x(torch_run(partial(make, **values), run, STEPS, x="x", z="z")) for run, values in enumerate(per_run(SHARED))
    ]
    agree(optimizers.create("schedule_free_sgd"), references, SHARED, STEPS)


def test_schedule_free_adamw_agrees_with_its_authors():
    columns = SHARED | {"beta2": [0.999, 0.99, 0.9], "eps": [1e-8, 1e-3, 0.1]}

    def make(model, beta, beta2, warmup, **rest):
        reference = schedulefree.AdamWScheduleFreeReference
        return TakesX(reference(model, betas=(beta, beta2), warmup_steps=warmup, **rest))

    references = [
        at_x(torch_run(partial(make, **values), run, STEPS, x="x", z="z", v="exp_avg_sq"))
        for run, values in enumerate(per_run(columns))
    ]
    agree(optimizers.create("schedule_free_adamw"), references, columns, STEPS)


def test_ema_is_the_average_of_the_plain_run():
    fast = trajectory(bind(optimizers.create("adam", lr=1e-2), 2))
    average = start(2).flat.clone()
    decays = torch.tensor([[0.98], [0.5]], dtype=torch.float64)
    for found, weights in zip(
        trajectory(bind(optimizers.create("adam", "ema", lr=1e-2), 2, ema_decay=[0.98, 0.5])), fast, strict=True
    ):
        average = decays * average + (1 - decays) * weights
        close(found, average)


@pytest.mark.parametrize(("k", "every"), [(1, 1), (3, 4), (5, 8)])
def test_lawa_is_the_mean_of_the_last_checkpoints(k, every):
    fast = trajectory(bind(optimizers.create("adam", lr=1e-2), 2))
    text = f"lawa:checkpoints={k},every={every}"
    averaged = trajectory(bind(optimizers.create("adam", text, lr=1e-2), 2))
    for step, found in enumerate(averaged, start=1):
        taken = [fast[index - 1] for index in range(every, step + 1, every)][-k:]
        close(found, torch.stack(taken).mean(0) if taken else start(2).flat)


@pytest.mark.parametrize("every", [1, 2, 3, 4, 6])
def test_lawa_in_a_fleet_leaves_out_batches_without_a_checkpoint(every, monkeypatch):
    challenge = ex.Challenge.preset("brief", train_size=100, batch_size=28, restore_statistics=False)
    assert len(challenge.batches()) == 4

    def weights():
        fleet = Fleet(challenge, optimizers.create("adam", f"lawa:checkpoints=2,every={every}"), [1, 2], device="cpu")
        found = [fleet.advance() and fleet.params.buffer.clone() for _ in range(4)]
        asked = iter([False, True])
        assert not fleet.advance(lambda: next(asked))  # from here on epochs begin with another step
        return found + [fleet.advance() and fleet.params.buffer.clone() for _ in range(3)]

    left_out = weights()
    monkeypatch.setattr(averages, "gcd", lambda *_: 1)  # as if every batch could have one
    for found, expected in zip(left_out, weights(), strict=True):
        assert torch.equal(found, expected)
    assert not torch.equal(left_out[1], left_out[3])
    assert not torch.equal(left_out[4], left_out[6])


def test_lawa_counts_the_steps_of_a_captured_epoch():
    fleet = Fleet(ex.Challenge.preset("brief"), optimizers.create("soap", ["ema", "lawa"]), 1, device="cpu")
    counted = {name: fleet.state[name].clone() for name in ("taken", "lawa_taken")}
    fleet.advance()
    fleet._bound.replayed(counted, len(fleet.challenge.batches()))
    assert counted == {name: fleet.state[name] for name in counted}
    assert counted["lawa_taken"] > 0


def test_lookahead_agrees_with_the_library_where_it_synchronizes():
    def make(model):
        return pytorch_optimizer.Lookahead(torch.optim.SGD(model, lr=0.05), k=4, alpha=0.3, pullback_momentum="none")

    ours = drive(bind(optimizers.create("sgd", "lookahead:steps=4,share=0.3", lr=0.05), 1), start(1), STEPS)
    for step, ((params, state), (model, _)) in enumerate(zip(ours, torch_run(make, 0, STEPS), strict=True), start=1):
        for index, expected in zip(TRAINED, model, strict=True):
            close(state["lookahead_fast"][index][0], expected)
            if step % 4 == 0:
                close(params[index][0], expected)


def test_sam_takes_the_gradient_uphill_of_the_last_one():
    model = [start(1)[index][0].clone() for index in TRAINED]
    last = [torch.zeros_like(w) for w in model]
    for step, (params, _) in enumerate(
        drive(bind(optimizers.create("sgd", "sam:radius=0.2", lr=0.05), 1), start(1), STEPS)
    ):
        norm = math.sqrt(sum(float((g**2).sum()) for g in last)) or 1.0
        last = slope(step, 0, [w + 0.2 * g / norm for w, g in zip(model, last, strict=True)])
        model = [w - 0.05 * g for w, g in zip(model, last, strict=True)]
        for index, expected in zip(TRAINED, model, strict=True):
            close(params[index][0], expected)


def test_clipping_agrees_with_torch():
    def make(model):
        class Clipped(torch.optim.SGD):
            def step(self):
                torch.nn.utils.clip_grad_norm_(model, 3.0)
                super().step()

        return Clipped(model, lr=0.05)

    ours = drive(bind(optimizers.create("sgd", "clip:norm=3", lr=0.05), 1), start(1), STEPS)
    for (params, _), (model, _) in zip(ours, torch_run(make, 0, STEPS), strict=True):
        for index, expected in zip(TRAINED, model, strict=True):
            close(params[index][0], expected)


def test_weight_decay_around_adam_is_adamw():
    plain = trajectory(bind(optimizers.create("adamw", lr=1e-2), 2, weight_decay=[0.1, 0.0]))
    modified = trajectory(bind(optimizers.create("adam", "weight_decay", lr=1e-2), 2, weight_decay_rate=[0.1, 0.0]))
    close(modified, plain)


def test_layer_decay_grows_with_the_root_of_the_width_and_spares_vectors():
    optimizer = bind(optimizers.create("sgd", "layer_decay:rate=0.1,width=9", lr=0.5), 2)
    params = start(2)
    state = optimizer.init_state(params, torch.arange(2))
    nothing = torch.full((2,), math.nan, dtype=torch.float64)
    updates = optimizer.step(state, params, params.zeros_like(), torch.tensor(0), nothing, nothing)
    for slot, update, param in zip(params.layout.slots, updates, params, strict=True):
        share = math.sqrt(slot.shape[1] / 9) if len(slot.shape) == 2 and slot.trainable else 0
        close(update, -0.5 * 0.1 * share * param)


def test_schedules_follow_their_formulas():
    warm = [(epoch + 1) / 5 for epoch in range(4)]
    x = [min(1, max(0, (epoch - 4) / 16)) for epoch in range(30)]
    cosine = [min(1, (e + 1) / 5) * (0.1 + 0.9 * (1 + math.cos(math.pi * x[e])) / 2) for e in range(30)]
    linear = [min(1, (e + 1) / 5) * (1 - 0.9 * x[e]) for e in range(30)]
    inverse = [min(1, (e + 1) / 5) / math.sqrt(1 + max(0, e - 4) / 7) for e in range(30)]
    for text, expected in {
        "cosine:warmup=4,epochs=20,final=0.1": cosine,
        "linear:warmup=4,epochs=20,final=0.1": linear,
        "inverse_sqrt:warmup=4,timescale=7": inverse,
    }.items():
        found = rates_seen(text, 30)[:, 0]
        close(found, torch.tensor(expected, dtype=torch.float64))
        close(found[:4], torch.tensor(warm, dtype=torch.float64))
    cyclic = rates_seen("cyclic:period=10,low=0.2", 21)[:, 0]
    close(cyclic[[0, 5, 10, 15, 20]], torch.tensor([0.2, 1, 0.2, 1, 0.2], dtype=torch.float64))
    close(cyclic[:11], torch.tensor([0.2 + 0.8 * min(e, 10 - e) / 5 for e in range(11)], dtype=torch.float64))


def test_a_schedule_differs_by_run_and_scales_what_another_scaled():
    found = rates_seen("linear", 20, runs=2, linear_epochs=[10.0, 20.0], linear_final=[0.0, 0.5])
    close(found[10], torch.tensor([0.0, 0.75], dtype=torch.float64))
    both = rates_seen(["linear:epochs=10,final=0.5", "inverse_sqrt:timescale=3"], 20)
    product = rates_seen("linear:epochs=10,final=0.5", 20) * rates_seen("inverse_sqrt:timescale=3", 20)
    close(both, product)


def test_plateau_agrees_with_torch():
    def val_loss(epoch):
        return math.nan if epoch == 0 else max(0.5, 3 * 0.8**epoch) + 0.02 * math.sin(epoch)

    found = rates_seen("plateau:factor=0.5,patience=3,threshold=0.01", 60, val_loss)[:, 0]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3, threshold=0.01, eps=0)
    expected = [1.0]
    for epoch in range(1, 60):
        plateau.step(val_loss(epoch))
        expected.append(optimizer.param_groups[0]["lr"])
    close(found, torch.tensor(expected, dtype=torch.float64))
    assert found[-1] < 0.01


def test_every_rate_is_scaled():
    muon = optimizers.create("muon", modify="linear:epochs=10,final=0", lr=1.0, vector_lr=1.0)
    bound, params = bind(muon, 1), start(1)
    state = bound.init_state(params, torch.arange(1))
    nothing = torch.full((1,), math.nan, dtype=torch.float64)
    assert not bound.step(state, params, params, torch.tensor(10), nothing, nothing).flat.any()


def test_text_is_parsed_and_refused_with_sentences():
    assert modifiers.parse("cosine") == ("cosine", {})
    assert modifiers.parse(" lawa : checkpoints=3, every=2".replace(" : ", ":")) == (
        "lawa", {"lawa_checkpoints": 3, "lawa_every": 2},
    )  # fmt: skip
    for text, sentence in {
        "cosinus": "modifier = 'cosinus' is not known: it must be one of bessel, clip, cosine",
        "cosine:warm=1": "warm is not a setting of cosine; its settings are: warmup, epochs, final",
        "cosine:warmup": "is not understood",
        "cosine:final=2": "cosine_final = 2.0 is not allowed: it must be a number from 0 to 1",
        "clip:norm=-1": "clip_norm = -1.0 is not allowed",
    }.items():
        with pytest.raises(ValueError, match="^" + sentence if not sentence.startswith("is") else sentence):
            optimizers.create("adam", modify=text)
    for twice in (["ema", "ema"], ["cosine", "clip", "cosine:warmup=3"]):
        with pytest.raises(ValueError, match="has it already"):
            optimizers.create("adam", modify=twice)
    with pytest.raises(ValueError, match="has it already"):
        optimizers.create("ema_adamw", modify="ema")


def test_a_modified_optimizer_is_named_swept_and_made_again():
    optimizer = optimizers.create("adam", modify=["clip", "cosine:warmup=3"], clip_norm=[1.0, 2.0], lr=0.1)
    assert optimizer.key == "adam+clip+cosine"
    assert [point["clip_norm"] for point in optimizer.grid()] == [1.0, 2.0]
    again = optimizers.create(optimizer.key, **optimizer.values)
    assert type(again) is type(optimizer)
    assert again.values == optimizer.values
    assert optimizer.key not in optimizers.names()


def test_order_is_from_the_inside_out():
    """Decay around EMA pulls at the average, EMA around decay at the fast weights."""
    inside = trajectory(optimizers.create("sgd", modify=["weight_decay:rate=0.5", "ema:decay=0"], lr=0.05), runs=1)
    plain = trajectory(optimizers.create("sgd", modify=["weight_decay:rate=0.5"], lr=0.05), runs=1)
    outside = trajectory(optimizers.create("sgd", modify=["ema:decay=0", "weight_decay:rate=0.5"], lr=0.05), runs=1)
    close(inside, plain)
    assert (outside - plain).abs().max() > 1e-3


def test_two_averages_stack():
    """An average that keeps nothing changes nothing around another."""
    alone = trajectory(optimizers.create("adam", modify="lookahead:steps=3", lr=0.05), runs=1)
    around = optimizers.create(
        "adam", modify=["lookahead:steps=3", "ema:decay=0", "lawa:checkpoints=1,every=1"], lr=0.05
    )
    close(trajectory(around, runs=1), alone)


@pytest.mark.parametrize(
    "spec",
    ["adam+cosine:epochs=5", "sgd+linear:epochs=4+inverse_sqrt", "lion+cyclic:period=3+plateau:patience=0",
     "adamw+kinks+cosine:epochs=6+offset:wait=1", "adam+identity:layers=1+bessel:batch=40",
     "lamb+kinks", "lars+cosine:epochs=6", "adagrad_norm", "adadagrad", "adadagrad_norm+linear:epochs=4",
     "muon", "drop_muon+cosine:epochs=6", "polargrad", "shampoo", "soap+plateau:patience=0"],
)  # fmt: skip
@pytest.mark.parametrize("batch_size", [40, 1000])
def test_moving_in_place_is_stepping(spec, batch_size, monkeypatch):
    """Whole epochs with three batches, or one; two values of the learning rate, so that every factor is a run's own."""
    key, *modifiers = spec.split("+")
    challenge = ex.Challenge.preset(
        "tig", width=16, num_hidden_layers=3, train_size=100, val_size=30, test_size=30, batch_size=batch_size,
        max_epochs=16,
    )  # fmt: skip

    def trained():
        decay = {"weight_decay": 0.05} if "weight_decay" in optimizers.get(key).fields() else {}
        optimizer = optimizers.create(key, modifiers, lr=[1e-3, 4e-3], **decay)
        return ex.train(challenge, optimizer, [0, 1], "cpu", precision="float64").history

    moved = trained()
    assert optimizers.create(key, modifiers).moves()
    monkeypatch.setattr(Optimizer, "moves", classmethod(lambda kind: False))
    stepped = trained()
    for loss in ("train_loss", "val_loss", "test_loss"):
        np.testing.assert_allclose(moved[loss], stepped[loss], rtol=1e-9)


def test_a_stack_moves_in_place_only_where_each_of_it_can():
    assert optimizers.create("adam").moves()
    for key, around in (("schedule_free_sgd", ["kinks"]), ("adam", ["cosine", "clip"]), ("adam", ["clip", "cosine"])):
        assert not optimizers.create(key, around).moves()

    class Mine(Adam):
        def step(self, *told):
            return super().step(*told)

    assert not Mine.moves()


class AsOne:
    """What `fuse` would make: all weights of all layers as one tensor."""

    joined = False

    def __init__(self, name, body, tensors, join=None):
        self.body, self.tensors = body, tensors

    def __call__(self):
        self.body(*self.tensors)


@pytest.mark.parametrize(
    "spec",
    [*(name for name in optimizers.names() if optimizers.get(name).steps_uniformly()),
     "schedule_free_sgd+cosine:epochs=5", "lion+linear:epochs=4+ema", "adam+lookahead+plateau:patience=0+sam"],
)  # fmt: skip
def test_a_uniform_step_takes_all_weights_for_one_tensor(spec, monkeypatch):
    key, *modifiers = spec.split("+")
    challenge = ex.Challenge.preset(
        "tig", width=16, num_hidden_layers=3, train_size=100, batch_size=40, restore_statistics=False
    )
    optimizer = optimizers.create(key, modifiers, lr=[1e-3, 4e-3])
    assert optimizer.steps_uniformly()
    monkeypatch.setattr(Optimizer, "moves", classmethod(lambda kind: False))
    layers = Fleet(challenge, optimizer, [0, 1], "cpu", "float64")
    monkeypatch.setattr(moving, "one_kernel", AsOne)
    at_once = Fleet(challenge, optimizer, [0, 1], "cpu", "float64")
    assert isinstance(at_once._move._how, AsOne)
    for _ in range(3):
        layers.advance()
        at_once.advance()
    close(at_once.params.flat, layers.params.flat)
    for ours, theirs in zip(*(tensors_of(fleet.state) for fleet in (at_once, layers)), strict=True):
        close(ours, theirs)


def test_who_must_see_all_gradients_gets_them_written_down():
    for key, around in (("adam", []), ("sgd", ["cosine", "plateau"]), ("adam", ["kinks", "offset", "bessel"])):
        assert optimizers.create(key, around).blind()
    assert not optimizers.create("muon").blind()
    assert not optimizers.create("lamb", ["cosine"]).blind()

    class Mine(Adam):
        def move(self, *told):
            super().move(*told)

    assert not Mine.blind()


def test_what_is_not_said_to_be_uniform_is_not():
    for key, around in (("lamb", []), ("muon", []), ("adam", ["offset"]), ("adam", ["clip"]), ("adam", ["kinks"])):
        assert not optimizers.create(key, around).steps_uniformly()

    class Mine(optimizers.get("ema_adamw")):
        def step(self, *told):
            return super().step(*told)

    assert not Mine.steps_uniformly()
