"""Torch code on large tensors in few kernels: what is elementwise is put off, and done together when it is needed.

Within `Deferring` an elementwise operation on a tensor of its device is only written down.  When something else comes
that reads or changes what it concerns (a product, a sum, a Triton kernel), and at the end, all that was put off is
done: by one kernel for the few numbers (at most `FEW`), and one for the many, which reads every tensor once and writes
those that changed and that anybody still holds.  A sum of many numbers, or a norm, is taken by the kernel that makes
them.  So an optimizer stays as its paper has it, and its intermediate results never reach memory.

An operation goes by elements in the order of their indices.  Tensors may be strided views; two views of the same
memory that lie differently are never in one kernel if one of them is written.  That nobody holds a tensor is known by
weak references to what operations gave: memory that is handed on without one (`.data`, `set_`) is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from explorer.base.launch import is_compiling, waiting
from explorer.training import walks
from explorer.training.formulas import TYPES, Unfusable, expression, known
from explorer.training.graph import tensors_of
from explorer.training.walks import Access, Total, Walk

FEW = 4096
"""So many numbers are dealt with in one program."""

SUMS = ("linalg_vector_norm", "sum")

OVERWRITES = ("copy_", "fill_", "zero_")
"""Operations that do not look at what was there."""

Place = tuple[int, torch.dtype, tuple[tuple[int, int], ...]]
"""Which memory of a storage a tensor is, whatever its shape: offset and type, and its axes, merged."""


@dataclass
class _Pending:
    """What a place will hold: the name in its walk, and where to store it.

    access: None for a tensor that was made in here, and may be given up before anybody looks.
    """

    walk: Walk
    name: str
    access: Access | None


class Deferring(TorchDispatchMode):
    """See above.  device: only its tensors are concerned; a number on the CPU among them is read at once."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._forget()
        self._made: dict[int, list[ref[Tensor]]] = {}
        """Storages that were made in here, with all tensors that lie in them: where none is left, nothing is stored."""

    def _forget(self) -> None:
        self._few, self._many, self._count = Walk(few=True), Walk(few=False), 0
        self._pending: dict[int, dict[Place, _Pending]] = {}
        """By a storage's address, which may be that of one that is no more."""

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
        if name == "lift_fresh":  # how one hears of `torch.tensor`
            self._new(args[0])
            return args[0]
        if func.is_view or name == "_unsafe_view":
            result = func(*args, **kwargs)
            for view in tensors_of(result):
                if (storage := _storage(view)) in self._made:
                    self._made[storage].append(ref(view))
            return result
        try:
            return self._summed(func, *args, **kwargs) if name in SUMS else self._put_off(func, name, args, kwargs)
        except Unfusable:
            pass
        storages = {_storage(tensor) for tensor in tensors_of((args, kwargs))}
        if storages & self._pending.keys() or (func._schema.is_mutable and storages & self._read):
            self.settle()
        result = func(*args, **kwargs)
        for tensor in tensors_of(result):
            if _storage(tensor) not in storages:
                self._new(tensor)
        return result

    # What was put off is done.

    def settle(self, total: Total | None = None) -> None:
        """Do what was put off, and `total` with it."""
        self._settle_few()
        many, stores = self._many, self._stores(self._many)
        self._forget()
        self._run(many, stores, total)

    def _settle_few(self) -> None:
        """Do what was put off of the few numbers, on which the many's kernel may rest."""
        few, stores = self._few, self._stores(self._few)
        self._few = Walk(few=True)
        left = {
            storage: {place: one for place, one in places.items() if one.walk is not few}
            for storage, places in self._pending.items()
        }
        self._pending = {storage: places for storage, places in left.items() if places}
        self._run(few, stores)

    def _run(self, walk: Walk, stores: Sequence[tuple[str, Access]], total: Total | None = None) -> None:
        token = waiting.set(None)
        try:
            if stores or total is not None:
                walks.run(walk, stores, total)
        finally:
            waiting.reset(token)

    def _stores(self, walk: Walk) -> list[tuple[str, Access]]:
        """The values of a walk that somebody may look at, and where they go."""
        stores = []
        for storage, places in self._pending.items():
            for place, value in places.items():
                if value.walk is not walk:
                    continue
                access = value.access
                if access is None and (tensor := self._alive(storage)) is not None:
                    access = _access_at(tensor, place)
                if access is not None:
                    stores.append((value.name, access))
        return stores

    def _alive(self, storage: int) -> Tensor | None:
        return next((tensor for one in self._made[storage] if (tensor := one()) is not None), None)

    def _new(self, tensor: Tensor) -> None:
        storage = _storage(tensor)
        self._made[storage] = [ref(tensor)]
        self._pending.pop(storage, None)  # of a tensor that was there before and is no more

    # An operation is put off.

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
        makes_number = name == "scalar_tensor" and "device" in kwargs
        if not (here or makes_number) or len(here) + len(numbers) < len(operands) or elsewhere:
            raise Unfusable(f"{name} elsewhere")
        shape = _shape(operands)
        numel = prod(shape)
        if numel == 0 or numel >= 2**31 or (target is not None and target.shape != shape):
            raise Unfusable(f"{name} of nothing, or of too many")
        if target is not None:
            if not all(_goes_into(one, target, name) for one in here if one is not target):
                raise Unfusable(f"{name} into a tensor of another type, or of itself")
            if name == "copy_" and args[1] is target:
                return target
        dtype = _type_of(func, args, kwargs) if target is None else target.dtype
        if any(kind not in TYPES for kind in (dtype, *(one.dtype for one in here))) or _leaves(kwargs, self._device):
            raise Unfusable(f"a tensor of {dtype}")
        told, few = [numbers.get(id(arg), arg) for arg in args], numel <= FEW
        # Whether it can be said at all, before anything is done for it.
        expression(name, told, kwargs, dtype, few, lambda operand: ("", operand.dtype))

        sources = [one for one in here if one is not target or name not in OVERWRITES]
        walked = here if target is None else [*here, target]
        ends = {numel}.union(*(_ends(one.expand(shape)) for one in walked if one.numel() > 1))
        walk = self._walk(few, numel, ends, sources, target)
        value = self._name()

        def named(operand: Tensor) -> tuple[str, torch.dtype]:
            wanted = operand is not target or name not in OVERWRITES
            return self._named(operand, walk, shape) if wanted else "", operand.dtype

        line = expression(name, told, kwargs, dtype, few, named)
        walk.lines.append(f"{value} = {line}")
        if is_compiling():  # then no kernel runs: what others look at, such as indices, must make sense all the same
            result = func(*args, **asked)
        else:
            result = self._room(here, shape, dtype, kwargs.get("memory_format")) if target is None else target
        storage, access = _storage(result), None
        if target is None:
            self._new(result)
        elif storage not in self._made:
            access = Access(target, tuple(target.shape), target.stride())
        self._pending.setdefault(storage, {})[_place(result)] = _Pending(walk, value, access)
        return result

    def _room(
        self, operands: Sequence[Tensor], shape: tuple[int, ...], dtype: torch.dtype, form: torch.memory_format | None
    ) -> Tensor:
        """A tensor for what an operation gives, in the order of axes in which an operand of that shape lies."""
        for operand in operands:
            if operand.shape == shape:
                return torch.empty_like(operand, dtype=dtype, memory_format=form or torch.preserve_format)
        return torch.empty(shape, dtype=dtype, device=self._device)

    def _walk(
        self, few: bool, numel: int, ends: set[int], sources: Sequence[Tensor], target: Tensor | None = None
    ) -> Walk:
        """Where to write down an operation on `numel` elements that reads `sources` and writes `target`: what stands
        in its way is done before."""
        if not walks.fit(ends):
            raise Unfusable(f"axes that do not fit: {ends}")
        walk = self._few if few else self._many
        other = (numel > 1 and walk.numel not in (1, numel)) or not walks.fit(walk.ends | ends)
        taken = target is not None and self._taken(target, few)
        if taken or any(self._clashes(one) for one in sources) or (other and not few):
            self.settle()
        elif other:
            self._settle_few()
        walk = self._few if few else self._many
        walk.ends |= ends
        walk.numel = max(walk.numel, numel)
        return walk

    def _summed(self, func: Any, operand: Tensor, *rest: Any, **kwargs: Any) -> Tensor:
        """The sum, or the root of the sum of squares, over the last axes; `Unfusable` where it is something else."""
        squares, given = func.overloadpacket.__name__ == "linalg_vector_norm", list(rest)
        order = given.pop(0) if squares and given else 2
        dims = given.pop(0) if given else None
        keep = bool(given.pop(0)) if given else False
        numel = operand.numel()
        if operand.device != self._device or operand.dtype not in (torch.float32, torch.float64) or numel <= FEW:
            raise Unfusable("a sum elsewhere, or of few")
        axes = list(range(operand.dim())) if dims is None else sorted(dim % operand.dim() for dim in dims)
        if axes != list(range(operand.dim() - len(axes), operand.dim())) or order != 2 or given or kwargs:
            raise Unfusable("not a sum over the last axes")
        over = prod(operand.shape[axis] for axis in axes)
        whole = walks.blocks_are_whole(over)
        if not whole and (over == 1 or walks.BLOCK % over):
            raise Unfusable("a sum that does not fit a block")
        walk = self._walk(False, numel, {numel, over} | _ends(operand), [operand])
        value = self._named(operand, walk, tuple(operand.shape))
        pieces = -(-over // walks.BLOCK) if whole else 1
        sums = torch.empty(numel // over, pieces, dtype=operand.dtype, device=self._device)
        self.settle(Total(value, squares, over, sums))
        if is_compiling():
            sums = func(operand, *rest)
        elif pieces > 1:
            sums = torch.linalg.vector_norm(sums, dim=1) if squares else sums.sum(dim=1)
        result = sums.view(
            [1 if axis in axes else size for axis, size in enumerate(operand.shape) if keep or axis not in axes]
        )
        self._new(result)
        return result

    def _clashes(self, operand: Tensor) -> bool:
        """Whether `operand` lies where something is put off, but not as that does."""
        return bool(self._pending.get(_storage(operand), {}).keys() - {_place(operand)})

    def _taken(self, target: Tensor, few: bool) -> bool:
        """Whether what was put off must be done before `target` is written."""
        storage, place = _storage(target), _place(target)
        places = self._pending.get(storage, {})
        if places.keys() - {place} or (place in places and places[place].walk.few != few):
            return True
        return any(
            read == storage and (walk.few != few or at != place)
            for walk in (self._few, self._many)
            for read, at, *_ in walk.loads
        )

    @property
    def _read(self) -> set[int]:
        """Storages that a kernel is going to read."""
        return {storage for walk in (self._few, self._many) for storage, *_ in walk.loads}

    def _named(self, operand: Tensor, walk: Walk, shape: tuple[int, ...]) -> str:
        """What `operand` is called in the kernel of `walk`, for an operation on `shape`."""
        storage, place = _storage(operand), _place(operand)
        value = self._pending.get(storage, {}).get(place)
        if value is not None and value.walk is walk:
            return value.name
        if value is not None and value.access is None:  # to be stored by the few's kernel for this one
            value.access = _access_at(operand, place)
        spread = operand.expand(shape) if operand.numel() > 1 else operand
        # Not `operand` itself, which may be given up before the kernel runs and need not be written then.
        access = Access(operand.detach(), tuple(spread.shape), spread.stride())
        key = storage, place, walks.merged(access.shape, access.strides)
        if key not in walk.loads:
            walk.loads[key] = self._name(), access
        return walk.loads[key][0]

    def _name(self) -> str:
        self._count += 1
        return f"v{self._count}"


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _place(tensor: Tensor) -> Place:
    axes = tuple(axis for axis in walks.merged(tensor.shape, tensor.stride()) if axis[1])
    return int(tensor.storage_offset()), tensor.dtype, axes


def _access_at(tensor: Tensor, place: Place) -> Access:
    """Where `place` is, in the storage that `tensor` lies in."""
    offset, dtype, axes = place
    shape, strides = tuple(size for size, _ in axes), tuple(stride for _, stride in axes)
    return Access(tensor.view(dtype).as_strided(shape, strides, offset), shape, strides)


def _ends(tensor: Tensor) -> set[int]:
    return walks.ends(walks.merged(tensor.shape, tensor.stride()))


def _shape(operands: Sequence[Tensor]) -> tuple[int, ...]:
    try:
        return tuple(torch.broadcast_shapes(*(operand.shape for operand in operands)))
    except RuntimeError as error:
        raise Unfusable(str(error)) from error


def _leaves(kwargs: dict[str, Any], device: torch.device) -> bool:
    """Whether an operation is asked for a tensor elsewhere."""
    wanted = torch.device(kwargs.get("device") or device)
    return wanted.type != device.type or wanted.index not in (None, device.index)


def _goes_into(source: Tensor, target: Tensor, name: str) -> bool:
    """Whether what is computed of `source` is of the type of `target`, and does not lie across it."""
    fits = name == "copy_" or torch.result_type(target, source) is target.dtype
    return fits and (_storage(source) != _storage(target) or _place(source) == _place(target))


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
