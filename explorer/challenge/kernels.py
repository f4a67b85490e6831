"""Triton kernels of the fused network: a tile holds a whole batch of one run, so column sums need no second pass.

Everywhere: `run` counts runs; a tile has all BM ≥ B rows of a batch and BN columns of a layer; a run's parameters lie
in one row of a flat buffer (`explorer.base.tensors.Layout`), at the offsets that the caller gives.  `tl.dot` multiplies
in PRECISION: tf32x3 splits each factor in two and adds three products, which is as exact as float32 arithmetic.
"""

# pyright: reportArgumentType=false, reportIndexIssue=false, reportOperatorIssue=false, reportMissingImports=false

from __future__ import annotations

import triton
import triton.language as tl

from explorer.base.chained import follow


@triton.jit
def _product(rows, left, left_row, B, columns, right, right_k, right_column,
             K: tl.constexpr, N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
             PRECISION: tl.constexpr):  # fmt: skip
    """Σ_k left[row, k] · right[k, column], zero in rows from B and columns from N: `[BM, BN]`."""
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        a = tl.load(left + rows[:, None] * left_row + k[None, :], (rows[:, None] < B) & (k[None, :] < K), other=0.0)
        b = tl.load(
            right + k[:, None] * right_k + columns[None, :] * right_column,
            (k[:, None] < K) & (columns[None, :] < N),
            other=0.0,
        )
        total = tl.dot(a, b, total, input_precision=PRECISION)
    return total


@triton.jit(do_not_specialize=["B"])
def forward_layer(below, below_run, below_row, parameters, parameters_run, weight, norm,
                  relu, normalized, spread, statistics, statistics_run, B, room_run,
                  K: tl.constexpr, N: tl.constexpr, BIAS: tl.constexpr, STEP: tl.constexpr, TRACK: tl.constexpr,
                  MOMENTUM: tl.constexpr, EPS: tl.constexpr,
                  BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
                  CHAINED: tl.constexpr):  # fmt: skip
    """A hidden layer on a batch: relu = max(below · Wᵀ + b, 0), normalized = γ (relu − mean) / √(var + ε) + β.

    spread `[R, 2, N]` takes the batch's mean and one over the deviation; the running statistics move with TRACK.
    weight, norm: offsets of the weight and of the batch norm's first tensor; the bias lies BIAS elements after the
    weight, the batch norm's next tensor STEP after the last.  statistics: where the running statistics start.
    """
    follow(CHAINED)
    run = tl.program_id(1).to(tl.int64)
    rows, columns = tl.arange(0, BM), tl.program_id(0) * BN + tl.arange(0, BN)
    inside, real = rows[:, None] < B, columns < N
    mine = parameters + run * parameters_run
    h = _product(rows, below + run * below_run, below_row, B, columns, mine + weight, 1, K, K, N, BM, BN, BK, PRECISION)
    h += tl.load(mine + weight + BIAS + columns, real, other=0.0)[None, :]
    a = tl.where(inside, tl.maximum(h, 0.0), 0.0)
    mean = tl.sum(a, 0) / B
    centred = tl.where(inside, a - mean[None, :], 0.0)
    squares = tl.sum(centred * centred, 0)
    rstd = 1.0 / tl.sqrt(squares / B + EPS)
    gamma = tl.load(mine + norm + columns, real, other=0.0)
    beta = tl.load(mine + norm + STEP + columns, real, other=0.0)
    at = run * room_run + rows[:, None] * N + columns[None, :]
    tl.store(relu + at, a, inside & real[None, :])
    tl.store(normalized + at, centred * (gamma * rstd)[None, :] + beta[None, :], inside & real[None, :])
    tl.store(spread + run * 2 * N + columns, mean, real)
    tl.store(spread + run * 2 * N + N + columns, rstd, real)
    if TRACK:
        running = statistics + run * statistics_run + columns
        old = tl.load(running, real)
        tl.store(running, old + MOMENTUM * (mean - old), real)
        old = tl.load(running + STEP, real)
        tl.store(running + STEP, old + MOMENTUM * (squares / (B - 1) - old), real)


@triton.jit(do_not_specialize=["B"])
def evaluate_layer(below, below_run, below_row, parameters, parameters_run, weight, norm, statistics, above, B,
                   K: tl.constexpr, N: tl.constexpr, BIAS: tl.constexpr, STEP: tl.constexpr, EPS: tl.constexpr,
                   BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """A hidden layer with the running statistics: above `[R, B, N]`; the rows are cut in tiles here."""
    run = tl.program_id(2).to(tl.int64)
    rows, columns = tl.program_id(1) * BM + tl.arange(0, BM), tl.program_id(0) * BN + tl.arange(0, BN)
    inside, real = rows[:, None] < B, columns < N
    mine = parameters + run * parameters_run
    h = _product(rows, below + run * below_run, below_row, B, columns, mine + weight, 1, K, K, N, BM, BN, BK, PRECISION)
    h += tl.load(mine + weight + BIAS + columns, real, other=0.0)[None, :]
    gamma = tl.load(mine + norm + columns, real, other=0.0)
    beta = tl.load(mine + norm + STEP + columns, real, other=0.0)
    mean = tl.load(mine + statistics + columns, real, other=0.0)
    variance = tl.load(mine + statistics + STEP + columns, real, other=1.0)
    scale = gamma / tl.sqrt(variance + EPS)
    h = (tl.maximum(h, 0.0) - mean[None, :]) * scale[None, :] + beta[None, :]
    tl.store(above + run * B * N + rows[:, None] * N + columns[None, :], h, inside & real[None, :])


@triton.jit(do_not_specialize=["B"])
def output_layer(below, below_run, parameters, parameters_run, weight, targets, targets_run, squared, delta, delta_run,
                 B, scale, K: tl.constexpr, N: tl.constexpr, BIAS: tl.constexpr,
                 BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
                 CHAINED: tl.constexpr):  # fmt: skip
    """The last layer on a batch, in tiles of rows: delta = scale · error, and squared error in parts `[tiles, R]`."""
    follow(CHAINED)
    run = tl.program_id(1).to(tl.int64)
    rows, columns = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, BN)
    real = columns < N
    mask = (rows[:, None] < B) & real[None, :]
    mine, source = parameters + run * parameters_run, below + run * below_run
    outputs = _product(rows, source, K, B, columns, mine + weight, 1, K, K, N, BM, BN, BK, PRECISION)
    outputs += tl.load(mine + weight + BIAS + columns, real, other=0.0)[None, :]
    at = rows[:, None] * N + columns[None, :]
    error = tl.where(mask, outputs - tl.load(targets + run * targets_run + at, mask, other=0.0), 0.0)
    tl.store(squared + tl.program_id(0) * tl.num_programs(1) + run, tl.sum(tl.sum(error * error, 1), 0))
    tl.store(delta + run * delta_run + at, error * scale, mask)


@triton.jit(do_not_specialize=["B"])
def output_gradients(below, below_run, delta, delta_run, gradients, gradients_run, weight, B,
                     K: tl.constexpr, N: tl.constexpr, BIAS: tl.constexpr,
                     BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
                     CHAINED: tl.constexpr):  # fmt: skip
    """Gradients of the last layer's weight and bias from its delta, cut in tiles of the weight's columns."""
    follow(CHAINED)
    run = tl.program_id(1).to(tl.int64)
    rows, outs, k = tl.arange(0, BM), tl.arange(0, BN), tl.program_id(0) * BK + tl.arange(0, BK)
    mask = (rows[:, None] < B) & (outs[None, :] < N)
    d = tl.load(delta + run * delta_run + rows[:, None] * N + outs[None, :], mask, other=0.0)
    at = below + run * below_run + rows[:, None] * K + k[None, :]
    h = tl.load(at, (rows[:, None] < B) & (k[None, :] < K), other=0.0)
    g = tl.dot(tl.trans(d), h, input_precision=PRECISION)
    mine = gradients + run * gradients_run + weight
    tl.store(mine + outs[:, None] * K + k[None, :], g, (outs[:, None] < N) & (k[None, :] < K))
    if tl.program_id(0) == 0:
        tl.store(mine + BIAS + outs, tl.sum(d, 0), outs < N)


@triton.jit(do_not_specialize=["B", "VAL"])
def evaluate_output(below, parameters, parameters_run, weight, targets, targets_run, parts, B, VAL,
                    K: tl.constexpr, N: tl.constexpr, BIAS: tl.constexpr,
                    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """The squared error of the first VAL rows and of the rest, cut in tiles of rows: parts `[tiles, 2, R]`."""
    run = tl.program_id(1).to(tl.int64)
    rows, columns = tl.program_id(0) * BM + tl.arange(0, BM), tl.arange(0, BN)
    real = columns < N
    mask = (rows[:, None] < B) & real[None, :]
    mine = parameters + run * parameters_run
    outputs = _product(rows, below + run * B * K, K, B, columns, mine + weight, 1, K, K, N, BM, BN, BK, PRECISION)
    outputs += tl.load(mine + weight + BIAS + columns, real, other=0.0)[None, :]
    at = targets + run * targets_run + rows[:, None] * N + columns[None, :]
    error = tl.where(mask, outputs - tl.load(at, mask, other=0.0), 0.0)
    squares = tl.sum(error * error, 1)
    part = parts + tl.program_id(0) * 2 * tl.num_programs(1) + run
    tl.store(part, tl.sum(tl.where(rows < VAL, squares, 0.0), 0))
    tl.store(part + tl.num_programs(1), tl.sum(tl.where(rows < VAL, 0.0, squares), 0))


@triton.jit(do_not_specialize=["B"])
def backward_layer(above, above_run, parameters, parameters_run, weight_above, norm, relu, spread, delta, gradients,
                   gradients_run, bias, x, x_run, B, room_run,
                   K: tl.constexpr, N: tl.constexpr, STEP: tl.constexpr, NORM_TRAINED: tl.constexpr,
                   TRAINED: tl.constexpr, FIRST: tl.constexpr, D: tl.constexpr, DP: tl.constexpr, BIAS: tl.constexpr,
                   BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
                   CHAINED: tl.constexpr):  # fmt: skip
    """From delta above (`[R, B, K]`, of the next layer) to delta here, through its weights, batch norm and ReLU.

    Also the column sums: gradients of γ, β and the bias (at `bias`); in the FIRST layer those of its weight, too.
    """
    follow(CHAINED)
    run = tl.program_id(1).to(tl.int64)
    rows, columns = tl.arange(0, BM), tl.program_id(0) * BN + tl.arange(0, BN)
    real = columns < N
    mask = (rows[:, None] < B) & real[None, :]
    mine, mine_gradients = parameters + run * parameters_run, gradients + run * gradients_run
    dh = _product(rows, above + run * above_run, K, B, columns, mine + weight_above, N, 1, K, N, BM, BN, BK, PRECISION)
    at = run * room_run + rows[:, None] * N + columns[None, :]
    a = tl.load(relu + at, mask, other=0.0)
    mean = tl.load(spread + run * 2 * N + columns, real, other=0.0)
    rstd = tl.load(spread + run * 2 * N + N + columns, real, other=0.0)
    gamma = tl.load(mine + norm + columns, real, other=0.0)
    xhat = (a - mean[None, :]) * rstd[None, :]
    dbeta, dgamma = tl.sum(dh, 0), tl.sum(dh * xhat, 0)
    if NORM_TRAINED:
        tl.store(mine_gradients + norm + columns, dgamma, real)
        tl.store(mine_gradients + norm + STEP + columns, dbeta, real)
    d = (gamma * rstd)[None, :] * (dh - (dbeta / B)[None, :] - xhat * (dgamma / B)[None, :])
    d = tl.where(a > 0, d, 0.0)  # nothing where the ReLU was shut, or beyond the batch
    tl.store(delta + at, d, mask)
    if TRAINED:
        tl.store(mine_gradients + bias + columns, tl.sum(d, 0), real)
        if FIRST:
            k = tl.arange(0, DP)
            inputs = tl.load(
                x + run * x_run + rows[:, None] * D + k[None, :], (rows[:, None] < B) & (k[None, :] < D), other=0.0
            )
            g = tl.dot(tl.trans(d), inputs, input_precision=PRECISION)
            tl.store(
                mine_gradients + bias - BIAS + columns[:, None] * D + k[None, :],
                g,
                real[:, None] & (k[None, :] < D),
            )


@triton.jit
def _square_tile(delta, below, B, layer_room, room_run,
                 N: tl.constexpr, ROWS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
                 PRECISION: tl.constexpr, CHAINED: tl.constexpr):  # fmt: skip
    """A program's tile of Σ_b delta[b, out] · below[b, in], of one of several square layers: its run, its layer, its
    outs, its first in, and the sums `[BM, BN]`.

    delta and below start at the first of these layers and go on layer_room elements a layer.
    """
    follow(CHAINED)
    run, layer = tl.program_id(2).to(tl.int64), tl.program_id(1).to(tl.int64)
    tiles = tl.cdiv(N, BN)
    outs, left = (tl.program_id(0) // tiles) * BM + tl.arange(0, BM), (tl.program_id(0) % tiles) * BN
    ins = left + tl.arange(0, BN)
    start = layer * layer_room + run * room_run
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for first in range(0, ROWS, BK):
        b = first + tl.arange(0, BK)
        d = tl.load(delta + start + b[None, :] * N + outs[:, None], (b[None, :] < B) & (outs[:, None] < N), other=0.0)
        h = tl.load(below + start + b[:, None] * N + ins[None, :], (b[:, None] < B) & (ins[None, :] < N), other=0.0)
        total = tl.dot(d, h, total, input_precision=PRECISION)
    return run, layer, outs, left, total


@triton.jit(do_not_specialize=["B"])
def weight_gradients(gradients, gradients_run, delta, below, B, layer_room, room_run, weight,
                     N: tl.constexpr, ROWS: tl.constexpr, STRIDE: tl.constexpr,
                     BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
                     CHAINED: tl.constexpr):  # fmt: skip
    """The gradients of several square layers at once, written down; their weights lie STRIDE elements apart."""
    run, layer, outs, left, total = _square_tile(
        delta, below, B, layer_room, room_run, N, ROWS, BM, BN, BK, PRECISION, CHAINED
    )
    ins = left + tl.arange(0, BN)
    at = run * gradients_run + weight + layer * STRIDE + outs[:, None] * N + ins[None, :]
    tl.store(gradients + at, total, (outs[:, None] < N) & (ins[None, :] < N))


@triton.jit
def square_gradients(delta, below, B, layer_room, room_run, weight,
                     N: tl.constexpr, ROWS: tl.constexpr, STRIDE: tl.constexpr,
                     BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr,
                     CHAINED: tl.constexpr):  # fmt: skip
    """The same, for those who go on with a tile where it is: its run; of its left half, where its elements lie in that
    run's row, which of them exist, and their gradients; and so of its right half.

    In halves, so that what is read beside the gradients finds room in the registers.
    """
    run, layer, outs, left, total = _square_tile(
        delta, below, B, layer_room, room_run, N, ROWS, BM, BN, BK, PRECISION, CHAINED
    )
    one, other = tl.split(tl.permute(tl.reshape(total, (BM, 2, BN // 2)), (0, 2, 1)))
    lefts = left + tl.arange(0, BN // 2)
    rights = lefts + BN // 2
    at, exist = weight + layer * STRIDE + outs[:, None] * N, outs[:, None] < N
    return (
        run,
        at + lefts[None, :], exist & (lefts[None, :] < N), one,
        at + rights[None, :], exist & (rights[None, :] < N), other,
    )  # fmt: skip
