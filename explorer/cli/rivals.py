"""What the fleet is measured against: the same challenge with Adam, written as one would by hand."""

# pyright: reportMissingImports=false

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from explorer.challenge import Challenge

LR = 1e-3


def plain(challenge: Challenge, device: torch.device) -> Callable[[], None]:
    """One epoch of one run in plain PyTorch: `nn.Sequential`, `torch.optim.Adam`, `.item()` after every batch."""
    data = challenge.dataset(0)
    train, val, test = (
        [torch.tensor(values, dtype=torch.float32, device=device) for values in (part.inputs, part.targets)]
        for part in (data.train, data.val, data.test)
    )
    widths = [challenge.input_dims] + [challenge.width] * challenge.num_hidden_layers
    layers: list[torch.nn.Module] = []
    for below, above in pairwise(widths):
        layers += [torch.nn.Linear(below, above), torch.nn.ReLU(), torch.nn.BatchNorm1d(above)]
    layers.append(torch.nn.Linear(widths[-1], challenge.output_dims))
    if challenge.frozen_layers:
        linears = [index for index, layer in enumerate(layers) if isinstance(layer, torch.nn.Linear)]
        for layer in layers[linears[-challenge.frozen_layers] :]:
            layer.requires_grad_(False)
    model = torch.nn.Sequential(*layers).to(device)
    adam = torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad], lr=LR)
    total = 1.0 if challenge.gradient_reduction == "sum" else 1 / challenge.output_dims

    def epoch() -> None:
        model.train()
        losses = 0.0
        for batch in torch.randperm(challenge.train_size, device=device).split(challenge.batch_size):
            adam.zero_grad()
            squared = (model(train[0][batch]) - train[1][batch]).square().sum()
            (squared * (total if challenge.gradient_reduction == "sum" else total / len(batch))).backward()
            adam.step()
            losses += squared.item()
        model.eval()
        with torch.no_grad():
            for inputs, targets in (val, test):
                losses += (model(inputs) - targets).square().mean().item()

    return epoch


def jax_scan(challenge: Challenge, epochs: int) -> Callable[[], None]:
    """`epochs` epochs of one run in JAX on its default device: `jit` of `scan` over batches and epochs.

    `ImportError` where there is no JAX.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or it takes most of the memory for itself
    import jax
    import jax.numpy as jnp

    data = challenge.dataset(0)
    train, val, test = (
        (jnp.asarray(part.inputs, jnp.float32), jnp.asarray(part.targets, jnp.float32))
        for part in (data.train, data.val, data.test)
    )
    hidden, frozen_from = challenge.num_hidden_layers, challenge.num_hidden_layers + 1 - challenge.frozen_layers
    widths = [challenge.input_dims, *[challenge.width] * hidden, challenge.output_dims]
    keys = jax.random.split(jax.random.key(0), hidden + 1)
    weights = [
        {
            "w": (jax.random.uniform(key, (below, above)) - 0.5) * (2 / (below + above)) ** 0.5,
            "b": jnp.zeros(above),
            "gamma": jnp.ones(above),
            "beta": jnp.zeros(above),
        }
        for key, below, above in zip(keys, widths, widths[1:], strict=False)
    ]
    trained, fixed = weights[:frozen_from], weights[frozen_from:]
    statistics = [(jnp.zeros(challenge.width), jnp.ones(challenge.width)) for _ in range(hidden)]

    def forward(trained: Any, x: Any, statistics: Any, training: bool) -> tuple[Any, Any]:
        after, layers = [], trained + fixed
        for layer, (running_mean, running_var) in zip(layers, statistics, strict=False):
            a = jax.nn.relu(x @ layer["w"] + layer["b"])
            mean, var = (a.mean(0), a.var(0)) if training else (running_mean, running_var)
            x = layer["gamma"] * (a - mean) / jnp.sqrt(var + 1e-5) + layer["beta"]
            unbiased = var * (len(a) / (len(a) - 1))
            after.append((0.9 * running_mean + 0.1 * mean, 0.9 * running_var + 0.1 * unbiased))
        return x @ layers[-1]["w"] + layers[-1]["b"], after

    def loss(trained: Any, x: Any, y: Any, statistics: Any) -> tuple[Any, Any]:
        outputs, after = forward(trained, x, statistics, training=True)
        squared = jnp.square(outputs - y).sum()
        scale = 1.0 if challenge.gradient_reduction == "sum" else 1 / y.size
        return squared * scale, (after, squared)

    def batch(carry: Any, chosen: Any) -> tuple[Any, Any]:
        trained, statistics, m, v, t = carry
        grads, (statistics, squared) = jax.grad(loss, has_aux=True)(
            trained, train[0][chosen], train[1][chosen], statistics
        )
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        trained = jax.tree.map(
            lambda p, m, v: p - LR * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8), trained, m, v
        )
        return (trained, statistics, m, v, t), squared

    def epoch(carry: Any, key: Any) -> tuple[Any, Any]:
        order = jax.random.permutation(key, challenge.train_size)
        whole = challenge.train_size // challenge.batch_size * challenge.batch_size
        carry, squared = jax.lax.scan(batch, carry, order[:whole].reshape(-1, challenge.batch_size))
        if whole < challenge.train_size:
            carry, _ = batch(carry, order[whole:])
        heldout = [jnp.square(forward(carry[0], x, carry[1], False)[0] - y).mean() for x, y in (val, test)]
        return carry, (squared.sum(), *heldout)

    zeros = jax.tree.map(jnp.zeros_like, trained)
    carry = (trained, statistics, zeros, zeros, jnp.zeros(()))
    run = jax.jit(partial(jax.lax.scan, epoch))
    orders = jax.random.split(jax.random.key(1), epochs)

    def go() -> None:
        nonlocal carry
        carry, found = run(carry, orders)
        jax.block_until_ready(found)

    return go
