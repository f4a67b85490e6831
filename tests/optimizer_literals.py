"""Optimizers written out from their papers, one run, one tensor at a time, with nothing shared with the shelf.

Each is a generator: `model` is a list of tensors, changed in place; `gradient(at)` gives this step's gradients; every
`yield` ends a step and hands out the memory under the shelf's names.
"""

from __future__ import annotations

import math

import torch


def zeros(model):
    return [torch.zeros_like(w) for w in model]


def nadamw(model, gradient, lr, beta1, beta2, eps, weight_decay):
    """AlgoPerf's baseline: mean, mean square, then the mean taken one step on, all bias-corrected by t."""
    m, v, t = zeros(model), zeros(model), 0
    while True:
        t += 1
        for i, g in enumerate(gradient(model)):
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g**2
            ahead = (beta1 * m[i] + (1 - beta1) * g) / (1 - beta1**t)
            root = torch.sqrt(v[i] / (1 - beta2**t)) + eps
            model[i] = model[i] - lr * (ahead / root + weight_decay * model[i])
        yield {"m": m, "v": v}


def lamb(model, gradient, lr, beta1, beta2, eps, weight_decay):
    """Algorithm 2 of You et al. 2020 with φ(z) = z."""
    m, v, t = zeros(model), zeros(model), 0
    while True:
        t += 1
        for i, g in enumerate(gradient(model)):
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g**2
            r = (m[i] / (1 - beta1**t)) / (torch.sqrt(v[i] / (1 - beta2**t)) + eps) + weight_decay * model[i]
            weight, length = float(model[i].norm()), float(r.norm())
            ratio = weight / length if weight > 0 and length > 0 else 1.0
            model[i] = model[i] - lr * ratio * r
        yield {"m": m, "v": v}


def adagrad_norm(model, gradient, lr, b0):
    """Algorithm 1 of Ward, Wu, Bottou 2019."""
    b2 = b0**2
    while True:
        g = gradient(model)
        b2 += sum(float((x**2).sum()) for x in g)
        for i in range(len(model)):
            model[i] = model[i] - lr / math.sqrt(b2) * g[i]
        yield {}


def classp(model, gradient, lr, power, gradient_threshold, eps):
    """Ludwig 2024, weight by weight."""
    total = zeros(model)
    while True:
        for w, g, s in zip(model, gradient(model), total, strict=True):
            for weight, slope, sum_ in zip(w.view(-1), g.reshape(-1), s.view(-1), strict=True):
                if float(slope) ** 2 > gradient_threshold:
                    sum_ += abs(float(slope)) ** power
                    weight -= lr * float(slope) / (float(sum_) + eps) ** (1 / power)
        yield {"adjusted": total}


def adadagrad(model, gradient, lr, eps, theta, max_batches):
    """Batches pile up until the norm test on their sample variance passes; then AdaGrad along their mean."""
    squares, pile = zeros(model), []
    while True:
        pile.append(torch.cat([g.reshape(-1) for g in gradient(model)]))
        k, mean = len(pile), torch.stack(pile).mean(0)
        passed = False
        if k > 1:
            variance = sum(float(((g - mean) ** 2).sum()) for g in pile) / (k - 1)
            passed = variance / k <= theta**2 * float((mean**2).sum())
        if passed or k >= max_batches:
            for i, part in enumerate(mean.split([w.numel() for w in model])):
                g = part.view_as(model[i])
                squares[i] = squares[i] + g**2
                model[i] = model[i] - lr * g / (torch.sqrt(squares[i]) + eps)
            pile = []
        yield {"squares": squares}


def adadagrad_norm(model, gradient, lr, b0, theta, max_batches):
    """The same with one accumulator for all weights."""
    b2, pile = b0**2, []
    while True:
        pile.append(torch.cat([g.reshape(-1) for g in gradient(model)]))
        k, mean = len(pile), torch.stack(pile).mean(0)
        passed = False
        if k > 1:
            variance = sum(float(((g - mean) ** 2).sum()) for g in pile) / (k - 1)
            passed = variance / k <= theta**2 * float((mean**2).sum())
        if passed or k >= max_batches:
            b2 += float((mean**2).sum())
            for i, part in enumerate(mean.split([w.numel() for w in model])):
                model[i] = model[i] - lr / math.sqrt(b2) * part.view_as(model[i])
            pile = []
        yield {}


def matrices_with_adamw(model, gradient, matrices, rule, vector_lr, weight_decay, beta1, beta2, eps):
    """`rule(i, G, t)` gives the direction −η… of matrix i; every other tensor takes AdamW's step."""
    m, v, t = zeros(model), zeros(model), 0
    while True:
        t += 1
        gradients = gradient(model)
        for i, g in enumerate(gradients):
            if i in matrices:
                lr, step = rule(i, g, t)
            else:
                m[i] = beta1 * m[i] + (1 - beta1) * g
                v[i] = beta2 * v[i] + (1 - beta2) * g**2
                step = -vector_lr * (m[i] / (1 - beta1**t)) / (torch.sqrt(v[i] / (1 - beta2**t)) + eps)
                lr = vector_lr
            model[i] = model[i] - lr * weight_decay * model[i] + step
        yield {}


def newton_schulz(matrix):
    """Jordan et al. 2024: five quintic steps on the matrix over its Frobenius norm; tall ones transposed."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / matrix.norm()
    if matrix.shape[0] > matrix.shape[1]:
        x = x.T
    for _ in range(5):
        x = a * x + b * (x @ x.T) @ x + c * (x @ x.T) @ (x @ x.T) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def muon(
    model, gradient, matrices, lr, momentum, vector_lr, weight_decay, beta1, beta2, eps, nesterov=True, drawn=None
):
    """Jordan et al. 2024; with `drawn(i, t)`, Drop-Muon: matrix i moves in step t only where it is drawn."""
    buffers = zeros(model)

    def rule(i, g, t):
        if drawn is not None and not drawn(i, t):
            return 0.0, torch.zeros_like(g)
        buffers[i] = momentum * buffers[i] + (1 - momentum) * g
        ahead = momentum * buffers[i] + (1 - momentum) * g if nesterov else buffers[i]
        return lr, -lr * math.sqrt(max(1, g.shape[0] / g.shape[1])) * newton_schulz(ahead)

    return matrices_with_adamw(model, gradient, matrices, rule, vector_lr, weight_decay, beta1, beta2, eps)


def polargrad(model, gradient, matrices, lr, momentum, vector_lr, weight_decay, beta1, beta2, eps):
    """Lau, Long, Su 2025, momentum first, with the polar factor and nuclear norm from an SVD."""
    buffers = zeros(model)

    def rule(i, g, t):
        buffers[i] = momentum * buffers[i] + (1 - momentum) * g
        u, s, vt = torch.linalg.svd(buffers[i], full_matrices=False)
        return lr, -lr * s.sum() * (u @ vt)

    return matrices_with_adamw(model, gradient, matrices, rule, vector_lr, weight_decay, beta1, beta2, eps)


def root_by_eigenvectors(matrix, ridge):
    """(A + ρ tr(A) I)^(-1/4)."""
    values, vectors = torch.linalg.eigh(matrix + ridge * matrix.trace() * torch.eye(len(matrix), dtype=matrix.dtype))
    return vectors @ torch.diag(values**-0.25) @ vectors.T


def shampoo(model, gradient, matrices, interval, lr, statistics, ridge, weight_decay, beta1, beta2, eps):
    """Shi et al. 2023: exponential averages, filtered gradient, Adam grafting by Frobenius norm."""
    left, right, roots = {}, {}, {}
    m, v = zeros(model), zeros(model)

    def rule(i, g, t):
        left[i] = statistics * left.get(i, 0) + (1 - statistics) * g @ g.T
        right[i] = statistics * right.get(i, 0) + (1 - statistics) * g.T @ g
        if (t - 1) % interval == 0:
            roots[i] = root_by_eigenvectors(left[i], ridge), root_by_eigenvectors(right[i], ridge)
        m[i] = beta1 * m[i] + (1 - beta1) * g
        v[i] = beta2 * v[i] + (1 - beta2) * g**2
        filtered = m[i] / (1 - beta1**t)
        graft = filtered / (torch.sqrt(v[i] / (1 - beta2**t)) + eps)
        preconditioned = roots[i][0] @ filtered @ roots[i][1]
        return lr, -lr * graft.norm() / preconditioned.norm() * preconditioned

    return matrices_with_adamw(model, gradient, matrices, rule, lr, weight_decay, beta1, beta2, eps)


def soap(model, gradient, matrices, interval, lr, statistics, weight_decay, beta1, beta2, eps):
    """Vyas et al. 2025: Adam in the eigenbasis; the first step only measures; power iteration by Householder QR.

    With the shelf's ridge of 1e-5 of the trace, graded where the basis starts.
    """
    left, right, basis_left, basis_right = {}, {}, {}, {}
    m, v = zeros(model), zeros(model)

    def start(statistic):
        grades = torch.linspace(1, 0, len(statistic), dtype=statistic.dtype)
        return torch.linalg.eigh(statistic + 1e-5 * statistic.trace() * torch.diag(grades)).eigenvectors.flip(1)

    def power_iteration(statistic, basis):
        turned = (statistic + 1e-5 * statistic.trace() * torch.eye(len(statistic), dtype=statistic.dtype)) @ basis
        order = torch.argsort(torch.diag(basis.T @ turned), descending=True)
        return torch.linalg.qr(turned[:, order]).Q, order

    def rule(i, g, t):
        step = torch.zeros_like(g)
        if t > 1:
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * (basis_left[i].T @ g @ basis_right[i]) ** 2
            rotated = (basis_left[i].T @ m[i] @ basis_right[i]) / (torch.sqrt(v[i]) + eps)
            scale = math.sqrt(1 - beta2 ** (t - 1)) / (1 - beta1 ** (t - 1))
            step = -lr * scale * basis_left[i] @ rotated @ basis_right[i].T
        left[i] = statistics * left.get(i, 0) + (1 - statistics) * g @ g.T
        right[i] = statistics * right.get(i, 0) + (1 - statistics) * g.T @ g
        if t == 1:
            basis_left[i], basis_right[i] = start(left[i]), start(right[i])
        elif (t - 1) % interval == 0:
            basis_left[i], rows = power_iteration(left[i], basis_left[i])
            basis_right[i], columns = power_iteration(right[i], basis_right[i])
            v[i] = v[i][rows][:, columns]
        return lr, step

    return matrices_with_adamw(model, gradient, matrices, rule, lr, weight_decay, beta1, beta2, eps)
