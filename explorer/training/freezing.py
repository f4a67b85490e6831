"""Nested dicts and lists of tensors as bytes and back, without pickle: reading them executes nothing.

The layout is that of a safetensors file: the length of a JSON header in 8 bytes, the header, then the tensors' bytes.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from explorer.base.tensors import Tensors
from explorer.training.graph import tensors_of

DTYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}
NAMES = {name: dtype for dtype, name in DTYPES.items()}
PLAIN = (type(None), bool, int, float, str)
_REFUSED = "These runs could not be continued after an interruption: {} holds {}, which cannot be written down."


def pack(tree: Any, told: Any) -> bytes:
    """`tree` (dicts, lists, tuples, tensors, generators, torch optimizers, plain values) and `told` (JSON) as bytes.

    `ValueError` names what cannot be written.
    """
    packer = _Packer()
    node = packer.node(tree, "")
    header: dict[str, Any] = {"__metadata__": {"told": json.dumps(told), "tree": json.dumps(node)}}
    parts, end = [], 0
    for name, tensor in packer.tensors.items():
        part = _bytes(tensor)
        at = [end, end := end + len(part)]
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": at}
        parts.append(part)
    start = json.dumps(header).encode()
    start += b" " * (-len(start) % 8)
    return b"".join([len(start).to_bytes(8, "little"), start, *parts])


def plain(value: Any) -> Any:
    """`value` as it comes back from JSON."""
    return json.loads(json.dumps(value))


def size(tree: Any) -> int:
    """About how many bytes the tensors in `tree` have, those inside torch optimizers aside."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors_of(tree))


class Frozen:
    """What `pack` wrote; `ValueError` where it is damaged."""

    def __init__(self, data: bytes) -> None:
        try:
            length = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + length])
            metadata = header.pop("__metadata__")
            self.told, self._tree = json.loads(metadata["told"]), json.loads(metadata["tree"])
            body = memoryview(data)[8 + length :]
            self._tensors = {name: _tensor(body, **entry) for name, entry in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError):
            raise ValueError("The checkpoint is damaged.") from None

    def restore(self, present: Any, like: Tensors) -> Any:
        """The tree.  Tensors, dicts and lists of `present`, a tree of the same kind, are filled where they fit, so that
        who holds them sees it.  What is made anew goes where `like` is, in its layout."""
        try:
            with torch.no_grad():
                return _Restorer(self._tensors, like).tree(self._tree, present)
        except (KeyError, TypeError, AttributeError, IndexError, RuntimeError):
            raise ValueError("The checkpoint is damaged, or of another version of an optimizer.") from None


class _Packer:
    """Writes a tree's nodes; a tensor that is met twice is written once."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []

    def node(self, value: Any, path: str) -> Any:
        if isinstance(value, Tensors):
            return {"slots": self._tensor(value.buffer, path, value)}
        if isinstance(value, Tensor):
            return {"tensor": self._tensor(value, path, value), "host": value.device.type == "cpu"}
        if isinstance(value, torch.Generator):
            state = value.get_state()
            return {"generator": self._tensor(state, path, value)}
        if isinstance(value, torch.optim.Optimizer):
            return {"optimizer": self.node(_optimizer(value), path)}
        if type(value) in PLAIN:
            return {"value": value}
        if type(value) is dict and all(type(key) in (str, int) for key in value):
            return {"dict": [[key, self.node(part, f"{path}.{key}")] for key, part in value.items()]}
        if type(value) in (list, tuple):
            return {type(value).__name__: [self.node(part, f"{path}.{at}") for at, part in enumerate(value)]}
        raise ValueError(_REFUSED.format(path.strip("."), f"a {type(value).__name__}"))

    def _tensor(self, tensor: Tensor, path: str, owner: Any) -> str:
        if id(owner) not in self._names:
            if tensor.dtype not in DTYPES or tensor.layout is not torch.strided:
                raise ValueError(_REFUSED.format(path.strip("."), f"a tensor of {tensor.dtype}"))
            name = path.strip(".")
            while name in self.tensors:
                name += "'"
            self._names[id(owner)] = name
            self.tensors[name] = tensor
            self._kept.append(owner)  # an id is only good for as long as its owner lives
        return self._names[id(owner)]


class _Restorer:
    """Reads a tree's nodes."""

    def __init__(self, tensors: dict[str, Tensor], like: Tensors) -> None:
        self._tensors, self._layout, self._device = tensors, like.layout, like.buffer.device
        self._done: dict[str, Tensor] = {}
        self._filled: set[int] = set()

    def tree(self, node: Any, present: Any) -> Any:
        ((kind, said), *others) = node.items()
        if kind == "value":
            return said
        if kind == "slots":
            buffer = present.buffer if isinstance(present, Tensors) else None
            filled = self._tensor(said, buffer, host=False)
            return present if filled is buffer else Tensors(self._layout, filled)
        if kind == "tensor":
            return self._tensor(said, present, others[0][1])
        if kind == "generator":
            present.set_state(self._tensors[said])
            return present
        if kind == "optimizer":
            return _refill(present, self.tree(said, _optimizer(present)))
        if kind == "dict":
            into = present if type(present) is dict else {}
            parts = {key: self.tree(part, into.get(key)) for key, part in said}
            into.clear()
            into.update(parts)
            return into
        there = [*present] if type(present) in (list, tuple) else []
        there += [None] * (len(said) - len(there))
        parts = [self.tree(part, before) for part, before in zip(said, there, strict=False)]
        if kind == "tuple":
            return tuple(parts)
        if type(present) is list:
            present[:] = parts
            return present
        return parts

    def _tensor(self, name: str, present: Any, host: bool) -> Tensor:
        if name in self._done:
            return self._done[name]
        tensor = self._tensors[name]
        fits = isinstance(present, Tensor) and tensor.shape == present.shape and tensor.dtype == present.dtype
        if fits and id(present) not in self._filled:  # not one that stands for two which differ by now
            self._filled.add(id(present))
            self._done[name] = present.copy_(tensor)
        else:
            self._done[name] = tensor.clone() if host else tensor.to(self._device, copy=True)
        return self._done[name]


def _optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """What a torch optimizer remembers: its state by parameter number, its groups, and what its class adds."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    numbers = {weight: number for number, weight in enumerate(weights)}
    usual = vars(torch.optim.SGD([torch.zeros(1)], lr=1.0))
    return {
        "state": {numbers.get(key, key): value for key, value in optimizer.state.items()},
        "groups": [
            {name: value for name, value in group.items() if name != "params"} for group in optimizer.param_groups
        ],
        "others": {name: value for name, value in vars(optimizer).items() if name not in usual},
    }


def _refill(optimizer: torch.optim.Optimizer, told: dict[str, Any]) -> torch.optim.Optimizer:
    """The inverse of `_optimizer`."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    optimizer.state.clear()
    optimizer.state.update({weights[key] if type(key) is int else key: value for key, value in told["state"].items()})
    for group, values in zip(optimizer.param_groups, told["groups"], strict=True):
        group.update(values)
    vars(optimizer).update(told["others"])
    return optimizer


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _tensor(body: memoryview, dtype: str, shape: list[int], data_offsets: list[int]) -> Tensor:
    start, end = data_offsets
    part = bytearray(body[start:end])
    if len(part) != end - start:
        raise ValueError("The checkpoint is cut off.")
    kind = NAMES[dtype]
    return torch.frombuffer(part, dtype=kind).reshape(shape) if part else torch.empty(shape, dtype=kind)
