"""A fleet that is frozen, thawed elsewhere and goes on, beside one that was never interrupted."""

import json
import pickle

import numpy as np
import pytest
import torch
from puppets import Descent

import explorer as ex
from explorer.optimizers import Optimizer
from explorer.records import LOSSES, Status
from explorer.training import continuation, freezing
from explorer.training.continuation import Checkpoints, describe, freeze, new_lane, remake, thaw
from explorer.training.fleet import Fleet

CHALLENGE = ex.Challenge.preset(
    "tig", num_hidden_layers=3, width=8, train_size=48, val_size=12, test_size=10, batch_size=16, num_features=8,
    max_epochs=40, patience=4,
)  # fmt: skip
SHELF = ex.optimizers.names()  # other tests may add plug-ins while these run
MODIFIED = [f"adam+{name}" for name in ex.optimizers.modifiers.names()]
ADAPTED = ["torch:SGD", "torch:AdamW", "torch:NAdam", "torch:Adafactor", "schedulefree:AdamWScheduleFree"]


def made(optimizer, challenge=CHALLENGE, **settings):
    return Fleet(challenge, optimizer, [3, 5], **({"device": "cpu", "precision": "float64"} | settings))


def trained(fleet, epochs):
    """Train on; the losses of these epochs, `[3, R, epochs]`, and how the runs stand."""
    for _ in range(epochs):
        fleet.advance()
    snapshot = fleet.snapshot()
    return np.array([getattr(snapshot, loss) for loss in LOSSES]), snapshot


def check_continued(optimizer, first=4, then=5, **settings):
    """`first` epochs, a checkpoint, `then` more in a new fleet, against the same in one go."""
    through = made(optimizer, **settings)
    whole, ended = trained(through, first + then)
    before = made(optimizer, **settings)
    trained(before, first)
    data = freeze(before)
    after = made(optimizer, **settings)
    thaw(data, after)
    losses, snapshot = trained(after, then)
    assert (snapshot.first_epoch, snapshot.epoch) == (first + 1, first + then)
    assert np.isfinite(whole[:, :, : first + 1]).any(axis=(0, 1)).all(), "there is something to compare"
    np.testing.assert_allclose(losses, whole[:, :, first:], rtol=1e-9, atol=0)
    assert snapshot.status == ended.status
    np.testing.assert_array_equal(snapshot.epochs, ended.epochs)
    np.testing.assert_array_equal(snapshot.best_epoch, ended.best_epoch)
    assert snapshot.seconds > before.seconds
    for kept, expected in ((after.params, through.params), (after.best, through.best)):
        torch.testing.assert_close(kept.buffer, expected.buffer, rtol=1e-9, atol=0, equal_nan=True)
    return before, after


@pytest.mark.parametrize("name", [*SHELF, *MODIFIED, *ADAPTED])
def test_every_optimizer_goes_on_as_if_nothing_had_been(name):
    optimizer = ex.optimizers.create(name)
    check_continued(ex.optimizers.create(name, lr=[optimizer.lr, optimizer.lr * 3]))


def test_runs_that_ended_before_and_after_stay_ended():
    """Two runs diverge early, the others stop early after the checkpoint."""
    challenge = CHALLENGE.replace(patience=5, frozen_layers=0)
    optimizer = Named(lr=[1e-12, 1e9])
    before, after = check_continued(optimizer, first=3, then=10, challenge=challenge)
    assert before.snapshot().status == (Status.RUNNING,) * 2 + (Status.DIVERGED,) * 2
    assert after.snapshot().status == (Status.EARLY_STOPPED,) * 2 + (Status.DIVERGED,) * 2
    assert after.snapshot().epochs.tolist()[2:] == before.snapshot().epochs.tolist()[2:]


def test_what_was_tuned_stays_tuned():
    fleet, other = made(ex.optimizers.create("adam")), made(ex.optimizers.create("adam"))
    trained(fleet, 2)
    fleet.tune(lr=0.03)
    thaw(freeze(fleet), other)
    np.testing.assert_array_equal(trained(other, 4)[0], trained(fleet, 4)[0])


class Named(Descent):
    """Gradient descent with a name, but not on the shelf."""

    key = "named"
    composed = True


class Listens(Named):
    """Steps that depend on the losses of the epoch before."""

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        scale = (1e-3 * (1 + 0.1 * epoch) * (train_loss + 3 * val_loss)).nan_to_num(1e-3)
        return [-g * scale.view(-1, *[1] * (g.dim() - 1)) for g in gradients]


def test_the_losses_that_an_optimizer_is_told_are_the_last_epoch_s():
    check_continued(Listens())


class Grows(Named):
    """A state of every kind that is allowed, some of it made later; two entries are one tensor until the third step."""

    def init_state(self, params, seed):
        shared = torch.zeros(2, dtype=torch.float64)
        return {
            "steps": 0,
            "one": shared,
            "other": shared,
            "chance": torch.Generator().manual_seed(4),
            "pair": (1, None),
        }

    def step(self, state, params, gradients, *others):
        state["steps"] += 1
        if state["steps"] == 3:
            state["later"] = {7: [params[0].clone().bool(), params.clone()], "word": "x", "share": 0.1}
            state["other"] = state["other"] + 1
        state["one"] += torch.rand(2, generator=state["chance"])
        scale = (state["one"] * 1e-3 - state["other"] * 1e-4).sum()
        return [-g * scale for g in gradients]


@pytest.mark.parametrize("epochs", [0, 1, 6])  # three steps an epoch
def test_states_of_every_kind(epochs):
    before, after = made(Grows()), made(Grows())
    trained(before, epochs)
    thaw(freeze(before), after)
    if epochs:
        assert after.state["later"][7][0].dtype is torch.bool
        assert type(after.state["later"][7][1]) is type(before.params)
        assert after.state["one"] is not after.state["other"]
        assert after.state["pair"] == (1, None)
    else:
        assert after.state["one"] is after.state["other"]
    np.testing.assert_array_equal(trained(after, 5)[0], trained(before, 5)[0])


class Holds(Named):
    thing = staticmethod(lambda: object())

    def init_state(self, params, seed):
        return {"deep": [self.thing()]}


@pytest.mark.parametrize("thing", [lambda: object(), lambda: lambda: 0, lambda: np.zeros(1), lambda: {(1, 2): 3}])
def test_what_cannot_be_written_is_named(thing):
    fleet = made(type("Holds", (Holds,), {"thing": staticmethod(thing)})())
    with pytest.raises(ValueError, match=r"could not be continued after an interruption: state\.deep\.0 holds a \w+"):
        freeze(fleet)


def test_an_adapted_optimizer_that_cannot_be_frozen_says_so():
    class Odd(torch.optim.SGD):
        def __init__(self, params, lr=0.1):
            super().__init__(params, lr=lr)
            self.hook = lambda: None

    fleet = made(ex.optimizers.create("torch:SGD"))
    fleet.state["instances"][1] = Odd(fleet.state["models"][1])
    with pytest.raises(ValueError, match=r"state\.instances\.1\.others\.hook holds a function"):
        freeze(fleet)


def test_a_checkpoint_fits_its_own_plan_only():
    data = freeze(made(ex.optimizers.create("adam")))
    with pytest.raises(ValueError, match=r"another experiment: it differs in hyperparameters\."):
        thaw(data, made(ex.optimizers.create("adam", lr=0.5)))
    with pytest.raises(ValueError, match="differs in optimizer, hyperparameters"):
        thaw(data, made(ex.optimizers.create("lion")))
    with pytest.raises(ValueError, match="differs in precision"):
        thaw(data, made(ex.optimizers.create("adam"), precision="float32"))
    with pytest.raises(ValueError, match="differs in challenge"):
        thaw(data, made(ex.optimizers.create("adam"), max_epochs=9))
    begun = made(ex.optimizers.create("adam"))
    begun.advance()
    with pytest.raises(ValueError, match="has begun already"):
        thaw(data, begun)
    other_score = Fleet(CHALLENGE.replace(accuracy_factor=500), ex.optimizers.create("adam"), [3, 5], "cpu", "float64")
    thaw(data, other_score)


def test_damage_is_noticed_and_pickles_are_never_loaded():
    fleet = made(ex.optimizers.create("adam"))
    data = freeze(fleet)
    header = int.from_bytes(data[:8], "little")
    for broken in (b"", data[:5], data[: 8 + header // 2], data[:-1], b"\xff" * 8 + data[8:], pickle.dumps(print)):
        with pytest.raises(ValueError, match="damaged"):
            thaw(broken, made(ex.optimizers.create("adam")))
    shorter = data.replace(b'"dict\\": [[\\"params', b'"list\\": [[\\"params')
    assert shorter != data
    with pytest.raises(ValueError, match="damaged"):
        thaw(shorter, made(ex.optimizers.create("adam")))
    assert b"pickle" not in data


def test_the_layout_is_that_of_a_safetensors_file():
    fleet = made(ex.optimizers.create("adam"))
    data = freeze(fleet)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    entry = header["params"]
    start, end = entry["data_offsets"]
    assert (entry["dtype"], length % 8) == ("F64", 0)
    numbers = np.frombuffer(data[8 + length + start : 8 + length + end]).reshape(entry["shape"])
    np.testing.assert_array_equal(numbers, fleet.params.buffer.numpy())
    assert all(isinstance(text, str) for text in header["__metadata__"].values())


def test_settings_come_back_as_they_were():
    optimizer = ex.optimizers.create("adam", ["clip", "cosine"], lr=[1e-3, 1e-2], clip_norm=2)
    told = json.loads(json.dumps(describe(CHALLENGE, optimizer), allow_nan=False))
    challenge, same = remake(told)
    assert challenge.values == CHALLENGE.values
    assert (type(same), same.values) == (type(optimizer), optimizer.values)
    lane = new_lane("one", CHALLENGE, optimizer, [3, 5])
    assert lane.runs == made(optimizer).runs
    assert remake(describe(CHALLENGE, ex.optimizers.create("torch:SGD")))[1].key == "torch:SGD"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"optimizer": "antigravity:fly"}, "is not loaded for a stored experiment"),
        ({"optimizer": "this.is:bad"}, "is not loaded for a stored experiment"),
        ({"optimizer": "nobody"}, "'nobody' is not known"),
        ({"optimizer": 3}, "not of an experiment"),
        ({"hyperparameters": {"lr": -1}}, "lr = -1 is not allowed"),
        ({"hyperparameters": {"lr": {"a": 1}}}, "is not allowed"),
        ({"hyperparameters": []}, "not of an experiment"),
        ({"challenge": {"width": 10**9}}, "width = 1000000000 is not allowed"),
        ({"challenge": {"__class__": 1}}, "is not a setting"),
        ({"challenge": {"width": [1]}}, "is not allowed"),
    ],
)
def test_strange_settings_are_refused(change, sentence):
    import sys

    with pytest.raises(ValueError, match=sentence):
        remake(describe(CHALLENGE, ex.optimizers.create("adam")) | change)
    assert "antigravity" not in sys.modules


def test_checkpoints_are_taken_now_and_then(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(continuation.time, "monotonic", lambda: clock[0])
    fleets = [made(ex.optimizers.create("adam")), made(ex.optimizers.create("lion"))]
    checkpoints = Checkpoints()
    assert checkpoints.offer(fleets) == []
    clock[0] += continuation.EVERY
    taken = checkpoints.offer(fleets)
    assert taken == [freeze(fleet) for fleet in fleets]
    clock[0] += continuation.EVERY - 0.1
    assert checkpoints.offer(fleets) == []
    clock[0] += 0.2
    assert len(checkpoints.offer(fleets)) == 2
    monkeypatch.setattr(continuation, "BYTES_PER_SECOND", sum(map(len, taken)) / 60)
    clock[0] += continuation.EVERY
    assert len(checkpoints.offer(fleets)) == 2
    clock[0] += 59
    assert checkpoints.offer(fleets) == [], "what is large is written more rarely"
    clock[0] += 2
    assert len(checkpoints.offer(fleets)) == 2


def test_checkpoints_that_cannot_be_taken_say_why(monkeypatch):
    fleet = made(ex.optimizers.create("adam"))
    checkpoints = Checkpoints()
    checkpoints._due = 0
    monkeypatch.setattr(continuation, "MOST", 1000)
    assert checkpoints.offer([fleet]) == []
    assert "MB are allowed" in checkpoints.refused
    assert freezing.size(continuation._memory(fleet)) < len(freeze(fleet))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["adam", "muon", "soap"])
def test_on_a_cuda_device_too(name):
    """Captured or not; the second half is the very same, for the same kernels run on the same numbers."""
    check_continued(ex.optimizers.create(name), device="cuda")


def test_the_harness_of_this_file_notices_a_lost_state(monkeypatch):
    real = continuation._memory
    monkeypatch.setattr(continuation, "_memory", lambda fleet: {k: v for k, v in real(fleet).items() if k != "state"})
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_continued(ex.optimizers.create("adam"))


def test_optimizers_keep_nothing_outside_their_state():
    """What is bound does not change as it trains: else a checkpoint would miss it.

    Which batch it is, and what is made in an epoch's first one, is new in every epoch.
    """

    def kept(bound):
        return {key: value for key, value in vars(bound).items() if key != "_batch" and not isinstance(value, dict)}

    for name in [*SHELF, *MODIFIED]:
        fleet = made(ex.optimizers.create(name))
        before = kept(fleet._bound)
        fleet.advance()
        assert kept(fleet._bound) == before
        assert isinstance(fleet._bound, Optimizer)
