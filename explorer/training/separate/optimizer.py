"""An optimizer whose functions run in a process of their own: here it is a class like any other."""

from __future__ import annotations

import mmap
import os
import re
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import param
import torch

from explorer import optimizers
from explorer.base.tensors import Layout, Slot, Tensors
from explorer.optimizers.base import Optimizer
from explorer.optimizers.contract import Report
from explorer.training.separate.process import Limits, Process, shown
from explorer.training.separate.wire import KINDS, Space, fill, slots_of

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
MOST_FIELDS, LONGEST_DOC = 64, 20_000


class Separate(Optimizer):
    """Base of the classes that stand for an optimizer in another process.

    State: `there`, what the process keeps.
    """

    capturable = False
    path: ClassVar[Path]
    limits: ClassVar[Limits]
    quiet: ClassVar[bool]
    process: ClassVar[Process]

    def init_state(self, params, seed):
        return {"there": There(self, params, seed)}

    def query_at_params(self, state, params, epoch, train_loss, val_loss):
        there: There = state["there"]
        return there.call("query", self, params, None, epoch, train_loss, val_loss)

    def step(self, state, params, gradients, epoch, train_loss, val_loss):
        there: There = state["there"]
        return there.call("step", self, params, gradients, epoch, train_loss, val_loss)

    @classmethod
    def running(cls) -> Process:
        """The process, started anew where it had to be ended: what was there before is lost."""
        if cls.process.over:
            cls.process = _started(cls.path, cls.limits, cls.quiet)[0]
        return cls.process

    @classmethod
    def varying(cls) -> list[str]:
        """The hyperparameters that differ by run, and change while it trains."""
        return [name for name in cls.fields() if cls.sweepable(name)]


RESERVED = {*dir(Separate), *Separate.__annotations__}
"""Names that a setting cannot have: they are the class's own."""


class There:
    """A state in the other process, and the tensors that both see."""

    def __init__(self, optimizer: Separate, params: Any, seed: torch.Tensor) -> None:
        self.process = optimizer.running()
        names, first = optimizer.varying(), params[0]
        layout = params.layout if isinstance(params, Tensors) else _plain(params)
        self.like, self.seconds = first.new_zeros(len(first)), optimizer.limits.seconds
        memory, file = _shared(Space.bytes_of(layout, len(first), len(names), first.dtype))
        try:
            self.space = Space(memory, layout, len(first), len(names), first.dtype)
            self.process.allow(len(memory))
            fill(self.space.given, params)
            self._tell(optimizer)
            fixed = {name: value for name, value in optimizer.values.items() if name not in names}
            reply = self.process.ask(
                self.seconds,
                "open",
                file=file,
                slots=slots_of(layout),
                runs=len(first),
                dtype=str(first.dtype).removeprefix("torch."),
                device=str(first.device),
                values=fixed,
                names=names,
                seeds=seed.tolist(),
                gpu_bytes=optimizer.limits.memory,
            )
        finally:
            os.unlink(file)  # both have it open
        self._take(_number(self.process, reply, "state"))

    def call(self, do: str, optimizer: Separate, params: Any, gradients: Any, epoch: Any, *losses: Any) -> Any:
        """What the function returned, or None where it proposed nothing."""
        fill(self.space.given, params)
        if gradients is not None:
            fill(self.space.gradients, gradients)
        for row, loss in zip(self.space.losses, losses, strict=True):
            row.copy_(loss)
        self._tell(optimizer)
        reply = self.process.ask(self.seconds, do, state=self.number, epoch=int(epoch))
        if reply.get("made") is not True:
            return None
        return Tensors(self.space.made.layout, self.space.made.buffer.to(self.like.device, copy=True))

    def __deepcopy__(self, memo: Any) -> There:
        other = object.__new__(There)
        vars(other).update(vars(self))
        other._take(_number(self.process, self.process.ask(self.seconds, "copy", state=self.number), "state"))
        return other

    def _take(self, number: int) -> None:
        self.number = number
        weakref.finalize(self, self.process.forget, number)

    def _tell(self, optimizer: Separate) -> None:
        """The hyperparameters as they are now, what a schedule does to them included."""
        for row, column in zip(
            self.space.columns, optimizer.columns(*optimizer.varying(), like=self.like), strict=True
        ):
            row.copy_(column)


def load(
    path: str | Path,
    modify: str | Iterable[str] = (),
    limits: Limits | None = None,
    quiet: bool = False,
    **hyperparameters: Any,
) -> Optimizer:
    """The optimizer in the Python file at `path`, which from then on is on the shelf too, in a process of its own.

    As `explorer.optimizers.load`, but nothing of the file runs here: one that hangs, takes too much memory or ends its
    process ends its runs as `failed`, with a sentence.  quiet: drop what it prints.  `ValueError` says what is wrong.
    """
    limits = limits or Limits()
    process, told = _started(Path(path), limits, quiet)
    try:
        kind = _class(told)
    except Exception:
        process.close()
        raise
    if kind["key"] in optimizers.names() and not issubclass(optimizers.get(kind["key"]), Separate):
        process.close()
        raise ValueError(f"plugin = {str(path)!r} is called {kind['key']}, as an optimizer on the shelf is: rename it.")
    members = {"path": Path(path), "limits": limits, "quiet": quiet, "process": process}
    made = type(kind["key"], (Separate,), kind | members)
    weakref.finalize(made, process.close)
    return optimizers.create(made.key, modify, **hyperparameters)


def check(path: str | Path, limits: Limits | None = None) -> tuple[str, Report]:
    """The name of the optimizer in the file at `path`, and whether it keeps the contract; looked at over there."""
    limits = limits or Limits()
    process, told = _started(Path(path), limits, quiet=False)
    try:
        key = _class(told)["key"]
        try:
            reply = process.ask(limits.checking, "check")
        except ValueError as error:
            return key, Report((str(error),), float("nan"), float("nan"))
        broken = tuple(shown(sentence) for sentence in list(reply.get("broken", ())))
        return key, Report(broken, *(float(reply.get(name, "nan")) for name in ("seconds", "beside_adam")))
    finally:
        process.close()


def _started(path: Path, limits: Limits, quiet: bool) -> tuple[Process, dict[str, Any]]:
    if not path.is_file():
        raise ValueError(f"plugin = {str(path)!r} is not a Python file.")
    process = Process(path.name, limits, quiet)
    try:
        return process, process.ask(limits.loading, "load", path=str(path), threads=torch.get_num_threads())
    except ValueError:
        process.close()
        raise


def _class(told: dict[str, Any]) -> dict[str, Any]:
    """The members of a class from what its file says of itself, every word of it checked."""
    key, doc, fields, rates = (told.get(name) for name in ("key", "doc", "fields", "rates"))
    if not (isinstance(key, str) and NAME.fullmatch(key)):
        raise ValueError(f"The plug-in is called {shown(key)!r}; its name must be letters, digits and _, up to 40.")
    if not isinstance(fields, list) or len(fields) > MOST_FIELDS or not isinstance(doc, str):
        raise ValueError(f"{key} describes itself in a way that is not understood.")
    made: dict[str, Any] = {"key": key, "__doc__": doc[:LONGEST_DOC], "__module__": __name__}
    for field in fields:
        name = field.get("name") if isinstance(field, dict) else None
        if not (isinstance(name, str) and NAME.fullmatch(name)) or name in RESERVED:
            raise ValueError(f"{key} has a setting {shown(name)!r}, which is not a name it can have.")
        try:
            made[name] = _parameter(field)
        except Exception:
            raise ValueError(f"{key} declares {name} in a way that is not understood.") from None
    named = [name for name in rates if isinstance(name, str) and name in made] if isinstance(rates, list) else []
    return made | {"rates": tuple(named), "proposes": told.get("proposes") is True}


def _parameter(field: dict[str, Any]) -> param.Parameter:
    kind: Any = KINDS[field["kind"]]
    told: dict[str, Any] = {"default": field["default"], "doc": str(field["doc"])[:1000]}
    if kind is param.Selector:
        told["objects"] = [choice for choice in field["objects"] if isinstance(choice, str)]
    elif issubclass(kind, param.Number):
        for name in ("bounds", "softbounds", "inclusive_bounds"):
            told[name] = field[name] and tuple(field[name])
    return kind(**told)


def _number(process: Process, reply: dict[str, Any], name: str) -> int:
    if type(reply.get(name)) is not int:
        process.close("said what is not understood, and was ended.")
        raise ValueError(process.over)
    return reply[name]


def _plain(params: Any) -> Layout:
    return Layout([Slot(f"tensor {place}", tuple(tensor.shape[1:])) for place, tensor in enumerate(params)])


def _shared(size: int) -> tuple[mmap.mmap, str]:
    """A file in memory, where there is room for it there, else on the disk; its name, for the other process."""
    for folder in ("/dev/shm", tempfile.gettempdir()):
        try:
            descriptor, name = tempfile.mkstemp(prefix="explorer-", dir=folder)
        except OSError:
            continue
        try:
            # Room is asked for here: a file with holes would end this process when the last of the memory is gone.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            else:
                os.truncate(descriptor, size)
            return mmap.mmap(descriptor, size), name
        except OSError:
            os.unlink(name)
        finally:
            os.close(descriptor)
    raise ValueError(f"There is no room for the {size / 2**30:.1f} GiB that this optimizer shares with its process.")
