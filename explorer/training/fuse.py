"""From elementwise torch code to a few Triton kernels.

A function on a fleet's tensors is run once on small stand-ins, while every torch operation is written down.  Three
kinds of tensor may occur: `[R, T]` (a number for every weight of every run), `[R]` or `[R, 1]` (one for every run) and
`[]`.  What needs no weights is done for all runs by a first kernel; a second does the rest, reads every weight-sized
tensor once and writes those that changed.  torch itself would go to memory and back for each operation.  With a `Join`
the second is two: one that makes gradients tile by tile and goes on with each tile where it is, and one for the others.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from explorer.base.launch import launch
from explorer.challenge.kernels import square_gradients
from explorer.challenge.model import Join
from explorer.training.formulas import TYPES, Unfusable, expression
from explorer.training.walks import BLOCK, kernel_of

MOST_RUNS = 4096
"""The first kernel holds all runs in one program."""

_VIEWS = {"view", "_unsafe_view", "expand", "unsqueeze", "squeeze", "alias", "detach", "reshape"}


@dataclass(frozen=True)
class _Value:
    """What a tensor holds at some moment: its name in the kernels, kind (all, runs, one), type, and whether the first
    kernel computes it."""

    name: str
    kind: str
    dtype: torch.dtype
    small: bool


class _Trace(TorchDispatchMode):
    """Writes down what happens to `inputs`, as lines of the two kernels."""

    def __init__(self, inputs: Sequence[Tensor], runs: int) -> None:
        super().__init__()
        self.runs = runs
        self.lines: dict[str, list[str]] = {"small": [], "all": []}
        self.crossing: dict[str, _Value] = {}
        """Values without weights that the second kernel reads."""
        self._alive: list[Tensor] = []
        self._viewed: set[int] = set()
        self._values: dict[int, _Value] = {}
        self.before = [self._name(tensor) for tensor in inputs]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler, for seconds, to keep it away from here

    def after(self, tensor: Tensor) -> _Value:
        """What `tensor` holds by now."""
        return self._values[id(tensor)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if not isinstance(result, Tensor):
            raise Unfusable(f"{name}, which gives no tensor")
        if name in _VIEWS:
            source = self._values[id(args[0])]
            self._viewed |= {id(args[0]), id(result)}
            self._alive.append(result)
            self._values[id(result)] = _Value(source.name, self._kind(result), source.dtype, source.small)
            return result
        if func._schema.is_mutable and id(args[0]) in self._viewed:
            raise Unfusable(f"{name} on a tensor that is seen twice")
        expression = self._expression(name, args, kwargs, result)
        value = self._name(result)
        self.lines["small" if value.small else "all"].append(f"{value.name} = {expression}")
        return result

    def _name(self, tensor: Tensor) -> _Value:
        if tensor.dtype not in TYPES:
            raise Unfusable(f"a tensor of {tensor.dtype}")
        self._alive.append(tensor)  # so that no other tensor gets its id
        kind = self._kind(tensor)
        value = _Value(f"v{len(self._alive)}", kind, tensor.dtype, kind != "all")
        self._values[id(tensor)] = value
        return value

    def _kind(self, tensor: Tensor) -> str:
        shape = tuple(tensor.shape)
        if shape == ():
            return "one"
        if shape in ((self.runs,), (self.runs, 1)):
            return "runs"
        if len(shape) == 2 and shape[0] == self.runs:
            return "all"
        raise Unfusable(f"a tensor of shape {shape}")

    def _expression(self, name: str, args: Any, kwargs: Any, result: Tensor) -> str:
        kind = self._kind(result)

        def named(operand: Tensor) -> tuple[str, torch.dtype]:
            if id(operand) not in self._values:
                raise Unfusable("a tensor from outside")
            value = self._values[id(operand)]
            if kind == "all" and value.small:
                self.crossing[value.name] = value
            return value.name, value.dtype

        return expression(name, args, kwargs, result.dtype, kind != "all", named)


class Fused:
    """What `fuse` has made: to be called once a step.  joined: whether it takes square weights' gradients by itself."""

    def __init__(self, launches: Sequence[Callable[[], object]], joined: bool) -> None:
        self._launches, self.joined = launches, joined

    def __call__(self) -> None:
        for each in self._launches:
            each()


def fuse(name: str, body: Callable[..., object], tensors: Sequence[Tensor], join: Join | None = None) -> Fused:
    """What does to `tensors`, in place, the same as `body(*tensors)`, in one or two kernels; with `join` in three.

    `[R, T]` tensors must all have the same distance from row to row; the first are the weights.  `Unfusable` says what
    stands against it.
    """
    runs = next((len(tensor) for tensor in tensors if tensor.dim()), 1)
    of_weights = [tensor for tensor in tensors if tensor.dim() == 2 and tensor.shape[1] > 1]
    if runs > MOST_RUNS or len({(tensor.shape, tensor.stride()) for tensor in of_weights}) > 1:
        raise Unfusable("too many runs, or rows of several lengths")
    # Numbers and widths do not matter, and torch's `meta` device would import its compiler, for seconds.
    shapes = [(runs, 3) if tensor.dim() == 2 and tensor.shape[1] > 1 else tensor.shape for tensor in tensors]
    stand_ins = [torch.ones(shape, dtype=tensor.dtype) for shape, tensor in zip(shapes, tensors, strict=True)]
    trace = _Trace(stand_ins, runs)
    try:
        with trace:
            body(*stand_ins)
    except RuntimeError as error:  # for one, tensors that the function brings along are elsewhere than the stand-ins
        raise Unfusable(str(error)) from error
    after = [trace.after(stand_in) for stand_in in stand_ins]
    places = list(zip(tensors, trace.before, after, strict=True))
    small = [place for place in places if place[1].small]
    kept = {before.name for _, before, now in small if before == now}
    scratch = [value for value in trace.crossing.values() if value.name not in kept]
    device = tensors[0].device
    rooms = {
        value.name: torch.empty(1 if value.kind == "one" else runs, dtype=value.dtype, device=device)
        for value in scratch
    }

    launches: list[Callable[[], object]] = []
    if scratch or any(before != now for _, before, now in small):
        first = _Kernel(f"{name}_small")
        for tensor, before, _ in small:
            first.load(before, tensor, "" if before.kind == "one" else " + i, i < R")
        first.lines += trace.lines["small"]
        first.lines.append("tl.debug_barrier()")  # a number that all threads read must not be replaced too early
        for value in scratch:
            first.store(value, rooms[value.name], "" if value.kind == "one" else " + i", "i < R")
        for tensor, before, now in small:
            if before != now:
                first.store(now, tensor, "" if before.kind == "one" else " + i", "i < R")
        kernel, block = first.compile(["i = tl.arange(0, BLOCK)"]), max(16, 1 << (runs - 1).bit_length())
        launches.append(lambda: launch(kernel, (1,), *first.tensors, runs, 0, BLOCK=block))
    if not trace.lines["all"]:
        return Fused(launches, joined=False)

    def sweep(kind: str, inside: str, given: Tensor | None = None) -> _Kernel:
        """What is to be done to the weights at ` + at`, where `inside`; the numbers of `given` are known already."""
        kernel = _Kernel(f"{name}_{kind}", kept=None if given is None else tensors[0])
        for value in trace.crossing.values():
            tensor = rooms.get(value.name)
            if tensor is None:
                tensor = next(tensor for tensor, before, _ in small if before.name == value.name)
            kernel.load(value, tensor, "" if value.kind == "one" else " + run")
        kernel.once, kernel.lines = kernel.lines, []
        for tensor, before, _ in places:
            if tensor is given:
                kernel.lines.append(f"{before.name} = given")
            elif not before.small:
                kernel.load(before, tensor, f" + at, {inside}")
        kernel.lines += trace.lines["all"]
        for tensor, before, now in places:
            if not before.small and before != now:
                kernel.store(now, tensor, " + at", inside)
        return kernel

    size, row = of_weights[0].shape[1], of_weights[0].stride(0)
    start = ["run = tl.program_id(1).to(tl.int64)", "i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)"]
    written = [tensor for tensor, before, now in places if before != now]
    if join is not None and not any(tensor is join.gradients for tensor in written):
        tiles = sweep("squares", "inside", join.gradients)
        square = tiles.compile_over(square_gradients, ("left", "right"))
        launches.append(lambda: join.launch(square, *tiles.tensors, row))
        # What is beside the tiles: the same with a list of places.
        rest = sweep("beside", "i < R")
        rest.tensors.append(join.beside)
        start.append(f"at = run * ROW + tl.load(p{len(rest.tensors) - 1} + i, i < R, other=0)")
        size = len(join.beside)
    else:
        rest, join = sweep("all", "i < R"), None
        start.append("at = run * ROW + i")
    swept = rest.compile(start)
    grid = (-(-size // BLOCK), runs)
    launches.append(lambda: launch(swept, grid, *rest.tensors, size, row, BLOCK=BLOCK))
    return Fused(launches, joined=join is not None)


class _Kernel:
    """A Triton kernel in the making: the tensors that it takes, and its lines; some are needed once, whatever it goes
    over in parts.  R: how many numbers a row has.

    kept: a tensor that is asked to stay in the second cache, since others read it soon.
    """

    def __init__(self, name: str, kept: Tensor | None = None) -> None:
        self.name, self._kept = name, kept
        self.tensors: list[Tensor] = []
        self.once: list[str] = []
        self.lines: list[str] = []

    def load(self, value: _Value, tensor: Tensor, at: str) -> None:
        self.lines.append(f"{value.name} = tl.load({self._pointer(tensor)}{at}{self._policy(tensor)})")

    def store(self, value: _Value, tensor: Tensor, at: str, mask: str) -> None:
        mask = f", {mask}" if at else ""
        self.lines.append(f"tl.store({self._pointer(tensor)}{at}, {value.name}{mask}{self._policy(tensor)})")

    def _pointer(self, tensor: Tensor) -> str:
        if not any(tensor is known for known in self.tensors):
            self.tensors.append(tensor)
        return f"p{next(i for i, known in enumerate(self.tensors) if tensor is known)}"

    def _policy(self, tensor: Tensor) -> str:
        return ", eviction_policy='evict_last'" if tensor is self._kept else ""

    def compile(self, start: Sequence[str]) -> Any:
        """The kernel, whose first lines are `start`."""
        return self._made(["R", "ROW", "BLOCK: tl.constexpr"], [*start, *self.once, *self.lines])

    def compile_over(self, tile: Any, parts: Sequence[str]) -> Any:
        """The kernel that calls `tile` first, with arguments that follow its own, for a run and `at`, `inside` and
        `given` of each part of a tile; they are gone through one after the other."""
        parameters = inspect.signature(tile.fn).parameters.values()
        told = [one.name if one.annotation is one.empty else f"{one.name}: tl.constexpr" for one in parameters]
        given = [f"{what}_{part}" for part in parts for what in ("at", "inside", "given")]
        lines = [f"run, {', '.join(given)} = tile({', '.join(one.name for one in parameters)})", *self.once]
        for part in parts:
            lines.append(f"at, inside, given = run * ROW + at_{part}, inside_{part}, given_{part}")
            lines += self.lines
        return self._made(["ROW", *told], lines, tile=tile, do_not_specialize=["B"])

    def _made(self, arguments: Sequence[str], lines: Sequence[str], tile: Any = None, **options: Any) -> Any:
        pointers = [f"p{index}" for index in range(len(self.tensors))]
        head = f"def {self.name}({', '.join([*pointers, *arguments])}):"
        return kernel_of(self.name, [head, *lines], {"tile": tile}, **options)
