"""Functions of matrices `[..., m, n]` by products alone, so that a whole fleet's go through at once."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from explorer.base.launch import runs_kernels
from explorer.base.side_by_side import one_thread, side_by_side

MUON = ((3.4445, -4.7750, 2.0315),) * 5
"""Coefficients of Muon's five quintic steps: the steepest at 0 that keep singular values near 1 (Jordan 2024)."""

_SAFETY = 1.01

POLAR_EXPRESS = (
    *(
        (a / _SAFETY, b / _SAFETY**3, c / _SAFETY**5)
        for a, b, c in (
            (8.28721201814563, -23.595886519098837, 17.300387312530933),
            (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
            (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
            (3.3184196573706015, -2.488488024314874, 0.51004894012372),
            (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
            (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
            (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
        )
    ),
    (1.875, -1.25, 0.375),
)
"""Coefficients that bring singular values from [0.001, 1] to 1 the fastest (Amsel et al.: The Polar Express, 2025), all
but the last for values over 1.01, so that rounding to bfloat16 cannot push one out of the interval that converges."""


SMALLEST = 1e-7
"""The least eigenvalue that `polynomial_root` brings to 1: Shampoo's ridge is not smaller."""


def polar(matrices: Tensor, coefficients: tuple[tuple[float, float, float], ...]) -> Tensor:
    r"""Matrices with the same singular vectors and all singular values near 1: Newton–Schulz on the trailing two axes.

    $$ X_0 = M / \lVert M\rVert_F, \qquad X \leftarrow (aI + bA + cA^2)X, \quad A = XX^\top $$

    Zero stays zero.  On CUDA float32 is iterated in bfloat16, as Muon's author does, and comes back so.
    """
    if _in_kernels(matrices):
        from explorer.optimizers.kernels import matrices as kernels

        if kernels.takes(matrices.shape):
            shape, matrices = matrices.shape, matrices.bfloat16()
            return kernels.newton_schulz(matrices.flatten(0, -3), coefficients).view(shape)
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    x = wide / torch.linalg.matrix_norm(wide, keepdim=True).clamp(min=torch.finfo(wide.dtype).tiny)
    x = x.to(torch.bfloat16) if x.is_cuda and x.dtype == torch.float32 else x
    x = x.flatten(0, -3) if x.dim() > 2 else x[None]
    for a, b, c in coefficients:
        x = quadratic(x @ x.mT, a, b, c) @ x
    x = x.view(wide.shape)
    return x if wide is matrices else x.mT


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """A · B of stacks of matrices.  On CUDA float32 is multiplied as `kernels.matrices.PRECISION` says."""
    if _in_kernels(a) and a.shape == b.shape and a.dim() == 4 and a.shape[-1] == a.shape[-2]:
        from explorer.optimizers.kernels import matrices as kernels

        return kernels.product(a, b)
    return a @ b


def average_squares(average: Tensor, g: Tensor, weight: Tensor | float, exact: bool = False) -> None:
    """average ← average + weight · (G Gᵀ − average), in place: `[R, L, n, n]`; weight: a number, or `[R, 1, 1, 1]`.

    exact: also on CUDA as exact as float32 is, for those who need the least eigenvalues not to be negative.
    """
    if _in_kernels(g) and isinstance(weight, Tensor) and g.shape == average.shape:
        from explorer.optimizers.kernels import matrices as kernels

        kernels.statistics(average, g, weight.expand(*g.shape[:2], 1, 1)[:, :, 0, 0], exact)
        return
    average.lerp_(g @ g.mT, weight)


def _in_kernels(matrices: Tensor) -> bool:
    return matrices.dtype == torch.float32 and runs_kernels(matrices.device)


def quadratic(m: Tensor, a: float, b: float, c: float) -> Tensor:
    """aI + bM + cM² of square matrices `[B, n, n]`."""
    result = torch.baddbmm(m, m, m, beta=b, alpha=c)
    result.diagonal(dim1=1, dim2=2).add_(a)
    return result


def inverse_root(matrices: Tensor, root: int, ridge: float | Tensor) -> Tensor:
    r"""$(A + \rho \operatorname{tr}(A) I)^{-1/p}$ of symmetric, positive semidefinite matrices, p = `root`.

    In float64, since tf32 or float32 would lose the small eigenvalues: by products on CUDA, where many go at once and
    nothing waits; by eigenvectors, which are fewer operations, on a CPU.
    """
    dtype, matrices = matrices.dtype, matrices.double()
    tiny = torch.finfo(dtype).tiny
    trace = matrices.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None].clamp(min=tiny)
    scaled = matrices / ((1 + ridge) * trace)
    scaled.diagonal(dim1=-2, dim2=-1).add_((ridge / (1 + ridge) * torch.ones_like(trace))[..., 0])
    found = polynomial_root(scaled, root) if matrices.is_cuda else eigen_root(scaled, root)
    return (found * ((1 + ridge) * trace) ** (-1 / root)).to(dtype)


def eigen_root(matrices: Tensor, root: int) -> Tensor:
    """A^(-1/p) by eigenvectors."""
    values, vectors = torch.linalg.eigh(matrices)
    smallest = torch.finfo(matrices.dtype).eps
    return vectors * values.clamp(min=smallest).pow(-1 / root)[..., None, :] @ vectors.mT


def eigenvectors(matrices: Tensor) -> Tensor:
    """Eigenvectors of symmetric matrices, as columns, the smallest eigenvalue's first.

    A CUDA device's are found on the host, several at a time: up to torch 2.11 the device's own solver takes matrices of
    this size one after the other, 6 ms each for n = 256 on an H100, where a core of its host takes 2.
    """
    if not matrices.is_cuda:
        return torch.linalg.eigh(matrices).eigenvectors
    with one_thread():
        parts = matrices.flatten(0, -3).cpu().split(8)
        found = side_by_side(lambda part: torch.linalg.eigh(part).eigenvectors, parts)
    return torch.cat(found).to(matrices.device).view(matrices.shape)


def polynomial_root(matrices: Tensor, root: int) -> Tensor:
    r"""A^(-1/p) of symmetric matrices with eigenvalues from `SMALLEST` to 1, by products: p a power of two.

    From $M = A$, $X = I$: $T = aI + bM + cM^2$, $X \leftarrow XT$, $M \leftarrow T^p M$, until M is the identity.  Each
    step's numbers are the best for the interval that the step before has left: 7 steps of 5 products for p = 4, where
    Newton's, which are made for eigenvalues near 1, would be 25 of 4.

    Reference: Guo, Higham: A Schur–Newton Method for the Matrix pth Root and Its Inverse, 2006, for the coupling; Amsel
    et al.: The Polar Express, 2025, for the choice of numbers.
    """
    coefficients = root_coefficients(root)
    m = matrices.reshape(-1, *matrices.shape[-2:])
    x = None
    for step, (a, b, c) in enumerate(coefficients):
        t = quadratic(m, a, b, c)
        x = t if x is None else x @ t
        if step < len(coefficients) - 1:
            m = torch.linalg.matrix_power(t, root) @ m
    assert x is not None
    return x.view(matrices.shape)


@cache
def root_coefficients(root: int) -> tuple[tuple[float, float, float], ...]:
    """(a, b, c) of every step of `polynomial_root`.

    In terms of s = λ^(1/p) a step takes s to s (a + b sᵖ + c s²ᵖ).  The largest distance from 1 over the interval is
    made as small as can be, by a linear program; where 0.001 is left, the series of λ^(-1/p) at 1 leaves 10⁻⁹ or less.
    """
    from scipy.optimize import linprog  # 0.2 s that nobody but Shampoo on a card is to wait for

    low, high, found = SMALLEST ** (1 / root), 1.0, []
    while high - low > 2e-3:
        s = np.geomspace(low, high, 4000)
        powers = np.stack([s, s ** (1 + root), s ** (1 + 2 * root)], axis=1)
        ones = np.ones((len(s), 1))
        best = linprog(
            [0, 0, 0, 1],
            A_ub=np.block([[powers, -ones], [-powers, -ones]]),
            b_ub=np.concatenate([ones, -ones]),
            bounds=(None, None),
        )
        found.append(tuple(float(number) for number in best.x[:3]))
        low, high = 1 - best.x[3], 1 + best.x[3]
    p = 1 / root
    bend = p * (1 + p) / 2
    return (*found, (1 + p + bend, -p - 2 * bend, bend))


def orthonormal(columns: Tensor, otherwise: Tensor) -> Tensor:
    """Q of the QR decomposition of `columns`, R's diagonal positive; the matrix of `otherwise` where that breaks down.

    By Cholesky of the Gram matrix of the columns scaled to length 1, three times.  The Gram matrix squares the
    condition number, so that float32 would lose columns that are nearly parallel: the first time its diagonal is raised
    above rounding, which leaves columns that are far from parallel for the others, and the same Q in the end.

    Reference: Fukaya et al.: Shifted Cholesky QR for Computing the QR Factorization of Ill-Conditioned Matrices, 2020.
    """
    q = columns / torch.linalg.vector_norm(columns, dim=-2, keepdim=True)
    q = q.mT.contiguous().mT  # column by column, as LAPACK has matrices; so is the Gram matrix's transpose, itself
    shift = 4 * columns.shape[-1] * torch.finfo(columns.dtype).eps
    for raised in (shift, 0, 0):
        gram = q.mT @ q
        gram.diagonal(dim1=-2, dim2=-1).add_(raised)
        lower, _ = torch.linalg.cholesky_ex(gram.mT)
        q = torch.linalg.solve_triangular(lower.mT, q, upper=True, left=False)
    sound = (torch.linalg.vector_norm(q, dim=-2) - 1).abs().amax(dim=-1) < 0.01  # not where anything is NaN
    return torch.where(sound[..., None, None], q, otherwise)
