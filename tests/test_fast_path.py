"""The fast paths against the portable one: CUDA graphs, Triton kernels, and what both rest on."""

import os
import subprocess
import sys
import time
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from twins import agree, distance, refreshing

import explorer as ex
from explorer.cli.bench_steps import Apart
from explorer.optimizers.base import Elementwise
from explorer.optimizers.products import MUON, POLAR_EXPRESS, polar
from explorer.records import Phase, Snapshot, Status
from explorer.training import Fleet, memory
from explorer.training.experiment import Started
from explorer.training.graph import tensors_of
from explorer.training.plan import Plan
from explorer.training.worker import Worker

SMALL = ex.Challenge.preset("tig", num_hidden_layers=3, width=16, train_size=64, batch_size=32, max_epochs=100)
ALL = ex.optimizers.names()


class ReadsOnHost(Exception):
    """What no CUDA graph can hold."""


class NoReads(TorchDispatchMode):
    """Raises where a value goes from a device to Python, or decides a shape."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero"}:
            raise ReadsOnHost(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("key", [key for key in ALL if ex.optimizers.get(key).capturable])
def test_an_optimizer_that_says_it_can_be_captured_reads_nothing_on_the_host_and_keeps_its_tensors(key):
    fleet = Fleet(SMALL, ex.optimizers.create(key), [0, 1], device="cpu")
    before = [tensor.data_ptr() for tensor in tensors_of(fleet.state)]
    fleet.advance()  # what is made once, on first use, is made while an epoch is rehearsed
    with NoReads():
        for _ in range(2):
            fleet.advance()
    assert [tensor.data_ptr() for tensor in tensors_of(fleet.state)] == before


@pytest.mark.parametrize("key", ["shampoo", "soap", "soap+cosine"])
def test_a_captured_epoch_leaves_the_host_where_an_uncaptured_one_does(key):
    fleet = Fleet(SMALL, ex.optimizers.create(key, interval=4), [0, 1], device="cpu")
    turns = []
    for _ in range(3):
        counted = fleet._bound.init_state(fleet.params, fleet._seed) | {"taken": fleet.state["taken"].clone()}
        fleet._bound.replayed(counted, len(SMALL.batches()))
        fleet.advance()
        turns.append(fleet._bound.turn(fleet.state))
        assert fleet._bound.turn(counted) == turns[-1]
    assert turns == [2, 0, 2]  # steps until the next refresh, where that is in the epoch


def test_an_epoch_that_is_given_up_voids_captured_ones(monkeypatch):
    monkeypatch.setattr("explorer.training.fleet.capture", lambda *given: lambda: None)
    fleet = Fleet(SMALL, ex.optimizers.create("soap", interval=6), [0, 1], device="cpu")
    fleet.captured = True
    while not fleet._launches:
        fleet.advance()
    assert fleet._bound.turn(fleet.state) not in fleet._launches  # the next goes kernel by kernel
    asked = iter([False, True])
    assert not fleet.advance(lambda: next(asked))
    assert not fleet._launches


def test_an_epoch_is_launched_from_where_it_begins_before_it_is_captured_from_there(monkeypatch):
    began = []

    def on_the_host(epoch, rehearse, touched, pool):
        began.append(fleet._bound.turn(fleet.state))
        assert rehearse is None

        def replay():
            taken = fleet.state["taken"].clone()
            epoch()
            fleet.state["taken"].copy_(taken)  # which a graph knows nothing of

        return replay

    monkeypatch.setattr("explorer.training.fleet.capture", on_the_host)
    fleet, eager = (Fleet(SMALL, ex.optimizers.create("soap", interval=6), [0, 1], device="cpu") for _ in range(2))
    fleet.captured = True
    turns = []
    for _ in range(8):
        turns.append(fleet._bound.turn(fleet.state))
        fleet.advance()
        eager.advance()
    assert turns == [-1, 2, 2, 0, 2, 2, 0, 2]
    assert began == [2, 0]
    assert torch.equal(fleet.params.buffer, eager.params.buffer)


def test_a_read_on_the_host_is_noticed():
    with NoReads(), pytest.raises(ReadsOnHost):
        torch.ones(1).item()


if find_spec("triton") is not None:

    def test_kernels_by_triton_s_interpreter():
        """Where Triton is installed; on a CUDA device the tests below run the kernels themselves."""
        script = Path(__file__).parent / "interpreted.py"
        environment = os.environ | {"PYTHONPATH": str(script.parents[1])}
        told = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
        assert told.returncode == 0, told.stderr[-2000:]
        assert told.stdout.startswith("ok")


def test_a_fleet_that_would_not_fit_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (memory.RESERVED + 10_500, 10**12))
    memory.check(100, 105, torch.device("cuda"))
    with pytest.raises(ValueError, match=r"106 runs are not allowed here: .* at most 105 would fit"):
        memory.check(100, 106, torch.device("cuda"))


def test_a_run_of_adam_is_estimated_above_its_tensors_and_below_twice_them():
    from explorer.challenge.model import StackedMLP

    fleet = Fleet(ex.Challenge.preset("tig"), ex.optimizers.create("adam"), 0, "cpu", "float64")
    held = [fleet.params, fleet.best, fleet.model.gradients, fleet.state, *fleet.model._rooms[128][0].whole[None]]
    tensors = sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(held))
    tensors += len(fleet.model._rooms[128]) * 128 * 256 * 8
    estimate = memory.bytes_a_run(fleet.challenge, fleet.optimizer, StackedMLP, torch.float64)
    assert tensors < estimate < 3 * tensors


# Chosen so that float32, on a card, run by run and stacked, agrees with float64 to 1e-5 after three epochs: with
# other seeds, or tig at its default depth, a ReLU that opens or not by a rounding error grows to a tenth, whoever
# computes it.
CASES = [
    ("brief", {"num_hidden_layers": 2, "width": 128}, "adam", {"lr": 1e-3}, 0, 2e-3),
    ("tig", {"num_hidden_layers": 2}, "adam", {"lr": 1e-3}, 0, 2e-3),
    ("tig", {"num_hidden_layers": 3, "width": 64}, "adam", {"lr": [1e-3, 1e-3]}, 26, 2e-3),
    ("brief", {}, "sgd", {"lr": 1e-2}, 4, 2e-4),
]


@pytest.mark.gpu
@pytest.mark.parametrize(("preset", "fields", "key", "hyperparameters", "seed", "tolerance"), CASES)
def test_three_epochs_on_a_graph_are_three_portable_ones(preset, fields, key, hyperparameters, seed, tolerance):
    challenge = ex.Challenge.preset(preset, **fields)
    fast, portable = (
        Fleet(challenge, ex.optimizers.create(key, **hyperparameters), [seed, seed + 1], device=device)
        for device in ("cuda", "cpu")
    )
    assert fast.captured
    assert type(fast.model).__name__ == "FusedMLP"
    for fleet in (fast, portable):
        for _ in range(3):
            fleet.advance()
    for found, expected in zip(fast.params, portable.params, strict=True):
        assert distance(found, expected) <= tolerance if expected.any() else not found.any()
    for found, expected in zip(tensors_of(fast.state), tensors_of(portable.state), strict=True):
        assert distance(found, expected) <= tolerance
    ours, theirs = fast.snapshot(), portable.snapshot()
    for loss in ("train_loss", "val_loss", "test_loss"):
        assert distance(torch.tensor(getattr(ours, loss)), torch.tensor(getattr(theirs, loss))) <= tolerance
    assert (ours.status, list(ours.best_epoch)) == (theirs.status, list(theirs.best_epoch))


@pytest.mark.gpu
@pytest.mark.parametrize("key", ALL)
def test_captured_epochs_are_the_uncaptured_ones_to_the_last_bit(key):
    challenge = ex.Challenge.preset("tig", num_hidden_layers=3, width=64)
    # Nine runs, for with more than eight weights may move where their gradients arise.
    optimizer = ex.optimizers.create(key, **refreshing(key, 10))
    captured, eager = (Fleet(challenge, optimizer, range(9), device="cuda") for _ in range(2))
    eager.captured = False
    for fleet in (captured, eager):
        for _ in range(14):  # each of the five places where an epoch of eight can begin among ten steps, seen twice
            fleet.advance()
    assert torch.equal(captured.params.buffer, eager.params.buffer)
    assert torch.equal(captured._losses, eager._losses)
    assert all(torch.equal(*both) for both in zip(*map(tensors_of, (captured.state, eager.state)), strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize(
    "key",
    ["sgd", "adam", "adan", "level_adam", "ema_adamw", "lookahead_adamw", "sam_adamw", "schedule_free_adamw"],
)
def test_weights_that_move_where_their_gradients_arise_go_the_same_way(key):
    challenge = ex.Challenge.preset("tig")
    joined, apart = (kind(challenge, ex.optimizers.create(key), range(16), device="cuda") for kind in (Fleet, Apart))
    assert (joined._move.whole, apart._move.whole) == (False, True)
    for fleet in (joined, apart):
        fleet.advance()
        fleet.advance()
    assert distance(joined.params.flat, apart.params.flat) < 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("key", [key for key in ALL if not issubclass(ex.optimizers.get(key), Elementwise)])
def test_what_is_put_off_comes_out_as_operation_by_operation(key, monkeypatch):
    challenge = ex.Challenge.preset("tig", width=32, num_hidden_layers=5, restore_statistics=False)
    optimizer = ex.optimizers.create(key, **refreshing(key, 4))
    put_off = Fleet(challenge, optimizer, range(3), device="cuda", precision="float64")
    put_off.advance()  # once: LARS makes 1e-11 of 1e-15 in one epoch, and 1e-2 in three
    monkeypatch.setattr("explorer.training.moving.deferring", lambda device: nullcontext())
    monkeypatch.setattr("explorer.training.moving.one_kernel", lambda *given: None)
    at_once = Fleet(challenge, optimizer, range(3), device="cuda", precision="float64")
    at_once.advance()
    agree(*(tensors_of([fleet.params, fleet.state]) for fleet in (put_off, at_once)), within=1e-8)


@pytest.mark.gpu
def test_matrix_kernels_are_as_exact_as_they_say(monkeypatch):
    from explorer.optimizers.kernels import matrices

    generator = torch.Generator("cuda").manual_seed(0)
    room = torch.randn(4, 300 * 256, device="cuda", generator=generator)
    g = room.as_strided((4, 1, 256, 256), (300 * 256, 1, 256, 1), 512)
    q = torch.randn(4, 1, 256, 256, device="cuda", generator=generator)
    assert distance(matrices.product(q.mT, g), q.double().mT @ g.double()) < 1e-5
    for side in (g, g.mT):
        left = torch.zeros_like(q)
        matrices.statistics(left, side, torch.ones(4, 1, device="cuda"), exact=True)
        assert distance(left, side.double() @ side.double().mT) < 5e-7
        assert torch.equal(left, left.mT)

    x = torch.randn(64, 256, 256, device="cuda", generator=generator) * 1e-6
    x[1] = 0
    narrow = x.bfloat16()
    for coefficients in (MUON, POLAR_EXPRESS):
        expected = polar(narrow.double(), coefficients)
        found = matrices.newton_schulz(narrow, coefficients)
        assert not found[1].any()
        with monkeypatch.context() as patched:
            patched.setattr(matrices, "takes", lambda shape: False)
            in_products = polar(x, coefficients)
        assert distance(found, expected) < 1.1 * distance(in_products, expected) < 0.02


@pytest.mark.gpu
def test_preparing_changes_nothing():
    fleet = Fleet(SMALL, ex.optimizers.create("adam"), range(9), device="cuda")
    everything = list(tensors_of([fleet.params, fleet.best, fleet.state, fleet._history, fleet._status, fleet._order]))
    before = [tensor.clone() for tensor in everything]
    assert not fleet.prepared
    fleet.prepare()
    assert fleet.prepared
    for now, then in zip(everything, before, strict=True):
        torch.testing.assert_close(now, then, rtol=0, atol=0, equal_nan=True)


@pytest.mark.gpu
def test_hyperparameters_change_under_a_captured_epoch():
    fleet = Fleet(SMALL, ex.optimizers.create("adam"), range(9), device="cuda")
    fleet.advance()
    before = fleet.params.flat.clone()
    fleet.tune(lr=0.0)
    fleet.advance()
    assert torch.equal(fleet.params.flat, before)
    fleet.tune(lr=1e-2)
    fleet.advance()
    assert not torch.equal(fleet.params.flat, before)


@pytest.mark.gpu
def test_tf32_is_near_float32_and_leaves_torch_s_switch_alone():
    challenge, before = ex.Challenge.preset("brief", num_hidden_layers=2), torch.backends.cuda.matmul.fp32_precision
    losses = []
    for precision in ("float32", "tf32"):
        fleet = Fleet(challenge, ex.optimizers.create("adam"), [0], device="cuda", precision=precision)
        fleet.advance()
        losses.append(torch.tensor(fleet.snapshot().train_loss))
    assert 0 < distance(*losses) < 1e-2
    assert torch.backends.cuda.matmul.fp32_precision == before


@pytest.mark.gpu
def test_what_cannot_be_captured_runs_uncaptured_and_says_so():
    optimizer = ex.optimizers.create("adam")
    optimizer.capturable = False
    fleet = Fleet(SMALL, optimizer, [0], device="cuda")
    fleet.advance()
    assert not fleet.captured
    assert "uncaptured" in fleet.snapshot().device


@pytest.mark.gpu
def test_a_worker_says_that_it_prepares_and_stops_at_once():
    worker, records = Worker(), []

    def until(condition):
        began = time.monotonic()
        while not any(map(condition, records)):
            assert time.monotonic() - began < 60, records[-3:]
            time.sleep(0.001)
            records.extend(worker.drain())
        return time.monotonic() - began

    challenge = ex.Challenge.preset("tig", num_hidden_layers=18, max_epochs=10000, patience=10000)
    worker.start(Plan.of(challenge, ex.optimizers.create("adam"), tuple(range(64)), device="cuda"))
    until(lambda record: isinstance(record, Snapshot) and record.epoch >= 20)
    phases = [record.phase for record in records if isinstance(record, Snapshot)]
    assert Phase.PREPARING in phases
    assert isinstance(records[0], Started)
    worker.stop()
    assert until(lambda record: isinstance(record, Snapshot) and record.phase is Phase.STOPPED) < 0.5
    assert worker.close()


@pytest.mark.gpu
def test_sixty_four_learning_rates_take_under_three_seconds_for_three_hundred_epochs():
    rates = torch.logspace(-5, -1, 64).tolist()
    challenge = ex.Challenge.preset("tig", max_epochs=300, patience=300)
    Fleet(challenge, ex.optimizers.create("adam", lr=rates), [0], device="cuda").prepare()  # compiles
    began = time.perf_counter()
    fleet = Fleet(challenge, ex.optimizers.create("adam", lr=rates), [0], device="cuda")
    for _ in range(300):
        fleet.advance()
    snapshot = fleet.snapshot()
    assert time.perf_counter() - began < 3
    assert set(snapshot.status) <= {Status.MAX_EPOCHS, Status.EARLY_STOPPED, Status.DIVERGED}
