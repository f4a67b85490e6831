"""Triton kernels of the optimizers that multiply matrices: Newton–Schulz, batched products, moving averages of GGᵀ."""

# pyright: reportArgumentType=false, reportIndexIssue=false, reportOperatorIssue=false, reportMissingImports=false

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from explorer.base.chained import follow
from explorer.base.launch import launch

LARGEST = 256
"""Both halves of a matrix and of its square fit a multiprocessor's registers and shared memory up to here."""

NEWTON_SCHULZ = (64, 64, 4, 3, 8)
"""Step along the sum of XXᵀ, columns of a tile of BX, stages of the one and of the other, warps: of a 256 × 256 X."""

FEWEST = 16
"""From so many matrices of the largest size on, one program each is quicker than products of all, one by one."""

PRODUCT = (64, 64, 32, 3, 4)
"""Rows, columns and step of a tile, stages, warps."""

PRECISION = "bf16x3"
"""Of float32 products: factors are split in two of 8 bits and the product of the small parts is left out.  Off by
4e-6, where float32 is by 3e-7 and TF32 by 3e-4 (‖difference‖ / ‖product‖ of 256 × 256 matrices, an H100)."""

EXACT = {True: ("tf32x3", (64, 64, 32, 3, 4)), False: ("bf16x6", (64, 64, 64, 2, 4))}
"""Precision and tile of G Gᵀ by whether G's rows are contiguous: the quicker of two as exact as float32 (1e-7)."""


def takes(shape: Sequence[int]) -> bool:
    """Whether `newton_schulz` is made for stacks of this shape."""
    *stack, rows, columns = shape
    return rows == columns and (rows in (32, 64, 128) or (rows == LARGEST and prod(stack) >= FEWEST))


def newton_schulz(x: Tensor, coefficients: Sequence[tuple[float, float, float]]) -> Tensor:
    """`products.polar` of contiguous bfloat16 matrices `[B, n, n]`, of a size that it `takes`, in one kernel."""
    size = x.shape[-1]
    assert x.dtype == torch.bfloat16 or not x.is_cuda  # Triton's interpreter multiplies no bfloat16
    step, columns, along, across, warps = NEWTON_SCHULZ
    out = torch.empty_like(x)
    launch(_newton_schulz, (x.shape[0],),
        x, out, _on(tuple(coefficients), x.device),
        STEPS=len(coefficients), N=size, BK=min(step, size), BN=min(columns, size), ALONG=along, ACROSS=across,
        CUDA=x.is_cuda, launch_pdl=x.is_cuda, num_warps=warps if size == LARGEST else 4, num_stages=along,
    )  # fmt: skip
    return out


@cache
def _on(coefficients: tuple[tuple[float, float, float], ...], device: torch.device) -> Tensor:
    return torch.tensor(coefficients, dtype=torch.float32, device=device)


def product(a: Tensor, b: Tensor) -> Tensor:
    """A · B of float32 matrices `[R, L, n, n]` of any strides: pass `a.mT` for Aᵀ · B."""
    out = torch.empty(a.shape, device=a.device)
    runs, layers, size, _ = a.shape
    rows, columns, step, stages, warps = PRODUCT
    launch(_products, (triton.cdiv(size, rows) * triton.cdiv(size, columns), layers, runs),
        a, *a.stride(), b, *b.stride(), out, *out.stride(),
        N=size, BM=rows, BN=columns, BK=step, PRECISION=PRECISION, CUDA=a.is_cuda, launch_pdl=a.is_cuda,
        num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return out


def statistics(left: Tensor, g: Tensor, weight: Tensor, exact: bool) -> None:
    """left ← left + weight · (G Gᵀ − left) of float32 matrices `[R, L, n, n]` of any strides, with `weight [R, L]`.

    What lies above the diagonal is moved and copied below.
    """
    runs, layers, size, _ = left.shape
    precision, (rows, columns, step, stages, warps) = EXACT[g.stride(-1) == 1] if exact else (PRECISION, PRODUCT)
    launch(_statistics, (triton.cdiv(size, rows) * triton.cdiv(size, columns), layers, runs),
        left, *left.stride(), g, *g.stride(), weight, *weight.stride(),
        N=size, BM=rows, BN=columns, BK=step, PRECISION=precision, CUDA=g.is_cuda, launch_pdl=g.is_cuda,
        num_warps=warps, num_stages=stages,
    )  # fmt: skip


@triton.jit
def _wide(pairs, CUDA: tl.constexpr):
    """bfloat16 as float32.  Triton's own conversion keeps each number in a register of its own from where it was
    rounded on; this takes them in pairs, as the products do."""
    if CUDA:
        wide = tl.inline_asm_elementwise(
            "{ .reg .b32 t; shl.b32 t, $2, 16; mov.b32 $0, t; and.b32 t, $2, 0xffff0000; mov.b32 $1, t; }",
            "=f,=f,r", [pairs], dtype=tl.float32, is_pure=False, pack=2,
        )  # fmt: skip
    else:
        wide = pairs.to(tl.float32)
    return wide


@triton.jit
def _diagonal(zero, H: tl.constexpr):
    """Which elements of a block are the diagonal's.  zero: 0, of a number that was loaded in the loop, lest this be
    worked out once and kept in registers throughout."""
    return tl.arange(0, H)[:, None] == tl.arange(0, H)[None, :] + zero


@triton.jit
def _newton_schulz(x, out, coefficients, STEPS: tl.constexpr, N: tl.constexpr, BK: tl.constexpr, BN: tl.constexpr,
                   ALONG: tl.constexpr, ACROSS: tl.constexpr, CUDA: tl.constexpr):  # fmt: skip
    """X ← (aI + bA + cA²) X, A = XXᵀ, from X / ‖X‖: one program a matrix.

    A and B = aI + bA + cA² are symmetric and stay in registers and shared memory, as three of four blocks; X goes
    through global memory: once along the sum of A, once in tiles of columns, which BX replaces on the spot.
    ‖X‖² is the trace of the first A, so the first step's products are scaled instead of X.
    """
    follow(CUDA)
    H: tl.constexpr = N // 2
    TYPE: tl.constexpr = x.dtype.element_ty
    here = tl.program_id(0).to(tl.int64) * N * N
    source, target = x + here, out + here
    scale = 0.0
    for step in tl.range(STEPS, num_stages=1):
        a = tl.load(coefficients + 3 * step)
        b = tl.load(coefficients + 3 * step + 1)
        c = tl.load(coefficients + 3 * step + 2)
        rows = tl.arange(0, H) + (a != a).to(tl.int32)
        a00 = tl.zeros((H, H), dtype=tl.float32)
        a01 = tl.zeros((H, H), dtype=tl.float32)
        a11 = tl.zeros((H, H), dtype=tl.float32)
        for k in tl.range(0, N, BK, num_stages=ALONG):
            at = source + rows[:, None] * N + k + tl.arange(0, BK)[None, :]
            x0 = tl.load(at)
            x1 = tl.load(at + H * N)
            a00 = tl.dot(x0, x0.T, a00)
            a01 = tl.dot(x0, x1.T, a01)
            a11 = tl.dot(x1, x1.T, a11)
        if step == 0:
            squared = tl.sum(tl.where(_diagonal((b != b).to(tl.int32), H), a00 + a11, 0.0))
            scale = 1 / tl.sqrt(tl.maximum(squared, 1.1754943508222875e-38))
        a00 = (a00 * (scale * scale)).to(TYPE)
        a01 = (a01 * (scale * scale)).to(TYPE)
        a11 = (a11 * (scale * scale)).to(TYPE)
        b11 = c * tl.dot(a01.T, a01, tl.dot(a11, a11)) + b * _wide(a11, CUDA)
        b11 = (b11 + tl.where(_diagonal((c != c).to(tl.int32), H), a, 0.0)).to(TYPE)
        b00 = c * tl.dot(a01, a01.T, tl.dot(a00, a00)) + b * _wide(a00, CUDA)
        b00 = (b00 + tl.where(_diagonal((a != a).to(tl.int32), H), a, 0.0)).to(TYPE)
        b01 = (c * tl.dot(a01, a11, tl.dot(a00, a01)) + b * _wide(a01, CUDA)).to(TYPE)
        for n in tl.range(0, N, BN, num_stages=ACROSS):
            at = rows[:, None] * N + n + tl.arange(0, BN)[None, :]
            x0 = tl.load(source + at)
            x1 = tl.load(source + H * N + at)
            y = tl.dot(b01, x1, tl.dot(b00, x0))
            tl.store(target + at, (y * scale).to(TYPE))
            y = tl.dot(b11, x1, tl.dot(b01.T, x0))
            tl.store(target + H * N + at, (y * scale).to(TYPE))
        source = target
        scale = 1.0
        tl.debug_barrier()  # the next step reads what other threads have written


@triton.jit
def _tile(rows, columns, a, a_row, a_column, b, b_row, b_column,
          N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Σ_k a[row, k] · b[k, column] of N × N matrices: `[BM, BN]`."""
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for first in range(0, N, BK):
        k = first + tl.arange(0, BK)
        left = tl.load(
            a + rows[:, None] * a_row + k[None, :] * a_column, (rows[:, None] < N) & (k[None, :] < N), other=0.0
        )
        right = tl.load(
            b + k[:, None] * b_row + columns[None, :] * b_column, (k[:, None] < N) & (columns[None, :] < N), other=0.0
        )
        total = tl.dot(left, right, total, input_precision=PRECISION)
    return total


@triton.jit
def _products(a, a_run, a_layer, a_row, a_column, b, b_run, b_layer, b_row, b_column,
              out, out_run, out_layer, out_row, out_column,
              N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
              PRECISION: tl.constexpr, CUDA: tl.constexpr):  # fmt: skip
    """out = a · b, cut in tiles; a program a tile, layer and run."""
    follow(CUDA)
    run, layer = tl.program_id(2).to(tl.int64), tl.program_id(1).to(tl.int64)
    tiles = tl.cdiv(N, BN)
    rows = (tl.program_id(0) // tiles) * BM + tl.arange(0, BM)
    columns = (tl.program_id(0) % tiles) * BN + tl.arange(0, BN)
    total = _tile(rows, columns, a + run * a_run + layer * a_layer, a_row, a_column,
                  b + run * b_run + layer * b_layer, b_row, b_column, N, BM, BN, BK, PRECISION)  # fmt: skip
    at = out + run * out_run + layer * out_layer + rows[:, None] * out_row + columns[None, :] * out_column
    tl.store(at, total, (rows[:, None] < N) & (columns[None, :] < N))


@triton.jit
def _statistics(left, left_run, left_layer, left_row, left_column, g, g_run, g_layer, g_row, g_column,
                weight, weight_run, weight_layer,
                N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
                PRECISION: tl.constexpr, CUDA: tl.constexpr):  # fmt: skip
    """left ← left + weight · (g gᵀ − left) on and above the diagonal, in tiles, each element copied below it."""
    follow(CUDA)
    run, layer = tl.program_id(2).to(tl.int64), tl.program_id(1).to(tl.int64)
    tiles = tl.cdiv(N, BN)
    row, column = (tl.program_id(0) // tiles) * BM, (tl.program_id(0) % tiles) * BN
    if column + BN > row:
        rows, columns = row + tl.arange(0, BM), column + tl.arange(0, BN)
        mine = g + run * g_run + layer * g_layer
        total = _tile(rows, columns, mine, g_row, g_column, mine, g_column, g_row, N, BM, BN, BK, PRECISION)
        share = tl.load(weight + run * weight_run + layer * weight_layer)
        here = left + run * left_run + layer * left_layer
        at = here + rows[:, None] * left_row + columns[None, :] * left_column
        above = (rows[:, None] <= columns[None, :]) & (columns[None, :] < N)
        old = tl.load(at, above, other=0.0)
        new = old + share * (total - old)
        tl.store(at, new, above)
        below = here + columns[:, None] * left_row + rows[None, :] * left_column
        tl.store(below, new.T, (rows[None, :] < columns[:, None]) & (columns[:, None] < N))
