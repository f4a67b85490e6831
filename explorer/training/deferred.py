"""Torch code on large tensors in few kernels: what is elementwise is put off, and done together when it is needed.

Within `Deferring` an elementwise operation on a tensor of its device is only written down.  When something else comes
that reads or changes what it concerns (a product, a sum, a Triton kernel), and at the end, all that was put off is
done: by one kernel for the few numbers (at most `FEW`), and one for the many, which reads every tensor once and writes
those that changed and that anybody still holds.  A sum of many numbers, or a norm, is taken by the kernel that makes
them.  So an optimizer stays as its paper has it, and its intermediate results never reach memory.

An operation goes by elements in the order of their indices.  Tensors may be strided views; two views of the same
memory that lie differently are never in one kernel if one of them is written.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from math import prod
from typing import Any
from weakref import ref
from zlib import crc32

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from explorer.base.launch import is_compiling, launch, waiting
from explorer.training.formulas import TYPES, Unfusable, expression, known

FEW = 4096
"""So many numbers are dealt with in one program."""

BLOCK = 1024

SUMS = ("linalg_vector_norm", "sum")

OVERWRITES = ("copy_", "fill_", "zero_")
"""Operations that do not look at what was there."""

Place = tuple[int, torch.dtype, tuple[tuple[int, int], ...]]
"""Which memory a tensor is, whatever its shape: its offset and type, and size and stride of each run of elements."""


@dataclass(frozen=True)
class _Access:
    """Elements of a kernel's tensor: where they start, and the stride along each axis of `shape`."""

    tensor: Tensor
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass
class _Part:
    """What one kernel will do.  few: whether it is the kernel for few numbers; numel: how many, other than one."""

    few: bool
    numel: int = 1
    lines: list[str] = field(default_factory=list)
    loads: dict[tuple[int, Place, tuple[int, ...]], tuple[str, _Access, bool]] = field(default_factory=dict)
    """By storage, place and strides: the name, where it is, and whether it is spread over more elements."""
    ends: set[int] = field(default_factory=set)
    """After how many elements, counted from the last, some tensor's axis ends."""


@dataclass
class _Pending:
    """What a place will hold: the name in its part, and a tensor that lies there."""

    part: _Part
    name: str
    numel: int
    access: _Access | None
    """None for a tensor that was made in here and is not kept alive."""


@dataclass(frozen=True)
class _Total:
    """A sum that the many's kernel takes: of the values `name` or of their squares, over `over` elements at a time, in
    whole blocks or in parts of one; `sums [rows, pieces]` takes it, of a single piece its root."""

    name: str
    squares: bool
    over: int
    whole: bool
    sums: Tensor


class Deferring(TorchDispatchMode):
    """See above.  device: only its tensors are concerned; a CPU number among them is read at once."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._few, self._many = _Part(True), _Part(False)
        self._pending: dict[int, dict[Place, _Pending]] = {}
        """By storage."""
        self._made: dict[int, list[ref[Tensor]]] = {}
        """Storages that were made in here, with all tensors that lie in them: where none is left, nothing is stored."""
        self._count = 0

    def __enter__(self) -> Deferring:
        super().__enter__()
        self._token = waiting.set(self.settle)
        return self

    def __exit__(self, *error: Any) -> None:
        waiting.reset(self._token)
        super().__exit__(*error)
        if error[0] is None:
            self.settle()
        self._forget()
        self._made.clear()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler, for seconds, to keep it away from here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        if func.is_view or name == "_unsafe_view":
            result = func(*args, **kwargs)
            for view in _tensors(result):
                if (storage := _storage(view)) in self._made:
                    self._made[storage].append(ref(view))
            return result
        try:
            return (self._summed if name in SUMS else self._put_off)(func, name, args, kwargs)
        except Unfusable:
            pass
        given = list(_tensors((args, kwargs)))
        storages = {_storage(tensor) for tensor in given}
        if storages & self._pending.keys() or (func._schema.is_mutable and storages & self._read):
            self.settle()
        result = func(*args, **kwargs)
        for tensor in _tensors(result):
            if _storage(tensor) not in storages:
                self._new(tensor)
        return result

    def settle(self, total: _Total | None = None) -> None:
        """Do what was put off, and `total` with it."""
        self._settle_few()
        many, stores = self._many, self._stores(self._many)
        self._forget()
        if stores or total is not None:
            _run(many, stores, total)

    def _settle_few(self) -> None:
        """Do what was put off of the few numbers, on which the many's kernel may rest."""
        few, stores = self._few, self._stores(self._few)
        self._few = _Part(True)
        for storage, places in list(self._pending.items()):
            self._pending[storage] = left = {place: one for place, one in places.items() if one.part is not few}
            if not left:
                del self._pending[storage]
        if stores:
            _run(few, stores)

    def _stores(self, part: _Part) -> list[tuple[str, _Access]]:
        """The values of a part that somebody may look at, and where they go."""
        stores = []
        for storage, places in self._pending.items():
            for place, value in places.items():
                access = value.access
                if access is None and (tensor := self._alive(storage)) is not None:
                    access = _access_at(tensor, place)
                if value.part is part and access is not None:
                    stores.append((value.name, access))
        return stores

    @property
    def _read(self) -> set[int]:
        return {storage for part in (self._few, self._many) for storage, *_ in part.loads}

    def _forget(self) -> None:
        self._few, self._many, self._pending, self._count = _Part(True), _Part(False), {}, 0

    def _new(self, tensor: Tensor) -> None:
        storage = _storage(tensor)
        self._made[storage] = [ref(tensor)]
        self._pending.pop(storage, None)  # of a tensor that was there before and is no more

    def _alive(self, storage: int) -> Tensor | None:
        return next((tensor for one in self._made[storage] if (tensor := one()) is not None), None)

    def _put_off(self, func: Any, name: str, args: Any, kwargs: Any) -> Tensor:
        """Write an operation down; `Unfusable` if it is none that can be."""
        if not known(name):
            raise Unfusable(name)
        operands = [arg for arg in args if isinstance(arg, Tensor)]
        asked, kwargs = kwargs, dict(kwargs)
        target = kwargs.pop("out", operands[0] if operands else None) if func._schema.is_mutable else None
        here = [operand for operand in operands if operand.device == self._device]
        numbers = {id(one): one.item() for one in operands if one.device != self._device and one.dim() == 0}
        elsewhere = target is not None and target.device != self._device
        alone = name == "scalar_tensor" and "device" in kwargs
        if not (here or alone) or len(here) + len(numbers) < len(operands) or elsewhere:
            raise Unfusable(f"{name} elsewhere")
        shape = _shape(operands)
        numel = prod(shape)
        if numel == 0 or (target is not None and target.shape != shape):
            raise Unfusable(f"{name} of nothing")
        dtype = _type_of(func, args, kwargs) if target is None else target.dtype
        if any(kind not in TYPES for kind in (dtype, *(one.dtype for one in here))) or _leaves(kwargs, self._device):
            raise Unfusable(f"a tensor of {dtype}")
        told, few = [numbers.get(id(arg), arg) for arg in args], numel <= FEW
        # Whether it can be said at all, before anything is done for it.
        expression(name, told, kwargs, dtype, few, lambda operand: ("", operand.dtype))

        sources = [one for one in here if one is not target or name not in OVERWRITES]
        walked = here if target is None else [*here, target]
        ends = {numel}.union(*(_ends(one.expand(shape)) for one in walked if one.numel() > 1))
        if not _fit(ends):
            raise Unfusable(f"axes that do not fit: {ends}")
        part = self._few if few else self._many
        other = (numel > 1 and part.numel not in (1, numel)) or not _fit(part.ends | ends)
        taken = target is not None and self._taken(target, few, numel)
        if taken or any(self._clashes(one, few) for one in sources) or (other and not few):
            self.settle()
        elif other or (few and any(self._spreads(one, numel) for one in sources)):
            self._settle_few()
        part = self._few if few else self._many
        part.ends |= ends
        part.numel = max(part.numel, numel)
        self._count += 1
        value = f"v{self._count}"

        def named(operand: Tensor) -> tuple[str, torch.dtype]:
            wanted = operand is not target or name not in OVERWRITES
            return self._named(operand, part, shape) if wanted else "", operand.dtype

        line = expression(name, told, kwargs, dtype, few, named)
        part.lines.append(f"{value} = {line}")
        if is_compiling():  # then no kernel runs: what others look at, such as indices, must make sense all the same
            result = func(*args, **asked)
        else:
            result = torch.empty(shape, dtype=dtype, device=self._device) if target is None else target
        storage, access = _storage(result), None
        if target is None:
            self._new(result)
        elif storage not in self._made:
            access = _Access(target, tuple(target.shape), target.stride())
        self._pending.setdefault(storage, {})[_place(result)] = _Pending(part, value, numel, access)
        return result

    def _summed(self, func: Any, name: str, args: Any, kwargs: Any) -> Tensor:
        """The sum, or the root of the sum of squares, over the last axes; `Unfusable` where it is something else."""
        operand, rest = args[0], list(args[1:])
        order = rest.pop(0) if name == "linalg_vector_norm" and rest else 2
        dims, keep = (*rest, None, False)[:2] if len(rest) < 2 else rest[:2]
        axes = list(range(operand.dim())) if dims is None else sorted(dim % operand.dim() for dim in dims)
        last = list(range(operand.dim() - len(axes), operand.dim()))
        over = prod(operand.shape[axis] for axis in axes)
        whole = over % BLOCK == 0 or over > BLOCK
        if (
            operand.device != self._device
            or operand.dtype not in (torch.float32, torch.float64)
            or (order != 2 or axes != last or kwargs)
            or operand.numel() <= FEW
            or not (whole or (BLOCK % over == 0 and over > 1))
        ):
            raise Unfusable(name)
        ends = {operand.numel(), over} | _ends(operand)
        if not _fit(ends):
            raise Unfusable(f"axes that do not fit: {ends}")
        part, numel = self._many, operand.numel()
        if self._clashes(operand, False) or part.numel not in (1, numel) or not _fit(part.ends | ends):
            self.settle()
            part = self._many
        part.ends |= ends
        part.numel = numel
        value = self._named(operand, part, tuple(operand.shape))
        rows, squares = numel // over, name == "linalg_vector_norm"
        pieces = -(-over // BLOCK) if whole else 1
        sums = torch.empty(rows, pieces, dtype=operand.dtype, device=self._device)
        self.settle(_Total(value, squares, over, whole, sums))
        kept = [1 if axis in axes else size for axis, size in enumerate(operand.shape) if keep or axis not in axes]
        if is_compiling():
            sums = func(*args)
        elif pieces > 1:
            sums = sums.sum(dim=1).sqrt_() if squares else sums.sum(dim=1)
        result = sums.view(kept)
        self._new(result)
        return result

    def _clashes(self, operand: Tensor, few: bool) -> bool:
        """Whether a kernel, of the few or of the many, cannot read `operand` as it is going to be."""
        places = self._pending.get(_storage(operand))
        if not places:
            return False
        value = places.get(_place(operand))
        if value is None or len(places) > 1:
            return True
        return few and not value.part.few  # the few are there before the many

    def _spreads(self, operand: Tensor, numel: int) -> bool:
        """Whether `operand` is put off among the few, and one of its elements goes with several."""
        value = self._pending.get(_storage(operand), {}).get(_place(operand))
        return value is not None and value.numel not in (1, numel)

    def _taken(self, target: Tensor, few: bool, numel: int) -> bool:
        """Whether what was put off must be done before `target` is written."""
        storage, place = _storage(target), _place(target)
        if self._pending.get(storage, {}).keys() - {place}:
            return True
        if (value := self._pending.get(storage, {}).get(place)) is not None and value.part.few != few:
            return True
        for part in (self._few, self._many):
            for read, at, _ in part.loads:
                if read == storage and (part.few != few or at != place):
                    return True
            for (read, *_), (_, _, spread) in part.loads.items():
                if read == storage and spread and numel > 1:
                    return True
        return False

    def _named(self, operand: Tensor, part: _Part, shape: tuple[int, ...]) -> str:
        """What `operand` is called in the kernel of `part`, for an operation on `shape`."""
        storage, place = _storage(operand), _place(operand)
        value = self._pending.get(storage, {}).get(place)
        if value is not None and value.part is part:
            return value.name
        if value is not None and value.access is None:  # to be stored by the few's kernel for this one
            value.access = _Access(operand, tuple(operand.shape), operand.stride())
        spread = operand.expand(shape) if operand.numel() > 1 else operand
        # Not `operand` itself, which may be given up before the kernel runs and need not be written then.
        access = _Access(operand.detach(), tuple(spread.shape), spread.stride())
        key = storage, place, _runs(access)
        if key not in part.loads:
            self._count += 1
            part.loads[key] = f"v{self._count}", access, operand.numel() != prod(shape)
        return part.loads[key][0]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _merged(sizes: Sequence[int], strides: Sequence[int]) -> list[list[int]]:
    """Size and stride of each axis, outermost first, without those of size 1, and with those together that can be."""
    axes: list[list[int]] = []
    for size, stride in zip(sizes, strides, strict=True):
        if size == 1:
            continue
        if axes and axes[-1][1] == size * stride:
            axes[-1] = [axes[-1][0] * size, stride]
        else:
            axes.append([size, stride])
    return axes


def _place(tensor: Tensor) -> Place:
    axes = [axis for axis in _merged(tensor.shape, tensor.stride()) if axis[1]]
    return int(tensor.storage_offset()), tensor.dtype, tuple((size, stride) for size, stride in axes)


def _shape(operands: Sequence[Tensor]) -> tuple[int, ...]:
    try:
        return tuple(torch.broadcast_shapes(*(operand.shape for operand in operands)))
    except RuntimeError as error:
        raise Unfusable(str(error)) from error


def _leaves(kwargs: dict[str, Any], device: torch.device) -> bool:
    """Whether an operation is asked for a tensor elsewhere."""
    wanted = kwargs.get("device")
    return wanted is not None and torch.device(wanted).type != device.type


def _ends(tensor: Tensor) -> set[int]:
    """After how many elements, counted from the last, the axes of `tensor` end, those together that can be."""
    found, inner = set(), 1
    for size, _ in reversed(_merged(tensor.shape, tensor.stride())):
        inner *= size
        found.add(inner)
    return found


def _fit(ends: set[int]) -> bool:
    """Whether axes that end so can be cut into common ones."""
    ordered = sorted(ends)
    return not any(large % small for small, large in pairwise(ordered))


def _runs(access: _Access) -> tuple[int, ...]:
    return tuple(number for axis in _merged(access.shape, access.strides) for number in axis)


def _access_at(tensor: Tensor, place: Place) -> _Access:
    """Where `place` is, in the storage that `tensor` lies in."""
    offset, dtype, axes = place
    shape, strides = tuple(size for size, _ in axes), tuple(stride for _, stride in axes)
    return _Access(tensor.view(dtype).as_strided(shape, strides, offset), shape, strides)


@cache
def _type(func: Any, kinds: tuple[tuple[Any, Any], ...], kwargs: tuple[tuple[str, Any], ...]) -> torch.dtype:
    args = [torch.ones((1,) * value, dtype=kind) if isinstance(kind, torch.dtype) else value for value, kind in kinds]
    return func(*args, **dict(kwargs)).dtype


def _type_of(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> torch.dtype:
    """The type that an operation gives, found with operands of one element."""
    kinds = tuple((arg.dim(), arg.dtype) if isinstance(arg, Tensor) else (arg, type(arg)) for arg in args)
    options = tuple((name, value) for name, value in kwargs.items() if name not in ("device", "pin_memory"))
    try:
        return _type(func, kinds, options)
    except (TypeError, RuntimeError) as error:  # a list among the arguments, or two tensors of which one must be large
        raise Unfusable(str(error)) from error


def _run(part: _Part, stores: Sequence[tuple[str, _Access]], total: _Total | None = None) -> None:
    """Launch a part's kernel."""
    loads = [(name, access) for name, access, _ in part.loads.values()]
    accesses = [access for _, access in (*loads, *stores)]
    over = 1 if total is None else total.over
    sizes, strides = _common(accesses, part.numel, over)
    if part.few:
        first = 0
    elif total is not None and total.whole:
        first = next(axis for axis in range(len(sizes)) if prod(sizes[axis:]) == over)
    else:
        first = _outer(sizes)
    outer, inner = sizes[:first], sizes[first:]

    tensors: list[Tensor] = []
    numbers: list[int] = []
    spots = []
    for access, along in zip(accesses, strides, strict=True):
        spots.append((_number(tensors, access.tensor), along))
    lines = ["i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)", "inside = i < N"]
    names: list[str] = []
    if outer:
        lines.append("row = tl.program_id(1).to(tl.int64)")
        for axis in range(len(outer) - 1, -1, -1):
            lines.append(f"c{axis} = row" + (f" % n{axis}" if axis else ""))
            if axis:
                lines.append(f"row = row // n{axis}")
                names.append(f"n{axis}")
                numbers.append(outer[axis])
    lines.append("rest = i")
    fixed = {}
    for axis in range(len(sizes) - 1, first - 1, -1):
        if axis > first:
            fixed[f"D{axis}"] = sizes[axis]
            lines += [f"c{axis} = rest % D{axis}", f"rest = rest // D{axis}"]
        else:
            lines.append(f"c{axis} = rest")

    def pointer(spot: tuple[int, list[int]]) -> str:
        tensor, along = spot
        text = f"p{tensor}"
        for axis, stride in enumerate(along):
            if stride == 1:
                text += f" + c{axis}"
            elif stride:
                names.append(f"s{len(names)}")
                numbers.append(stride)
                text += f" + c{axis} * {names[-1]}"
        return text

    for (name, _), spot in zip(loads, spots, strict=False):
        single = not any(spot[1][first:])
        lines.append(f"{name} = tl.load({pointer(spot)}{'' if single else ', inside'})")
    lines += part.lines
    if part.few:
        lines.append("tl.debug_barrier()")  # a number that all threads read must not be replaced too early
    for (name, _), spot in zip(stores, spots[len(loads) :], strict=True):
        single = not any(spot[1][first:])
        lines.append(f"tl.store({pointer(spot)}, {name}{'' if single else ', inside'})")
    if total is not None:
        tensors.append(total.sums)
        squared = f"{total.name} * {total.name}" if total.squares else total.name
        lines += [f"x = tl.where(inside, {squared}, 0.0)", f"sums = p{len(tensors) - 1}"]
        if total.whole:
            lines += ["at = tl.program_id(1).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)", "x = tl.sum(x, 0)"]
        else:
            fixed["OVER"] = over
            lines += [
                "x = tl.sum(tl.reshape(x, (BLOCK // OVER, OVER)), 1)",
                "k = tl.program_id(0) * (BLOCK // OVER) + tl.arange(0, BLOCK // OVER)",
                "at = tl.program_id(1).to(tl.int64) * (N // OVER) + k",
            ]
        if total.squares and total.sums.shape[1] == 1:
            lines.append("x = tl.sqrt(x)")
        lines.append(f"tl.store(sums + at, x{'' if total.whole else ', k < N // OVER'})")
    arguments = [f"p{index}" for index in range(len(tensors))] + names + ["N"]
    arguments += [f"{name}: tl.constexpr" for name in (*fixed, "BLOCK")]
    count = prod(inner)
    block = max(16, 1 << (count - 1).bit_length()) if part.few else BLOCK
    grid = (-(-count // block), prod(outer))
    token = waiting.set(None)
    launch(_kernel(_source(arguments, lines)), grid, *tensors, *numbers, count, **fixed, BLOCK=block)
    waiting.reset(token)


def _number(tensors: list[Tensor], tensor: Tensor) -> int:
    for index, one in enumerate(tensors):
        if one.data_ptr() == tensor.data_ptr() and one.dtype is tensor.dtype:
            return index
    tensors.append(tensor)
    return len(tensors) - 1


def _outer(sizes: Sequence[int]) -> int:
    """How many axes are not walked over by a program: all but as many of the last as give it enough to do."""
    first = len(sizes) - 1
    while first > 0 and prod(sizes[first:]) < BLOCK:
        first -= 1
    return max(first, 0)


def _common(accesses: Sequence[_Access], numel: int, over: int) -> tuple[list[int], list[list[int]]]:
    """One list of axes for all accesses, as few as can be, of which some are the last `over` elements; and the stride
    of each access along each."""
    merged = [_merged(access.shape, access.strides) for access in accesses]
    ends = {1, numel, over}
    for axes in merged:
        inner = 1
        for size, _ in reversed(axes):
            inner *= size
            ends.add(inner)
    sizes = [large // small for small, large in pairwise(sorted(ends))][::-1] or [1]
    table = []
    for axes in merged:
        along, left = [], [tuple(axis) for axis in axes]
        for size in reversed(sizes):
            if not axes:  # one number
                along.append(0)
                continue
            inside, stride = left.pop()
            along.append(stride)
            if inside > size:
                left.append((inside // size, stride * size))
        table.append(along[::-1])
    axis = len(sizes) - 1
    while axis > 0:  # put an axis to the next one inside, where all can be walked over as one
        if prod(sizes[axis:]) != over and all(along[axis - 1] == along[axis] * sizes[axis] for along in table):
            sizes[axis - 1 : axis + 1] = [sizes[axis - 1] * sizes[axis]]
            for along in table:
                del along[axis - 1]
        axis -= 1
    return sizes, table


def _source(arguments: Sequence[str], lines: Sequence[str]) -> str:
    return "\n    ".join([f"def deferred({', '.join(arguments)}):", *lines]) + "\n"


@cache
def _kernel(source: str) -> Any:
    """Triton reads its source, so that is put where `inspect` looks."""
    file = f"<deferred {crc32(source.encode())}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space: dict[str, Any] = {"tl": tl, "__name__": __name__}
    exec(compile(source, file, "exec"), space)  # the source is made from the formulas alone
    return triton.jit(space["deferred"])
