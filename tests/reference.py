"""Literal twins: the challenge written out a second time, for one run, from modules that everybody knows.

Nothing here is fast, and nothing is shared with the code under test but the data and the initial weights that are
handed in.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from explorer import Challenge
from explorer.challenge import Dataset

MASK = (1 << 64) - 1


@dataclass
class LiteralRun:
    """Losses by epoch, and the model after the last epoch and at its best, tensors in the harness's order."""

    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0
    last: list[Tensor] = field(default_factory=list)
    best: list[Tensor] = field(default_factory=list)


def network(challenge: Challenge) -> nn.Sequential:
    """N × (Linear, ReLU, BatchNorm1d), then Linear; float64."""
    layers: list[nn.Module] = []
    width = challenge.input_dims
    for _ in range(challenge.num_hidden_layers):
        layers += [
            nn.Linear(width, challenge.width),
            nn.ReLU(),
            nn.BatchNorm1d(challenge.width, eps=1e-5, momentum=0.1),
        ]
        width = challenge.width
    layers.append(nn.Linear(width, challenge.output_dims))
    model = nn.Sequential(*layers).double()
    if challenge.frozen_layers:
        first_frozen = [module for module in model if isinstance(module, nn.Linear)][-challenge.frozen_layers]
        frozen = False
        for module in model:
            frozen = frozen or module is first_frozen
            for parameter in module.parameters():
                parameter.requires_grad_(not frozen)
    return model


def harness_order(model: nn.Sequential) -> list[Tensor]:
    """Weight and bias of every Linear, then weight, bias, running mean and running variance of every BatchNorm."""
    linears = [module for module in model if isinstance(module, nn.Linear)]
    norms = [module for module in model if isinstance(module, nn.BatchNorm1d)]
    tensors = [tensor for linear in linears for tensor in (linear.weight, linear.bias)]
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        tensors += [norm.weight, norm.bias, norm.running_mean, norm.running_var]
    return [tensor.detach() for tensor in tensors]


def literal_run(
    challenge: Challenge,
    dataset: Dataset,
    start: Sequence[Tensor],
    orders: Sequence[Sequence[int]],
    make_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    propose: Callable[[list[Tensor]], None] | None = None,
) -> LiteralRun:
    """Train one network for one epoch an entry of `orders`, an epoch being that order of the training samples.

    start: initial tensors in the harness's order.  propose: changes the tensors (harness's order) in place before each
    forward pass; afterwards the originals are put back.
    """
    model = network(challenge)
    for tensor, value in zip(harness_order(model), start, strict=True):
        tensor.copy_(value)
    optimizer = make_optimizer([parameter for parameter in model.parameters() if parameter.requires_grad])
    x, y = torch.tensor(dataset.train.inputs), torch.tensor(dataset.train.targets)
    run, best_val = LiteralRun(), math.inf

    for epoch, order in enumerate(orders, start=1):
        model.train()
        squared_error = 0.0
        for begin in range(0, len(order), challenge.batch_size):
            rows = torch.as_tensor(order[begin : begin + challenge.batch_size])
            originals = copy.deepcopy(model.state_dict())
            if propose is not None:
                propose(harness_order(model))
            error = (model(x[rows]) - y[rows]) ** 2
            optimizer.zero_grad()
            (error.mean() if challenge.gradient_reduction == "mean" else error.sum()).backward()
            if propose is not None:
                for name, tensor in model.state_dict().items():
                    if "running" not in name or challenge.restore_statistics:
                        tensor.copy_(originals[name])
            optimizer.step()
            squared_error += error.sum().item()
        run.train_loss.append(squared_error / y.numel())

        model.eval()
        with torch.no_grad():
            for samples, losses in ((dataset.val, run.val_loss), (dataset.test, run.test_loss)):
                losses.append(
                    nn.functional.mse_loss(model(torch.tensor(samples.inputs)), torch.tensor(samples.targets)).item()
                )
        if run.val_loss[-1] < best_val - challenge.min_delta:
            best_val, run.best_epoch = run.val_loss[-1], epoch
            run.best = [tensor.clone() for tensor in harness_order(model)]
    run.last = harness_order(model)
    return run


def splitmix(state: int) -> int:
    """SplitMix64's finalizer on Python's integers."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def hashed_bits(seed: int, stream: int, counter: int) -> int:
    """The unsigned 64 bits that `explorer.base.random.bits` should give for one seed, stream and counter."""
    golden = 0x9E3779B97F4A7C15
    key = splitmix((seed * 4 + stream + golden) & MASK)
    return splitmix((key + (counter + 1) * golden) & MASK)


def batch_order(seed: int, epoch: int, size: int) -> list[int]:
    """The order of `size` samples in epoch `epoch` (from 0): by signed hash, as `Fleet` shuffles."""
    hashes = np.array([hashed_bits(seed, 2, epoch * size + item) for item in range(size)], dtype=np.uint64)
    return np.argsort(hashes.view(np.int64), kind="stable").tolist()
