"""The process that a person's optimizer runs in: obeys one message after the other until nobody sends any."""

from __future__ import annotations

import json
import mmap
import os
import sys
import threading
import time
from contextlib import nullcontext, suppress
from itertools import count
from typing import Any, BinaryIO

import param
import torch

from explorer.optimizers import contract
from explorer.optimizers.base import Optimizer, State
from explorer.optimizers.plugins import FUNCTIONS, Functions, load_class, looked_at
from explorer.training.faults import sentence
from explorer.training.rehearsal import duplicate, undisturbed_chance
from explorer.training.separate.wire import KINDS, LENGTH, Space, fill, layout_of, pack


class Held:
    """An optimizer at work: with the tensors it shares, and its state.  rehearsed: a copy that nobody must notice."""

    def __init__(self, optimizer: Optimizer, space: Space, names: list[str], device: torch.device) -> None:
        self.space, self.device = space, device
        self.columns = {name: space.columns[place].to(device, copy=True) for place, name in enumerate(names)}
        self.optimizer = optimizer.bind(self.columns)
        self.state: State = {}
        self.rehearsed = False

    def copy(self) -> Held:
        """Another one, whose state is a copy."""
        other = object.__new__(Held)
        vars(other).update(vars(self))
        other.state, other.rehearsed = duplicate(self.state), True
        return other

    def told(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Take over the hyperparameters as they are now; epoch and losses, where the optimizer works."""
        for column, now in zip(self.columns.values(), self.space.columns, strict=True):
            column.copy_(now)
        train_loss, val_loss = self.space.losses.to(self.device, copy=True)
        return torch.tensor(epoch, device=self.device), train_loss, val_loss

    def there(self, tensors: Any) -> Any:
        """A model of the space as a copy of its own, on the device."""
        return type(tensors)(tensors.layout, tensors.buffer.to(self.device, copy=True))


class Child:
    """What can be asked of the process; each method answers one message, by its name."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._numbers = count()
        self._kind: type[Optimizer] = Optimizer

    def load(self, path: str, threads: int) -> dict[str, Any]:
        torch.set_num_threads(threads)
        self._kind = load_class(path)
        fields = [_field(name, field) for name, field in self._kind.fields().items()]
        told = {"key": self._kind.key, "doc": self._kind.__doc__ or "", "proposes": self._kind.proposes}
        return told | {"fields": fields, "rates": list(self._kind.rates)}

    def check(self) -> dict[str, Any]:
        report = contract.check(self._kind())
        kept = {"seconds": report.seconds, "beside_adam": report.beside_adam} if report.kept else {}
        return {"broken": list(report.broken), **kept}

    def open(
        self, file: str, slots: list[Any], runs: int, dtype: str, device: str, values: dict[str, Any], names: list[str],
        seeds: list[int], gpu_bytes: int,
    ) -> dict[str, Any]:  # fmt: skip
        where = torch.device(device)
        if where.type == "cuda":
            torch.cuda.set_device(where)
            torch.cuda.set_per_process_memory_fraction(min(1.0, gpu_bytes / torch.cuda.mem_get_info(where)[1]), where)
        with open(file, "r+b") as shared:
            memory = mmap.mmap(shared.fileno(), 0)
        space = Space(memory, layout_of(slots), runs, len(names), getattr(torch, dtype))
        held = Held(self._kind(**values), space, names, where)
        held.state = held.optimizer.init_state(held.there(space.given), torch.tensor(seeds, device=where))
        return {"state": self._keep(held)}

    def query(self, state: int, epoch: int) -> dict[str, Any]:
        held = self._held[state]
        given = held.there(held.space.given)
        with _chance(held):
            proposal = held.optimizer.query_at_params(held.state, given, *held.told(epoch))
        if proposal is not None:
            self._make(held, FUNCTIONS[1], proposal)
        return {"made": proposal is not None}

    def step(self, state: int, epoch: int) -> dict[str, Any]:
        held = self._held[state]
        given, gradients = held.there(held.space.given), held.there(held.space.gradients)
        with _chance(held):
            updates = held.optimizer.step(held.state, given, gradients, *held.told(epoch))
        self._make(held, FUNCTIONS[2], updates)
        return {"made": True}

    def copy(self, state: int) -> dict[str, Any]:
        return {"state": self._keep(self._held[state].copy())}

    def forget(self, states: list[int]) -> dict[str, Any]:
        for state in states:
            self._held.pop(state, None)
        return {}

    def _keep(self, held: Held) -> int:
        number = next(self._numbers)
        self._held[number] = held
        return number

    def _make(self, held: Held, function: str, made: Any) -> None:
        space = held.space
        if not isinstance(held.optimizer, Functions):  # which has looked already
            given = [space.given] if function == FUNCTIONS[1] else [space.given, space.gradients]
            made = looked_at(function, made, space.given, given)
        fill(space.made, made)


def _chance(held: Held) -> Any:
    return undisturbed_chance(held.device) if held.rehearsed else nullcontext()


def _field(name: str, field: param.Parameter) -> dict[str, Any]:
    kind = next((kind for kind, known in KINDS.items() if isinstance(field, known)), None)
    if kind is None:
        raise ValueError(f"{name} is declared as {type(field).__name__}; it must be one of {', '.join(KINDS)}.")
    told = {"name": name, "kind": kind, "default": field.default, "doc": field.doc or ""}
    if isinstance(field, param.Selector):
        told["objects"] = list(field.objects)
    elif isinstance(field, param.Number):
        told |= {
            "bounds": field.bounds and list(field.bounds),
            "softbounds": field.softbounds and list(field.softbounds),
            "inclusive_bounds": list(field.inclusive_bounds),
        }
    return told


def answer(child: Child, message: dict[str, Any]) -> dict[str, Any]:
    """What there is to say to a message: a fault is a sentence."""
    try:
        return getattr(child, message.pop("do"))(**message)
    except SystemExit:
        return {"error": "It called sys.exit, which ends nothing here but its own runs."}
    except BaseException as error:
        return {"error": sentence(error)}


def main() -> None:
    """Obey until the other end is gone."""
    # What the file prints goes where its errors go: this process's own output is the wire.
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    commands: BinaryIO = os.fdopen(os.dup(0), "rb")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    with suppress(OSError):
        os.nice(19)  # other people's training goes first
    child = Child()
    replies.write(pack({"ready": True}))
    while head := commands.read(LENGTH.size):
        message = json.loads(commands.read(LENGTH.unpack(head)[0]))
        reply = pack(answer(child, message))
        replies.write(reply)


def _end_with(parent: int) -> None:
    """A process that hangs must not outlive the one that could end it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    main()
    sys.exit()
