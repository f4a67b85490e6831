"""The Triton kernels on a CPU, by Triton's interpreter: run by `test_fast_path.py` in a process of its own.

Each check compares with the plain torch code that the kernels stand for.
"""

import os

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

from unittest.mock import patch

import torch
from twins import CPU, RUNS, agrees_with_stacked, distance

import explorer as ex
from explorer.challenge.fused import FusedMLP, tiles
from explorer.challenge.model import StackedMLP, initialize
from explorer.cli.bench_steps import Apart
from explorer.optimizers.base import Elementwise
from explorer.training import Fleet
from explorer.training.fuse import Fused, Unfusable, fuse
from explorer.training.graph import tensors_of
from explorer.training.verdict import decide

SMALL = {"width": 16, "train_size": 60, "val_size": 20, "test_size": 20, "batch_size": 30}


def network(**fields):
    """A batch of 40 and an evaluation: the fused network's losses, gradients and statistics are the stacked one's."""
    agrees_with_stacked(lambda challenge: FusedMLP(challenge, RUNS, CPU, "float32"), **fields)


def elementwise(key):
    """Three steps of a fused optimizer are three plain steps: weights and memories; False where it is not fused."""
    layout = StackedMLP(ex.Challenge.preset("tig", num_hidden_layers=2, width=16), RUNS, CPU, torch.float32).layout
    optimizer = ex.optimizers.create(key)
    columns = {
        name: torch.full((RUNS,), float(getattr(optimizer, name)))
        for name in optimizer.fields()
        if optimizer.sweepable(name)
    }
    columns["lr"] *= torch.tensor([0.5, 1.0, 2.0])
    sides = []
    for _ in range(2):
        torch.manual_seed(0)
        params = layout.zeros(RUNS, CPU, torch.float32)
        params.flat.normal_()
        sides.append((params, optimizer.bind(columns).init_state(params, torch.arange(RUNS))))
    (plain, plain_state), (params, state) = sides
    memories, gradients = [state[name].flat for name in optimizer.memory], params.zeros_like()

    def move(p, g, t, *rest):
        bound = optimizer.bind(dict(zip(columns, rest[len(memories) :], strict=True)))
        p.add_(bound.rule(p, g, t.add_(1), *rest[: len(memories)]))

    try:
        fused = fuse(key, move, [params.flat, gradients.flat, state["t"], *memories, *columns.values()])
    except Unfusable:
        return False
    bound, told = optimizer.bind(columns), (torch.tensor(0), torch.zeros(RUNS), torch.zeros(RUNS))
    for scale in (0.1, 1, 10):
        gradients.flat.normal_().mul_(scale)
        plain.flat.add_(bound.step(plain_state, plain, gradients, *told).flat)
        fused()
    assert state["t"] == 3
    expected = [plain.flat, *(plain_state[name].flat for name in optimizer.memory)]
    for found, wanted in zip([params.flat, *memories], expected, strict=True):
        assert distance(found, wanted.double()) < 1e-6, key
    return True


def joined(key, **fields):
    """Two steps that move square weights where their gradients arise are two that write all gradients down first."""
    challenge = ex.Challenge.preset("tig", batch_size=64, **fields)
    optimizer = ex.optimizers.create(key)
    sides = []
    for join in (False, True):
        torch.manual_seed(0)
        net = FusedMLP(challenge, RUNS, CPU, "float32")
        net.tiles = tiles(64, "float32")
        params = net.layout.zeros(RUNS, CPU, torch.float32)
        initialize(challenge, params, torch.arange(RUNS))
        state = optimizer.init_state(params, torch.arange(RUNS))
        memories = [state[name].flat for name in optimizer.memory]

        def move(p, g, t, *rest):
            p.add_(optimizer.rule(p, g, t.add_(1), *rest))

        tensors = [params.flat, net.gradients.flat, state["t"], *memories]
        fused = fuse(key, move, tensors, net.join() if join else None)
        assert fused.joined == join
        for _ in range(2):
            x, y = torch.randn(RUNS, 40, challenge.input_dims), torch.randn(RUNS, 40, challenge.output_dims)
            net.train_batch(params, x, y, params, whole=not join)
            fused()
        squares = [net.gradients[2 * layer] for layer in range(1, 1 + net._square)]
        assert all(bool(square.any()) != join for square in squares)
        sides.append([params.flat, state["t"], *memories])
    for apart, together in zip(*sides, strict=True):
        assert distance(together, apart.double()) < 1e-6, key


def scheduled():
    """A fleet whose schedule, of its own in every run, scales a fused rule is one that goes operation by operation."""

    challenge = ex.Challenge.preset("tig", num_hidden_layers=2, **SMALL)
    optimizer = ex.optimizers.create("adamw", ["cosine:epochs=2,final=0.3"], lr=[1e-3, 3e-2])
    plain = Fleet(challenge, optimizer, [0], "cpu", "float64")
    with patch("explorer.training.moving.one_kernel", fuse):
        fused = Fleet(challenge, optimizer, [0], "cpu", "float64")
    for _ in range(3):
        plain.advance()
        fused.advance()
    assert distance(fused.params.flat, plain.params.flat) < 1e-9
    assert distance(fused.state["v"].flat, plain.state["v"].flat) < 1e-9


def fleets(challenge, optimizer):
    """Three fleets of the fused network, on a CPU, after three epochs: with the optimizer operation by operation, in
    kernels of its own, and where gradients arise."""

    def network(challenge, device, precision):
        def make(runs):
            net = FusedMLP(challenge, runs, device, precision)
            net.tiles = tiles(64, precision)
            return net

        return FusedMLP, make

    with patch("explorer.training.fleet._network", network):
        found = [Apart(challenge, optimizer, [0], "cpu")]
        with patch("explorer.training.moving.one_kernel", fuse):
            found += [kind(challenge, optimizer, [0], "cpu") for kind in (Apart, Fleet)]
    for fleet in found:
        for _ in range(3):
            fleet.advance()
    return found


def modified(key, modifiers):
    """Under modifiers that hand gradients on, a fleet that moves weights where these arise is one that does not."""
    challenge = ex.Challenge.preset("tig", num_hidden_layers=4, **SMALL)
    optimizer = ex.optimizers.create(key, modifiers, lr=[1e-3, 3e-3])
    assert optimizer.blind()
    _, apart, joined = fleets(challenge, optimizer)
    assert (apart._move.whole, joined._move.whole) == (True, False)
    assert distance(joined.params.buffer, apart.params.buffer.double()) < 1e-5


def uniform(key, modifiers=()):
    """A step of one rule for all weights, proposals and averages and all, is the same in kernels, apart and joined."""
    challenge = ex.Challenge.preset("tig", num_hidden_layers=4, restore_statistics=False, **SMALL)
    optimizer = ex.optimizers.create(key, modifiers, lr=[1e-3, 3e-3])
    assert optimizer.steps_uniformly()
    plain, *others = fleets(challenge, optimizer)
    assert plain._move._how == plain._move._by_updates
    for fleet in others:
        assert isinstance(fleet._move._how, Fused), key
        assert fleet._move.whole != fleet.joins
        ours, theirs = (tensors_of([one.params, one.state]) for one in (fleet, plain))
        for found, expected in zip(ours, theirs, strict=True):
            if expected.dtype.is_floating_point and expected.any():
                assert distance(found, expected.double()) < 1e-4, key


def verdict():
    """Ten epochs of one-kernel verdicts, with a run that diverges, are the plain function's to the last bit."""
    challenge = ex.Challenge.preset("tig", patience=3, max_epochs=9)

    def fresh():
        losses = [torch.full((7,), torch.nan) for _ in range(6)]
        counts = [torch.zeros(7, dtype=torch.int64) for _ in range(3)]
        ends = [torch.full((7,), torch.inf), torch.zeros(7, dtype=torch.bool)]
        return [torch.zeros((), dtype=torch.int64), *losses, *counts, *ends]

    def judge(now, *rest):
        decide(challenge, now, list(rest[:3]), list(rest[3:6]), *rest[6:])

    plain, fused = fresh(), fresh()
    once = fuse("verdict", judge, fused)
    torch.manual_seed(0)
    for epoch in range(10):
        for index in (1, 2, 3):
            loss = torch.rand(7)
            loss[1], loss[2], loss[3] = (torch.nan, torch.inf, 2e8) if epoch == 2 * index else loss[1:4]
            loss[4:] = 1 / (epoch + 1) if index == 2 else loss[4:]
            plain[index].copy_(loss)
            fused[index].copy_(loss)
        judge(*plain)
        once()
        for found, expected in zip(fused, plain, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    assert len(set(plain[7].tolist())) == 3  # early stopped, at the last epoch, diverged


def not_elementwise():
    """A sum over weights, a tensor that is seen twice, a look at a value and a remainder of integers are refused."""
    weights, count = torch.zeros(RUNS, 64), torch.ones((), dtype=torch.int64)

    def totals(w):
        w.div_(w.sum(dim=1, keepdim=True))

    def alias(w):
        row = w.view(w.shape)
        w.add_(1)
        row.add_(1)

    def looks(w, n):
        w.add_(n.item())

    def counts(w, n):
        w.add_(n % 2)

    for body, *tensors in ((totals, weights), (alias, weights), (looks, weights, count), (counts, weights, count)):
        try:
            fuse("refused", body, tensors)
        except Unfusable:
            continue
        raise AssertionError(body)


if __name__ == "__main__":
    torch.set_num_threads(1)
    network(num_hidden_layers=3, width=64)
    network(num_hidden_layers=2, width=40, frozen_layers=0, gradient_reduction="mean", input_dims=20, output_dims=3)
    network(num_hidden_layers=1, width=33, frozen_layers=0)
    shelf = [ex.optimizers.get(key) for key in ex.optimizers.names()]
    rules = [cls.key for cls in shelf if issubclass(cls, Elementwise) and cls.step is Elementwise.step]
    fused = {key for key in rules if elementwise(key)}
    assert fused >= {"sgd", "heavy_ball", "adam", "adamw", "lion", "rmsprop"}, fused
    joined("adam", num_hidden_layers=3, width=64)
    joined("adan", num_hidden_layers=4, width=40, frozen_layers=0)
    scheduled()
    modified("level_adam", [])
    modified("sgd", ["cosine:warmup=1", "plateau"])
    for key in ("ema_adamw", "lookahead_adamw", "sam_adamw", "schedule_free_sgd", "schedule_free_adamw"):
        uniform(key)
    uniform("lion", ["cosine:epochs=3", "ema"])
    verdict()
    not_elementwise()
    print("ok", len(fused))
