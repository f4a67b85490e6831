"""The Triton kernels on a CPU, by Triton's interpreter: run by `test_fast_path.py` in a process of its own.

Each check compares with the plain torch code that the kernels stand for.
"""

import os
from contextlib import nullcontext

os.environ["TRITON_INTERPRET"] = "1"  # before Triton is imported

from unittest.mock import patch

import torch
from twins import CPU, RUNS, agree, agrees_with_stacked, distance, refreshing

import explorer as ex
from explorer.challenge.fused import FusedMLP, tiles
from explorer.challenge.model import StackedMLP, initialize
from explorer.cli.bench_steps import Apart
from explorer.optimizers.base import Elementwise
from explorer.optimizers.kernels import matrices
from explorer.optimizers.products import MUON, polar
from explorer.training import Fleet, walks
from explorer.training.deferred import Deferring
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


def deferred(key, **values):
    """A fleet whose optimizer's operations are put off is one that does them at once: weights and state, float64."""
    challenge = ex.Challenge.preset("tig", num_hidden_layers=4, restore_statistics=False, **SMALL)
    sides = []
    for how in (lambda device: nullcontext(), Deferring):
        optimizer = ex.optimizers.create(key, lr=[1e-3, 3e-3], **values)
        # Few enough are few that these small matrices are many.
        with patch("explorer.training.moving.deferring", how), patch("explorer.training.deferred.FEW", 64):
            fleet = Fleet(challenge, optimizer, [0], "cpu", "float64")
            for _ in range(3):
                fleet.advance()
        sides.append([*tensors_of([fleet.params, fleet.state])])
    at_once, put_off = sides
    agree(put_off, at_once, 1e-9, key)


def put_off():
    """Code that is hard to put off comes out as it does at once; what nobody looks at is never stored."""

    def turned(a, b, n):
        a.mul_(2)
        c = a.mT + 1  # reads what is written, in another order
        a.mT.add_(c)
        return c, a.mT * b.mT

    def slices(a, b, n):
        a[:, :20].add_(1)
        a[:, 10:].mul_(b[:, 10:])
        a.index_fill_(0, torch.tensor([3]), 2.0)
        c = a * 3
        a.index_fill_(0, torch.tensor([4]), 5.0)  # which `c` must not see
        return c, a.sum(dim=1), torch.linalg.vector_norm(a, dim=1, keepdim=True), (a + 1)[:4]

    def number(a, b, n):
        c = a * n
        n.add_(1)
        d = a * n
        n.mul_(n)
        return c, d, a.lerp_(b, n / 100)

    def spread(a, b, n):
        c = b + a[:1]
        a.add_(1)
        d = c * a[:, :1]
        a[0].copy_(d[1])
        column = b[:, 0] * 2
        pairs = column[:, None] * b[:, :2]
        column.add_(pairs[:, 1])
        wide = b * (column + 1)[:, None].expand(32, 96)
        return c, d, column, pairs, wide, (column - 1)[:, None].expand(32, 96).sum(dim=1)

    def types(a, b, n):
        return a.double() / 3 + b, (a.double() / 3).float(), (a > b) & (b > 0), torch.where(a > 0, b, 0), n.long()

    def numbers(a, b, n):
        column, whole = b[:, 0] * 2, n.long()
        powers = column**4, column**-3, column**n, whole**4, torch.rsub(column, 2, alpha=3), ~whole
        return *powers, torch.logical_and(whole, whole - 1), (column > 0) + (column < 1), n.copy_(n)

    def orders(a, b, n):
        turned = b.mT.clone()
        flat = turned.flatten()  # a copy
        flat.index_fill_(0, torch.tensor([5]), 9.0)
        return turned, flat, (a.mT * 2).mT.view(-1)

    def given(a, b, n):
        out = torch.empty_like(a)
        torch.addcmul(a, a, b, out=out)
        return out, torch.sort(out * n, dim=1).values, (out @ b.mT).mul_(2)

    def rows(a, b, n):
        squares = (a * b).view(32, 6, 16).square()
        return squares.sum(dim=(1, 2)), torch.linalg.vector_norm(squares, dim=2), squares.flatten()[::2] + 1

    for body in (turned, slices, number, spread, types, numbers, orders, given, rows):
        sides = []
        for how in (nullcontext(), Deferring(CPU)):
            torch.manual_seed(0)
            tensors = [torch.randn(32, 96), torch.randn(32, 96), torch.full((), 3.0)]
            # Few enough are few, and blocks so small, that all that can happen does.
            with patch("explorer.training.deferred.FEW", 64), patch("explorer.training.walks.BLOCK", 64), how:
                results = body(*tensors)
            sides.append([*tensors, *results])
        for expected, found in zip(*sides, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, msg=f"{body.__name__}: {{}}".format)

    stores = []
    with patch.object(walks, "run", lambda walk, stored, total=None: stores.append(len(stored))), Deferring(CPU):
        a = torch.zeros(80, 80)
        b = (a + 1).exp().mul_(2).sqrt()
        del b
        c = (a @ a).mul_(2) + 1
    assert stores == [1]
    assert c.shape == a.shape


def products():
    """Matrix kernels against plain products in float64: among others' memory, transposed, and of nothing.

    The interpreter multiplies float32 as it is, and no bfloat16; a card's precisions are tested on one.
    """
    matrices.PRECISION = "ieee"
    matrices.EXACT = {rowwise: ("ieee", tile) for rowwise, (_, tile) in matrices.EXACT.items()}
    torch.manual_seed(0)
    runs, layers = 2, 2
    weight = torch.rand(runs, layers)
    for size in (32, 33, 64):
        room = torch.randn(runs, 3 * size * size)
        g = room.as_strided((runs, layers, size, size), (3 * size * size, size * size, size, 1), size)
        q = torch.randn(runs, layers, size, size)
        assert distance(matrices.product(q.mT, g), q.mT.double() @ g.double()) < 1e-5
        with patch("explorer.training.deferred.FEW", 64), Deferring(CPU):
            assert distance(matrices.product(q * 2, g), 2 * q.double() @ g.double()) < 1e-5
        for side in (g, g.mT):
            left = matrices.product(q, q.mT)
            left = (left + left.mT) / 2
            expected = left.double().lerp(side.double() @ side.double().mT, weight[:, :, None, None].double())
            matrices.statistics(left, side, weight, exact=True)
            assert distance(left, expected) < 1e-5
            assert torch.equal(left, left.mT)
    for size in (32, 64):
        x = torch.randn(4, size, size) * torch.tensor([1e-6, 1, 1e3, 0])[:, None, None]
        before = x.clone()
        assert distance(matrices.newton_schulz(x, MUON), polar(x.double(), MUON)) < 1e-4
        assert torch.equal(x, before)


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
    joined("adam", num_hidden_layers=3, width=130)  # both halves of a tile, and edges
    joined("adan", num_hidden_layers=4, width=40, frozen_layers=0)
    scheduled()
    modified("level_adam", [])
    modified("sgd", ["cosine:warmup=1", "plateau"])
    for key in ("ema_adamw", "lookahead_adamw", "sam_adamw", "schedule_free_sgd", "schedule_free_adamw"):
        uniform(key)
    uniform("lion", ["cosine:epochs=3", "ema"])
    for key in ex.optimizers.names():
        if key not in fused:
            deferred(key, **refreshing(key, 4))
    put_off()
    products()
    verdict()
    not_elementwise()
    print("ok", len(fused))
