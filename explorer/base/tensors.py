"""Tensors of a fleet: a list in the harness's order that also knows names and lies in one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


def leaves(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """What an elementwise rule walks over: the one trainable buffer `[R, T]`, or each tensor of a plain list."""
    return [tensors.flat] if isinstance(tensors, Tensors) else tensors
