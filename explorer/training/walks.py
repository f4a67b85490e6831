"""A Triton kernel that walks over the elements of several tensors at once, however each of them lies in memory."""

# pyright: reportMissingImports=false

from __future__ import annotations

import linecache
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from math import prod
from typing import Any
from zlib import crc32

import triton
import triton.language as tl
from torch import Tensor

from explorer.base.chained import follow
from explorer.base.launch import launch

BLOCK = 1024
"""Elements that a program walks over, unless one deals with all."""


@dataclass(frozen=True)
class Access:
    """Elements of a tensor in the order of their indices: from its first one, with a stride along each axis."""

    tensor: Tensor
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class Walk:
    """What a kernel is to do with each element.

    few: whether one program deals with all of them, so that numbers which go with every element may change, too.
    numel: how many elements there are.  lines: Triton's code, between loads and stores.
    """

    few: bool
    numel: int = 1
    lines: list[str] = field(default_factory=list)
    loads: dict[tuple[Any, ...], tuple[str, Access]] = field(default_factory=dict)
    """What the values that are read are called, and where they are; by whatever tells them apart."""
    ends: set[int] = field(default_factory=set)
    """After how many elements, counted from the last, an axis of some tensor ends."""


@dataclass(frozen=True)
class Total:
    """A sum that a kernel takes on its way: of the values `name` or of their squares, over `over` elements at a time,
    in whole blocks or in parts of one; `sums [rows, pieces]` takes it, of squares the roots."""

    name: str
    squares: bool
    over: int
    sums: Tensor

    @property
    def whole(self) -> bool:
        """Whether no block has elements of two sums."""
        return blocks_are_whole(self.over)


def blocks_are_whole(over: int) -> bool:
    """Whether a sum over so many elements is taken over blocks, rather than over parts of one."""
    return over >= BLOCK


def merged(sizes: Sequence[int], strides: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Size and stride of each axis, outermost first, without those of size 1, and with those together that can be."""
    axes: list[tuple[int, int]] = []
    for size, stride in zip(sizes, strides, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1] == size * stride:
            axes[-1] = axes[-1][0] * size, stride
        else:
            axes.append((size, stride))
    return tuple(axes)


def ends(axes: Sequence[tuple[int, int]]) -> set[int]:
    """After how many elements, counted from the last, each of the axes ends."""
    found, inner = set(), 1
    for size, _ in reversed(axes):
        inner *= size
        found.add(inner)
    return found


def fit(where: set[int]) -> bool:
    """Whether axes that end there can be cut into common ones."""
    return not any(large % small for small, large in pairwise(sorted(where)))


def run(walk: Walk, stores: Sequence[tuple[str, Access]], total: Total | None = None) -> None:
    """Launch the kernel of `walk`, which then stores the named values, and takes `total`."""
    accesses = [access for _, access in (*walk.loads.values(), *stores)]
    sizes, strides = _common(accesses, walk.numel, 1 if total is None else total.over)
    first = _first(walk, sizes, total)  # of the axes that a program walks over
    on_cuda = accesses[0].tensor.is_cuda
    tensors: list[Tensor] = []
    numbers: dict[str, int] = {}
    fixed: dict[str, int] = {}
    lines = [f"follow({on_cuda})", "row, block = tl.program_id(0) // BLOCKS, tl.program_id(0) % BLOCKS"]
    lines += ["row = row.to(tl.int64)", "i = block * BLOCK + tl.arange(0, BLOCK)", "inside = i < N"]
    for start, stop, left in ((0, first, "row"), (first, len(sizes), "i")):
        lines.append(f"rest = {left}")
        for axis in range(stop - 1, start, -1):
            size = f"n{axis}"
            (numbers if left == "row" else fixed)[size] = sizes[axis]
            lines += [f"c{axis} = rest % {size}", f"rest = rest // {size}"]
        lines.append(f"c{start} = rest" if stop > start else "")

    def pointer(tensor: Tensor, along: Sequence[int]) -> tuple[str, str]:
        """Where an element is, and the mask to go with it."""
        at = next((place for place, known in enumerate(tensors) if _same(known, tensor)), len(tensors))
        tensors.extend([tensor] if at == len(tensors) else [])
        text = f"p{at}"
        for axis, stride in enumerate(along):
            if stride == 1:
                text += f" + c{axis}"
            elif stride:
                name = f"s{len(numbers)}"
                numbers[name] = stride
                text += f" + c{axis} * {name}"
        return text, ", inside" if any(along[first:]) else ""

    places = [pointer(access.tensor, along) for access, along in zip(accesses, strides, strict=True)]
    for (name, _), (at, mask) in zip(walk.loads.values(), places, strict=False):
        lines.append(f"{name} = tl.load({at}{mask})")
    lines += walk.lines
    if walk.few:
        lines.append("tl.debug_barrier()")  # a number that all threads read must not be replaced too early
    for (name, _), (at, mask) in zip(stores, places[len(walk.loads) :], strict=True):
        lines.append(f"tl.store({at}, {name}{mask})")
    if total is not None:
        lines += _summing(total, f"p{len(tensors)}")
        tensors.append(total.sums)
        fixed["OVER"] = total.over

    count = prod(sizes[first:])
    block = max(16, 1 << (count - 1).bit_length()) if walk.few else BLOCK
    blocks = -(-count // block)
    pointers = [f"p{place}" for place in range(len(tensors))]
    constants = [f"{name}: tl.constexpr" for name in (*fixed, "BLOCK")]
    kernel = _kernel((*pointers, *numbers, "N", "BLOCKS", *constants), tuple(filter(None, lines)))
    grid = (blocks * prod(sizes[:first]),)
    launch(kernel, grid, *tensors, *numbers.values(), count, blocks, **fixed, BLOCK=block, launch_pdl=on_cuda)


def _same(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() and a.dtype is b.dtype


def _common(accesses: Sequence[Access], numel: int, over: int) -> tuple[list[int], list[list[int]]]:
    """One list of axes for all accesses, as few as can be, of which some are the last `over` elements; and the stride
    of each access along each."""
    of_all = [merged(access.shape, access.strides) for access in accesses]
    cuts = sorted({1, numel, over}.union(*map(ends, of_all)))
    sizes = [large // small for small, large in pairwise(cuts)][::-1] or [1]
    table = []
    for axes in of_all:
        along, left = [], list(axes)
        for size in reversed(sizes):
            if not axes:  # one number
                along.append(0)
                continue
            inside, stride = left.pop()
            along.append(stride)
            if inside > size:
                left.append((inside // size, stride * size))
        table.append(along[::-1])
    for axis in range(len(sizes) - 1, 0, -1):  # put the axis before to this one, where all can be walked over as one
        if prod(sizes[axis:]) != over and all(along[axis - 1] == along[axis] * sizes[axis] for along in table):
            sizes[axis - 1 : axis + 1] = [sizes[axis - 1] * sizes[axis]]
            for along in table:
                del along[axis - 1]
    return sizes, table


def _first(walk: Walk, sizes: Sequence[int], total: Total | None) -> int:
    """From which axis on a program walks: what a sum is over, or as many of the last axes as give it enough to do."""
    if walk.few:
        return 0
    if total is not None and total.whole:
        return next(axis for axis in range(len(sizes)) if prod(sizes[axis:]) == total.over)
    return next((axis for axis in range(len(sizes) - 1, 0, -1) if prod(sizes[axis:]) >= BLOCK), 0)


def _summing(total: Total, sums: str) -> list[str]:
    """The lines that take a sum."""
    squared = f"{total.name} * {total.name}" if total.squares else total.name
    lines = [f"x = tl.where(inside, {squared}, 0.0)"]
    if total.whole:
        lines += ["x = tl.sum(x, 0)", "at, mask = row * BLOCKS + block, True"]
    else:
        lines += ["x = tl.sum(tl.reshape(x, (BLOCK // OVER, OVER)), 1)"]
        lines += ["k = block * (BLOCK // OVER) + tl.arange(0, BLOCK // OVER)"]
        lines += ["at, mask = row * (N // OVER) + k, k < N // OVER"]
    if total.squares:
        lines.append("x = tl.sqrt(x)")
    return [*lines, f"tl.store({sums} + at, x, mask)"]


@cache
def _kernel(arguments: tuple[str, ...], lines: tuple[str, ...]) -> Any:
    return kernel_of("walk", [f"def walk({', '.join(arguments)}):", *lines], {"follow": follow})


def kernel_of(name: str, lines: Sequence[str], known: dict[str, Any], **options: Any) -> Any:
    """The Triton kernel `name` that the lines define: they are put where Triton, which reads its source, looks."""
    source = "\n    ".join(lines) + "\n"
    file = f"<{name} {crc32(source.encode())}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space: dict[str, Any] = {"tl": tl, "__name__": __name__, **known}
    exec(compile(source, file, "exec"), space)  # the source is made from the formulas alone
    return triton.jit(space[name], **options)
