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


def classp(model, gradient, lr, power, threshold, eps):
    """Ludwig 2024, weight by weight."""
    total = zeros(model)
    while True:
        for w, g, s in zip(model, gradient(model), total, strict=True):
            for weight, slope, sum_ in zip(w.view(-1), g.reshape(-1), s.view(-1), strict=True):
                if float(slope) ** 2 > threshold:
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
