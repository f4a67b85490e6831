"""Optimizers of matrices: their linear algebra by its properties, their steps against literal transcriptions."""

from __future__ import annotations

from functools import partial

import optimizer_literals as literal
import pytest
import pytorch_optimizer
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_harness import (
    HIDDEN,
    MATRICES,
    SLOTS,
    TRAINED,
    agree,
    bind,
    drive,
    literal_run,
    per_run,
    start,
    torch_run,
)
from reference import hashed_bits

import explorer as ex
from explorer import optimizers
from explorer.base.random import Stream
from explorer.optimizers.products import MUON, POLAR_EXPRESS, inverse_root, orthonormal, polar, polynomial_root

STEPS = 60
ADAMW = {"weight_decay": [0.0, 0.1, 0.3], "beta1": [0.9, 0.8, 0.5], "beta2": [0.999, 0.99, 0.9],
         "eps": [1e-8, 1e-3, 1e-6]}  # fmt: skip
MUONS = {"lr": [2e-2, 5e-3, 0.1], "momentum": [0.95, 0.5, 0.0], "vector_lr": [1e-3, 1e-2, 3e-2]} | ADAMW
SIDES = {"lr": [1e-3, 1e-2, 3e-2], "statistics": [0.95, 0.8, 0.5]} | ADAMW


def with_singular_values(values, rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    u, _ = torch.linalg.qr(torch.randn(rows, len(values), generator=generator, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(columns, len(values), generator=generator, dtype=torch.float64))
    return u, v, u @ torch.diag(values) @ v.T


SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 10**6))


@settings(max_examples=50, deadline=None)
@given(SHAPES, st.floats(1e-30, 1e30))
def test_newton_schulz_brings_singular_values_near_one(shape, scale):
    rows, columns, seed = shape
    values = torch.logspace(0, -1.5, min(rows, columns), dtype=torch.float64)
    _, _, matrix = with_singular_values(values, rows, columns, seed)
    found = torch.linalg.svdvals(polar((scale * matrix)[None, None], MUON)[0, 0])
    assert found.min() >= 0.7 - 0.02
    assert found.max() <= 1.2


@settings(max_examples=50, deadline=None)
@given(SHAPES)
def test_polar_express_gives_the_polar_factor(shape):
    rows, columns, seed = shape
    values = torch.logspace(0, -2, min(rows, columns), dtype=torch.float64)
    u, v, matrix = with_singular_values(values, rows, columns, seed)
    factor = polar(matrix, POLAR_EXPRESS)
    torch.testing.assert_close(factor, u @ v.T, rtol=0, atol=1e-5)
    torch.testing.assert_close((factor * matrix).sum(), values.sum(), rtol=1e-6, atol=0)  # the nuclear norm
    torch.testing.assert_close(factor.T @ matrix, matrix.T @ factor, rtol=0, atol=1e-5)  # H is symmetric


@pytest.mark.parametrize("coefficients", [MUON, POLAR_EXPRESS])
def test_bfloat16_does_not_leave_the_interval_that_converges(coefficients):
    """As on CUDA; with the published coefficients but without their margin, one in a few such matrices explodes."""
    matrices = torch.randn(64, 96, 96, generator=torch.Generator().manual_seed(0))
    matrices[32:] += 30  # one singular value far above the others, as early gradients have
    found = polar(matrices.to(torch.bfloat16), coefficients).double()
    assert torch.linalg.svdvals(found).max() < 1.25


def test_zero_matrices_stay_zero():
    zero = torch.zeros(2, 3, 4, 5)
    for coefficients in (MUON, POLAR_EXPRESS):
        assert not polar(zero, coefficients).any()
    assert inverse_root(torch.zeros(2, 4, 4), 4, 1e-6).isfinite().all()


@pytest.mark.parametrize("ridge", [1e-6, 1e-3])
def test_inverse_root_agrees_with_eigenvectors(ridge):
    generator = torch.Generator().manual_seed(0)
    thin = torch.randn(3, 2, 16, 5, generator=generator, dtype=torch.float64)  # rank 5: the ridge alone bounds the rest
    matrices = thin @ thin.mT * torch.tensor([1e-8, 1.0, 1e8])[:, None, None, None]
    found = inverse_root(matrices, 4, ridge)
    for matrix, root in zip(matrices.flatten(0, 1), found.flatten(0, 1), strict=True):
        expected = literal.root_by_eigenvectors(matrix, ridge)
        torch.testing.assert_close(root, expected, rtol=1e-8, atol=1e-9 * float(expected.abs().max()))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 10**6), st.sampled_from([2, 4]))
def test_products_find_the_inverse_root(size, seed, root):
    values = torch.logspace(0, -6, size, dtype=torch.float64)
    u, _, _ = with_singular_values(values, size, size, seed)
    expected = u @ torch.diag(values ** (-1 / root)) @ u.T
    torch.testing.assert_close(polynomial_root(u @ torch.diag(values) @ u.T, root), expected, rtol=1e-7, atol=1e-7)


def test_orthonormal_is_qr_and_keeps_the_old_where_it_breaks_down():
    generator = torch.Generator().manual_seed(0)
    columns = torch.randn(4, 8, 8, generator=generator, dtype=torch.float64) * torch.logspace(0, -12, 8)
    columns[3, :, 5] = 0
    old = torch.eye(8, dtype=torch.float64).expand(4, 8, 8)
    found = orthonormal(columns, otherwise=old)
    q, r = torch.linalg.qr(columns[:3])
    torch.testing.assert_close(found[:3], q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None], rtol=0, atol=1e-10)
    assert torch.equal(found[3], old[3])


@pytest.mark.parametrize("condition", [1e1, 1e3, 1e5, 1e6])
def test_orthonormal_columns_are_so_in_float32_however_near_to_parallel_they_were(condition):
    values = torch.logspace(0, -float(torch.tensor(condition).log10()), 256, dtype=torch.float64)
    _, _, matrix = with_singular_values(values, 256, 256, 0)
    parallel = (matrix + matrix[:, :1])[None].float()
    found = orthonormal(parallel, otherwise=torch.full_like(parallel, torch.nan))[0]
    assert (found.T @ found - torch.eye(256)).abs().max() < 1e-5
    q, r = torch.linalg.qr(parallel[0].double())
    exact = q * r.diagonal().sign()
    # Rounding of the columns themselves moves Q by about as much times the condition number.
    assert (found - exact).abs().max() < 10 * condition * torch.finfo(torch.float32).eps


def test_soap_s_bases_stay_orthonormal_in_float32():
    challenge = ex.Challenge.preset("tig", num_hidden_layers=4)
    fleet = ex.training.Fleet(challenge, optimizers.create("soap", interval=10), [1000, 1001], device="cpu")
    for _ in range(2):
        fleet.advance()
    for side in ("left_side", "right_side"):
        for basis in fleet.state[side]:
            assert (basis.mT @ basis - torch.eye(256)).abs().max() < 1e-4


def drawn(run, i, t, keep):
    """Whether Drop-Muon draws matrix `i` in step `t`, from the random bits alone."""
    bits = hashed_bits(run, Stream.OPTIMIZER, (t - 1) * len(HIDDEN) + HIDDEN.index(i))
    return (bits >> 11) * 2.0**-53 < keep


LITERAL = {
    "muon": (literal.muon, HIDDEN, MUONS, {}),
    "muon without nesterov": (partial(literal.muon, nesterov=False), HIDDEN, MUONS, {"nesterov": False}),
    "polargrad": (literal.polargrad, HIDDEN, MUONS | {"lr": [1e-3, 1e-2, 3e-2]}, {}),
    "shampoo": (partial(literal.shampoo, interval=7), HIDDEN, SIDES | {"ridge": [1e-6, 1e-4, 1e-2]}, {"interval": 7}),
    "soap": (partial(literal.soap, interval=7), HIDDEN, SIDES, {"interval": 7}),
}


@pytest.mark.parametrize("entry", LITERAL)
def test_agrees_with_a_literal_transcription(entry):
    transcription, matrices, columns, switches = LITERAL[entry]
    references = [
        literal_run(partial(transcription, matrices=matrices), run, STEPS, **values)
        for run, values in enumerate(per_run(columns))
    ]
    tolerance = 1e-4 if entry == "polargrad" else 1e-10  # eight polynomial steps against an SVD
    agree(optimizers.create(entry.split()[0], **switches), references, columns, STEPS, rtol=tolerance)


def test_drop_muon_is_muon_on_the_layers_drawn():
    columns = MUONS | {"keep": [0.5, 0.2, 1.0]}
    references = []
    for run, values in enumerate(per_run(columns)):
        keep = values.pop("keep")
        choose = partial(drawn, run, keep=keep)
        references.append(literal_run(partial(literal.muon, matrices=HIDDEN, drawn=choose), run, STEPS, **values))
    agree(optimizers.create("drop_muon"), references, columns, STEPS)
    share = torch.tensor([[[drawn(run, i, t, 0.3) for i in HIDDEN] for t in range(1, 401)] for run in range(3)])
    assert ((share.double().mean(1) - 0.3).abs() < 0.1).all()


class Pair:
    """Two torch optimizers as one: the library's for matrices, AdamW for the rest."""

    def __init__(self, *parts):
        self.parts = parts
        self.state = {}

    def step(self):
        for part in self.parts:
            part.step()


def test_muon_agrees_with_torch_up_to_its_bfloat16():
    def make(model):
        hidden = [model[i] for i in HIDDEN]
        rest = [p for i, p in enumerate(model) if i not in HIDDEN]
        return Pair(torch.optim.Muon(hidden, lr=2e-2, weight_decay=0), torch.optim.AdamW(rest, lr=1e-3, weight_decay=0))

    bound = bind(optimizers.create("muon"), 1, lr=[2e-2], momentum=[0.95], vector_lr=[1e-3], weight_decay=[0.0],
                 beta1=[0.9], beta2=[0.999], eps=[1e-8])  # fmt: skip
    *_, (params, _) = drive(bound, start(1), 50)
    *_, (model, _) = torch_run(make, 0, 50)
    for index, expected in zip(TRAINED, model, strict=True):
        torch.testing.assert_close(params[index][0], expected, rtol=0, atol=0.05)
    assert (params[TRAINED[HIDDEN[0]]][0] - start(1)[TRAINED[HIDDEN[0]]][0]).abs().max() > 0.2


def test_soap_agrees_with_the_library_up_to_its_float32_basis():
    square = [place for place in MATRICES if SLOTS[TRAINED[place]].shape == (4, 4)]  # full rank from the first step on

    def make(model):
        return pytorch_optimizer.SOAP(
            [model[place] for place in square], lr=1e-2, betas=(0.9, 0.99), shampoo_beta=0.95, weight_decay=0,
            precondition_frequency=10, eps=1e-8,
        )  # fmt: skip

    bound = bind(optimizers.create("soap", interval=10), 1, lr=[1e-2], statistics=[0.95], weight_decay=[0.0],
                 beta1=[0.9], beta2=[0.99], eps=[1e-8])  # fmt: skip
    assert len(square) == 2
    for (params, _), (model, _) in zip(drive(bound, start(1), 50), torch_run(make, 0, 50), strict=True):
        for place in square:
            torch.testing.assert_close(params[TRAINED[place]][0], model[place], rtol=1e-3, atol=1e-4)
