"""Tensors of a fleet: a list in the harness's order that also knows names and lies in one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import Tensor

ALIGNMENT = 32
"""Every tensor starts at a multiple of this many elements, so that vector loads stay aligned."""


@dataclass(frozen=True)
class Slot:
    """One tensor of the model.

    name: for example `linears.0.weight`.  shape: of one run.  trainable: whether an update is applied to it.
    statistic: whether it is a running statistic of a batch norm.
    """

    name: str
    shape: tuple[int, ...]
    trainable: bool = True
    statistic: bool = False


class Layout:
    """Where each slot lies in a run's row of `size` elements: trainable slots first, in the given order."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = tuple(slots)
        self.offsets: dict[str, int] = {}
        self.size = 0
        self.trainable_size = 0
        for slot in sorted(self.slots, key=lambda slot: (not slot.trainable, slot.statistic)):
            self.offsets[slot.name] = self.size
            self.size += -(-prod(slot.shape) // ALIGNMENT) * ALIGNMENT
            if slot.trainable:
                self.trainable_size = self.size

        self._blocks: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}
        self._columns: dict[tuple[torch.device, tuple[int, ...]], Tensor] = {}

    def blocks(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Which trainable slot each `ALIGNMENT` elements lie in: `[T/32]`, and one-hot `[T/32, S]`, as `like`."""
        place = like.device, like.dtype
        if place not in self._blocks:
            trainable = [slot for slot in self.slots if slot.trainable]
            counts = torch.tensor([-(-prod(slot.shape) // ALIGNMENT) for slot in trainable], dtype=torch.int64)
            numbers = torch.repeat_interleave(torch.arange(len(trainable)), counts)
            onehot = torch.nn.functional.one_hot(numbers, len(trainable))
            self._blocks[place] = numbers.to(like.device), onehot.to(like)
        return self._blocks[place]

    def columns(self, indices: Sequence[int], device: torch.device) -> Tensor:
        """Where the elements of these slots lie in a row, one after the other: int64, on `device`."""
        place = device, tuple(indices)
        if place not in self._columns:
            slots = [self.slots[index] for index in indices]
            parts = [self.offsets[slot.name] + torch.arange(prod(slot.shape)) for slot in slots]
            self._columns[place] = torch.cat(parts).to(device)
        return self._columns[place]

    def zeros(self, runs: int, device: torch.device | str, dtype: torch.dtype) -> Tensors:
        """Zeros for `runs` runs."""
        return Tensors(self, torch.zeros(runs, self.size, device=device, dtype=dtype))


class Tensors(list[Tensor]):
    """One tensor a slot, each `[R, *slot.shape]`, all views into `.buffer [R, size]`.

    `.flat [R, T]` is the trainable part alone: an elementwise optimizer works on it in one go.
    """

    def __init__(self, layout: Layout, buffer: Tensor) -> None:
        self.layout = layout
        self.buffer = buffer
        self.flat = buffer[:, : layout.trainable_size]
        self._of_runs: list[list[Tensor]] = []
        runs = buffer.shape[0]
        super().__init__(
            buffer[:, start : start + prod(slot.shape)].view(runs, *slot.shape)
            for slot in layout.slots
            for start in (layout.offsets[slot.name],)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The slots' names, in the list's order."""
        return tuple(slot.name for slot in self.layout.slots)

    def of_runs(self) -> list[list[Tensor]]:
        """Each run's tensors, `[*slot.shape]`; made once, since views cost as much as small products."""
        if not self._of_runs:
            self._of_runs = [list(tensors) for tensors in zip(*(tensor.unbind() for tensor in self), strict=True)]
        return self._of_runs

    @property
    def trainable(self) -> tuple[bool, ...]:
        """For each tensor, whether an update of it is applied."""
        return tuple(slot.trainable for slot in self.layout.slots)

    def zeros_like(self) -> Tensors:
        """Zeros in the same layout."""
        return Tensors(self.layout, torch.zeros_like(self.buffer))

    def clone(self) -> Tensors:
        """A copy in a buffer of its own."""
        return Tensors(self.layout, self.buffer.clone())


def zeros_like(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Zeros in the shape of `tensors`, in one buffer where `tensors` has one."""
    if isinstance(tensors, Tensors):
        return tensors.zeros_like()
    return [torch.zeros_like(tensor) for tensor in tensors]


def copy_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    """A copy of `tensors`, in one buffer where they have one."""
    return tensors.clone() if isinstance(tensors, Tensors) else [tensor.clone() for tensor in tensors]


def room_beside(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Room for other values of the `leaves`, to be written first; what no update is applied to is as in `tensors`."""
    if isinstance(tensors, Tensors):
        room, trained = Tensors(tensors.layout, torch.empty_like(tensors.buffer)), tensors.layout.trainable_size
        room.buffer[:, trained:].copy_(tensors.buffer[:, trained:])
        return room
    return [torch.empty_like(tensor) for tensor in tensors]


def leaves(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """What an elementwise rule walks over: the one trainable buffer `[R, T]`, or each tensor of a plain list."""
    return [tensors.flat] if isinstance(tensors, Tensors) else tensors


def blocks(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """What a rule with norms of single tensors walks over: `leaves`, the one buffer as `[R, T/32, 32]`.

    No block has elements of two tensors, so what holds for a tensor is told by a number a block.
    """
    return [tensors.flat.unflatten(1, (-1, ALIGNMENT))] if isinstance(tensors, Tensors) else tensors


def from_leaves(parts: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of `leaves` and `blocks`: tensors in the layout of `like`, zero where that is not trainable."""
    if isinstance(like, Tensors):
        (part,) = parts
        missing = like.layout.size - like.layout.trainable_size
        return Tensors(like.layout, torch.nn.functional.pad(part.flatten(1), (0, missing)))
    return list(parts)


def stacked(tensors: Sequence[Tensor], indices: Sequence[int]) -> Tensor:
    """The tensors at `indices`, all of one shape, as `[R, L, ...]`, to be read: a view where they lie evenly apart."""
    if isinstance(tensors, Tensors):
        starts = [tensors.layout.offsets[tensors.layout.slots[index].name] for index in indices]
        steps = {after - before for before, after in pairwise(starts)} or {0}
        if len(steps) == 1:
            first, buffer = tensors[indices[0]], tensors.buffer
            strides = (buffer.stride(0), *steps, *first.stride()[1:])
            return buffer.as_strided(
                (len(buffer), len(indices), *first.shape[1:]), strides, buffer.storage_offset() + starts[0]
            )
    return torch.stack([tensors[index] for index in indices], dim=1)


def constants(values: Sequence[float], like: Sequence[Tensor]) -> list[Tensor]:
    """One number a tensor, in the layout of `like`."""
    if isinstance(like, Tensors):
        row = like.layout.zeros(1, like.buffer.device, like.buffer.dtype)
        for tensor, value in zip(row, values, strict=True):
            tensor.fill_(value)
        return Tensors(like.layout, row.buffer.repeat(len(like.buffer), 1))
    return [torch.full_like(tensor, value) for tensor, value in zip(like, values, strict=True)]


def column(values: Tensor, like: Tensor) -> Tensor:
    """`values [R]` as `[R, 1, ...]`, to be multiplied with `like [R, ...]`."""
    return values.view(-1, *(1 for _ in range(like.dim() - 1)))


def total_norms(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of all of a run's tensors together: `[R]`.  Gradients have zeros where nothing is trained."""
    norms = [torch.linalg.vector_norm(leaf.flatten(1), dim=1) for leaf in leaves(tensors)]
    return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms), dim=0)


def tensor_norms(block: Tensor, like: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of each of a run's tensors, to be broadcast to `block`, which is as one of `blocks(like)`.

    Tensors in one buffer are summed together, block by block and then by a product with a one-hot matrix, so the cost
    does not grow with their number.
    """
    if not isinstance(like, Tensors):
        return torch.linalg.vector_norm(block, dim=tuple(range(1, block.dim())), keepdim=True)
    numbers, onehot = like.layout.blocks(block)
    norms = (torch.linalg.vector_norm(block, dim=2).square_() @ onehot).sqrt_()
    return norms.index_select(1, numbers)[:, :, None]
