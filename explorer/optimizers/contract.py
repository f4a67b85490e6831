"""Whether an optimizer keeps the challenge's contract, in sentences with the function and the tensor."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from explorer.base.tensors import Layout, Slot, Tensors
from explorer.optimizers.base import Optimizer

STEPS = 12
"""Two steps an epoch: the first epoch has no losses yet."""

WIDTHS = (2, 6, 6, 5, 3, 2)
"""Of the network that optimizers are checked on: the last two linear layers, and the batch norm between, are frozen."""


def layout(widths: Sequence[int] = WIDTHS) -> Layout:
    """The tensors of such a network in the harness's order."""
    layers = len(widths) - 1
    slots = []
    for index, (fan_in, fan_out) in enumerate(pairwise(widths)):
        slots.append(Slot(f"linears.{index}.weight", (fan_out, fan_in), index < layers - 2))
        slots.append(Slot(f"linears.{index}.bias", (fan_out,), index < layers - 2))
    for index, width in enumerate(widths[1:-1]):
        for kind in ("weight", "bias", "running_mean", "running_var"):
            statistic = kind.startswith("running")
            slots.append(Slot(f"norms.{index}.{kind}", (width,), index < layers - 2 and not statistic, statistic))
    return Layout(slots)


@dataclass(frozen=True)
class Report:
    """What a check found.

    broken: a sentence for each point that is not kept.  seconds: of one step at four runs, NaN where a point is not
    kept.  beside_adam: the same, over Adam's.
    """

    broken: tuple[str, ...]
    seconds: float
    beside_adam: float

    @property
    def kept(self) -> bool:
        return not self.broken


def check(optimizer: Optimizer) -> Report:
    """Run `optimizer` on a small made-up network and look at everything that it is given and gives."""
    from explorer.optimizers.adam import Adam

    broken = tuple(dict.fromkeys(_broken(optimizer)))
    seconds = float("nan") if broken else step_seconds(optimizer)
    return Report(broken, seconds, seconds / step_seconds(Adam()))


def _broken(optimizer: Optimizer) -> Iterator[str]:
    try:
        four = _Trial(optimizer, [0, 1, 2, 3])
        yield from four.sentences
        if four.sentences:
            return
        again = _Trial(optimizer, [0, 1, 2, 3])
        yield from _differences(four.steps, again.steps, "given the same twice, it answers differently")
        single = _Trial(optimizer, [2])
        yield from single.sentences
        picked = [{name: tensor[2:3] for name, tensor in step.items()} for step in four.steps]
        yield from _differences(single.steps, picked, "a run alone moves otherwise than among four: runs must not mix")
        order = [3, 1, 0, 2]
        permuted = _Trial(optimizer, order)
        picked = [{name: tensor[order] for name, tensor in step.items()} for step in four.steps]
        yield from _differences(permuted.steps, picked, "runs in another order move otherwise: runs must not mix")
    except _Raised as error:
        yield str(error)


class _Trial:
    """A few steps of the harness's loop for the runs given by their numbers, every rule checked on the way.

    sentences: what was broken.  steps: the updates of the trained tensors by name, of every step.
    """

    def __init__(self, optimizer: Optimizer, runs: Sequence[int]) -> None:
        self.sentences: list[str] = []
        self.steps: list[dict[str, Tensor]] = []
        self.layout = layout()
        params = self._stacked(runs, 0)
        seed = torch.tensor(runs)
        with self._untouched("init_state", params=params, seed=[seed]):
            state = optimizer.init_state(params, seed)
        if optimizer.capturable:
            self._check_state(state, len(runs))
        for step in range(1, STEPS + 1):
            epoch = (step - 1) // 2
            loss = torch.nan if epoch == 0 else 1.0 / epoch
            losses = [torch.full((len(runs),), loss, dtype=torch.float64) for _ in range(2)]
            told = torch.tensor(epoch), *losses
            with self._untouched("query_at_params", params=params, losses=losses):
                proposal = optimizer.query_at_params(state, params, *told)
            if proposal is not None:
                self._check_shapes("query_at_params", proposal, params)
                self._check_frozen(proposal, params)
            if self.sentences:
                return
            noise = self._stacked(runs, step)
            gradients = self.layout.zeros(len(runs), "cpu", torch.float64)
            at = params if proposal is None else proposal
            for gradient, place, far, on in zip(gradients, at, noise, params.trainable, strict=True):
                if on:
                    gradient.copy_(place - 0.5 + far)
            with self._untouched("step", params=params, gradients=gradients, losses=losses):
                updates = optimizer.step(state, params, gradients, *told)
            self._check_shapes("step", updates, params)
            if self.sentences:
                return
            trained = [
                (slot.name, update) for slot, update in zip(self.layout.slots, updates, strict=True) if slot.trainable
            ]
            self.steps.append({name: update.clone() for name, update in trained})
            for param, update, on in zip(params, updates, params.trainable, strict=True):
                if on:
                    param.add_(update)

    def _stacked(self, runs: Sequence[int], step: int) -> Tensors:
        """Random numbers that depend on run, tensor and step alone; the model itself in step 0."""
        tensors = self.layout.zeros(len(runs), "cpu", torch.float64)
        for index, tensor in enumerate(tensors):
            for place, run in enumerate(runs):
                generator = torch.Generator().manual_seed((run * 1000 + step) * 1000 + index)
                tensor[place] = torch.randn(tensor.shape[1:], generator=generator, dtype=torch.float64) * 0.3
        return tensors

    def _untouched(self, function: str, **given: Sequence[Tensor]) -> _Untouched:
        return _Untouched(function, given, self.sentences)

    def _check_state(self, state: Any, runs: int) -> None:
        if not isinstance(state, dict):
            self.sentences.append(f"init_state returned {type(state).__name__}, not a dictionary of named state.")
        for name, tensor in _tensors(state):
            if tensor.dim() and len(tensor) != runs:
                self.sentences.append(
                    f"init_state: {name} has shape {list(tensor.shape)}; its first axis must be the {runs} runs'."
                )

    def _check_shapes(self, function: str, returned: Any, params: Tensors) -> None:
        if not isinstance(returned, Sequence):
            self.sentences.append(f"{function} returned {type(returned).__name__}, not a list of tensors.")
        elif len(returned) != len(params):
            self.sentences.append(f"{function} returned {len(returned)} tensors; there are {len(params)}.")
        else:
            for slot, tensor, param in zip(self.layout.slots, returned, params, strict=True):
                if not isinstance(tensor, Tensor) or tensor.shape != param.shape:
                    got = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
                    self.sentences.append(f"{function}: {slot.name} came back as {got}, not {list(param.shape)}.")
                elif not tensor.isfinite().all():
                    self.sentences.append(f"{function}: {slot.name} came back with NaN or infinity.")

    def _check_frozen(self, proposal: Sequence[Tensor], params: Tensors) -> None:
        for slot, proposed, param in zip(self.layout.slots, proposal, params, strict=True):
            if not slot.trainable and not slot.statistic and not torch.equal(proposed, param):
                self.sentences.append(f"query_at_params: {slot.name} is frozen, and must be proposed as it is.")


class _Raised(Exception):
    """A function of the contract raised, and which."""


class _Untouched:
    """Within: a call of `function`; afterwards, a sentence for each tensor it was given and wrote to."""

    def __init__(self, function: str, given: dict[str, Sequence[Tensor]], sentences: list[str]) -> None:
        self._function, self._given, self._sentences = function, given, sentences

    def __enter__(self) -> None:
        self._before = {name: [tensor.clone() for tensor in tensors] for name, tensors in self._given.items()}

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            raise _Raised(f"{self._function} raised {type(error).__name__}: {error}") from error
        for name, tensors in self._given.items():
            names = tensors.names if isinstance(tensors, Tensors) else range(len(tensors))
            for place, tensor, before in zip(names, tensors, self._before[name], strict=True):
                if not torch.equal(tensor.nan_to_num(), before.nan_to_num()):
                    self._sentences.append(f"{self._function} wrote into the {name} it was given: {place}.")


def _differences(found: list[dict[str, Tensor]], expected: list[dict[str, Tensor]], sentence: str) -> Iterator[str]:
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True), start=1):
        for name, update in ours.items():
            if not torch.allclose(update, theirs[name], rtol=1e-9, atol=1e-11):
                yield f"step: {name} in step {step}: {sentence}."
                return


def _tensors(state: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a state with the name it goes by."""
    if isinstance(state, Tensor):
        yield name, state
    elif isinstance(state, dict):
        for key, value in state.items():
            yield from _tensors(value, f"{name}.{key}" if name else str(key))
    elif isinstance(state, list | tuple):
        for place, value in enumerate(state):
            yield from _tensors(value, f"{name}[{place}]")


def step_seconds(optimizer: Optimizer, runs: int = 4, width: int = 64, steps: int = 20) -> float:
    """Wall time of one step on this machine's CPU, the shortest of `steps`: other programs only make it longer."""
    tensors = layout((1, width, width, width, width, 2))
    params = tensors.zeros(runs, "cpu", torch.float32)
    params.flat.normal_(generator=torch.Generator().manual_seed(0))
    gradients = params.clone()
    state = optimizer.init_state(params, torch.arange(runs))
    losses = torch.ones(runs)
    seconds = []
    for step in range(steps):
        began = time.perf_counter()
        optimizer.query_at_params(state, params, torch.tensor(step), losses, losses)
        optimizer.step(state, params, gradients, torch.tensor(step), losses, losses)
        seconds.append(time.perf_counter() - began)
    return min(seconds)
