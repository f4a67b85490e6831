"""A small fleet without a network: what an optimizer is handed, and gradients that depend on the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from explorer.base.tensors import Layout, Slot, Tensors
from explorer.optimizers.base import Optimizer, State

WIDTHS = (1, 4, 4, 4, 6, 2)
"""The first four linear layers are trained, the last is frozen, as is one batch norm."""

SLOTS = [
    Slot(f"linears.{index}.{kind}", shape, index < 4)
    for index, (fan_in, fan_out) in enumerate(pairwise(WIDTHS))
    for kind, shape in (("weight", (fan_out, fan_in)), ("bias", (fan_out,)))
] + [
    Slot(f"norms.{index}.{kind}", (width,), index < 3 and not kind.startswith("running"), kind.startswith("running"))
    for index, width in enumerate(WIDTHS[1:-1])
    for kind in ("weight", "bias", "running_mean", "running_var")
]
LAYOUT = Layout(SLOTS)
TRAINED = [index for index, slot in enumerate(SLOTS) if slot.trainable]
MATRICES = [place for place, index in enumerate(TRAINED) if len(SLOTS[index].shape) == 2]
"""Places in TRAINED of the weight matrices."""
HIDDEN = MATRICES[1:]
"""Those that are neither the model's first nor its last (which is frozen)."""

Model = Sequence[Tensor]
Slope = Callable[[int, int, Model], list[Tensor]]
"""Gradients of run r at step t for that run's tensors (of TRAINED, without a run axis)."""


def start(runs: int, dtype: torch.dtype = torch.float64) -> Tensors:
    """Random parameters of `runs` runs; each run's do not depend on how many there are."""
    params = LAYOUT.zeros(runs, "cpu", dtype)
    for index, tensor in enumerate(params):
        for run in range(runs):
            generator = torch.Generator().manual_seed(1000 * run + index)
            tensor[run] = torch.randn(tensor.shape[1:], generator=generator, dtype=torch.float64) * 0.5
    return params


def slope(step: int, run: int, model: Model) -> list[Tensor]:
    """A noisy, slightly curved pull of every tensor towards a place of its own."""
    gradients = []
    for index, tensor in enumerate(model):
        generator = torch.Generator().manual_seed(7919 * step + 101 * run + index)
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype)
        gradients.append(tensor - torch.sin(1 + index + tensor) + 0.3 * noise)
    return gradients


def gradients_of(params: Sequence[Tensor], step: int, runs: Sequence[int] | None = None) -> Tensors:
    """The fleet's gradients: `slope` where something is trained, zero elsewhere."""
    gradients = LAYOUT.zeros(len(params[0]), "cpu", params[0].dtype)
    for place, run in enumerate(runs if runs is not None else range(len(params[0]))):
        for index, gradient in zip(TRAINED, slope(step, run, [params[i][place] for i in TRAINED]), strict=True):
            gradients[index][place] = gradient
    return gradients


def bind(optimizer: Optimizer, runs: int, dtype: torch.dtype = torch.float64, **columns: Sequence[float]) -> Optimizer:
    """The optimizer as a fleet binds it: every hyperparameter that can be swept as a column `[R]`."""
    values = {name: [getattr(optimizer, name)] * runs for name in optimizer.fields() if optimizer.sweepable(name)}
    return optimizer.bind({name: torch.tensor(column, dtype=dtype) for name, column in (values | columns).items()})


def told(step: int, runs: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Epoch, training loss and validation loss: two steps an epoch, NaN in the first."""
    epoch = step // 2
    losses = torch.full((2, runs), torch.nan if epoch == 0 else 1.0 + 0.3 * (-1) ** epoch / (1 + epoch), dtype=dtype)
    return torch.tensor(epoch), losses[0], losses[1]


def drive(
    optimizer: Optimizer,
    params: Tensors,
    steps: int,
    seeds: Sequence[int] | None = None,
    runs: Sequence[int] | None = None,
) -> Iterator[tuple[Tensors, State]]:
    """Run the loop of a fleet on `params` in place; yield parameters and state after each step.

    seeds: of the optimizer, one a run.  runs: whose gradients each place gets.
    """
    count = len(params[0])
    state = optimizer.init_state(params, torch.tensor(seeds if seeds is not None else list(range(count))))
    for step in range(steps):
        given = told(step, count, params[0].dtype)
        proposal = optimizer.query_at_params(state, params, *given)
        gradients = gradients_of(params if proposal is None else proposal, step, runs)
        updates = optimizer.step(state, params, gradients, *given)
        for param, update, trainable in zip(params, updates, params.trainable, strict=True):
            if trainable:
                param.add_(update)
        yield params, state


def torch_run(
    make: Callable[[list[Tensor]], torch.optim.Optimizer], run: int, steps: int, **names: str
) -> Iterator[tuple[list[Tensor], dict[str, Any]]]:
    """The same run under a `torch.optim` optimizer; `names` says what our state is called in its state."""
    model = [torch.nn.Parameter(start(run + 1)[index][run].clone()) for index in TRAINED]
    optimizer = make(model)
    for step in range(steps):
        for param, gradient in zip(model, slope(step, run, [p.detach() for p in model]), strict=True):
            param.grad = gradient
        optimizer.step()
        theirs = {ours: [optimizer.state[p].get(name) for p in model] for ours, name in names.items()}
        yield [p.detach() for p in model], theirs


def literal_run(transcription: Any, run: int, steps: int, **hyperparameters: float) -> Iterator[tuple[list, dict]]:
    """The same run under a literal transcription: `transcription(model, gradient, **hyperparameters)` yields states.

    `gradient(model)` gives this step's gradients; the transcription changes `model` in place and yields its memory.
    """
    model = [start(run + 1)[index][run].clone() for index in TRAINED]
    step = 0

    def gradient(at: Model) -> list[Tensor]:
        return slope(step, run, at)

    memory = transcription(model, gradient, **hyperparameters)
    for step in range(steps):  # noqa: B007 - the closure above reads it
        yield model, next(memory)


def per_run(columns: dict[str, list[float]]) -> list[dict[str, float]]:
    """Columns of hyperparameters as one dictionary a run."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def agree(
    optimizer: Optimizer, references: list[Iterator], columns: dict[str, list[float]], steps: int, rtol: float = 1e-10
) -> None:
    """Every step's parameters, and the state that the references name, of every run."""
    runs = len(references)
    bound = bind(optimizer, runs, **columns)
    for (params, state), *theirs in zip(drive(bound, start(runs), steps), *references, strict=True):
        for run, (model, memory) in enumerate(theirs):
            for index, expected in zip(TRAINED, model, strict=True):
                torch.testing.assert_close(params[index][run], expected, rtol=rtol, atol=rtol / 10)
            for name, tensors in memory.items():
                for index, expected in zip(TRAINED, tensors, strict=True):
                    if expected is not None:
                        torch.testing.assert_close(state[name][index][run], expected, rtol=rtol, atol=rtol / 10)
