"""How the two processes speak: JSON with its length before it, and a file in memory for the tensors."""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Sequence
from typing import Any

import param
import torch
from torch import Tensor

from explorer.base.declared import Log
from explorer.base.tensors import Layout, Slot, Tensors

LENGTH = struct.Struct("<I")
LONGEST = 1 << 20
"""Bytes of a message at most: there are no numbers of tensors in it."""

KINDS = {
    "log": Log,
    "integer": param.Integer,
    "number": param.Number,
    "boolean": param.Boolean,
    "choice": param.Selector,
    "text": param.String,
}
"""The kinds of hyperparameter that can be told of, the special before the general."""


def pack(message: dict[str, Any]) -> bytes:
    """A message as it is sent."""
    body = json.dumps(message).encode()
    return LENGTH.pack(len(body)) + body


class Space:
    """The tensors that both processes see: three models, two rows of losses, a row for each hyperparameter.

    given, gradients, made: `Tensors`.  losses: `[2, R]`, train and validation.  columns: `[H, R]`.
    """

    def __init__(self, memory: mmap.mmap, layout: Layout, runs: int, columns: int, dtype: torch.dtype) -> None:
        whole = torch.frombuffer(memory, dtype=dtype)
        parts = whole.split([runs * layout.size] * 3 + [2 * runs, columns * runs])
        self.given, self.gradients, self.made = (Tensors(layout, part.view(runs, -1)) for part in parts[:3])
        self.losses, self.columns = parts[3].view(2, runs), parts[4].view(columns, runs)

    @staticmethod
    def bytes_of(layout: Layout, runs: int, columns: int, dtype: torch.dtype) -> int:
        """How large the file must be."""
        return (3 * layout.size + 2 + columns) * runs * dtype.itemsize


def slots_of(layout: Layout) -> list[list[Any]]:
    """A layout for JSON."""
    return [[slot.name, list(slot.shape), slot.trainable, slot.statistic] for slot in layout.slots]


def layout_of(slots: list[list[Any]]) -> Layout:
    """The layout that `slots_of` told of."""
    return Layout([Slot(name, tuple(shape), trainable, statistic) for name, shape, trainable, statistic in slots])


def fill(tensors: Tensors, values: Sequence[Tensor]) -> None:
    """Copy `values` into a space's tensors, from wherever they are."""
    if isinstance(values, Tensors) and values.layout.size == tensors.layout.size:
        tensors.buffer.copy_(values.buffer)
    else:
        for tensor, value in zip(tensors, values, strict=True):
            tensor.copy_(value)
