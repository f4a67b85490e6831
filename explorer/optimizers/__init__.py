"""The shelf of optimizers.  A file here that defines an `Optimizer` with a `key` is on it; nothing to edit."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from explorer.optimizers.base import Optimizer, State

__all__ = ["Optimizer", "State", "create", "get", "load", "modifiers", "names"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

from explorer.optimizers import modifiers  # noqa: E402 - after every optimizer is known
from explorer.optimizers.adapter import adapt  # noqa: E402
from explorer.optimizers.plugins import load_class  # noqa: E402


def _shelf() -> dict[str, type[Optimizer]]:
    found: dict[str, type[Optimizer]] = {}
    pending = [Optimizer]
    while pending:
        for subclass in pending.pop().__subclasses__():
            pending.append(subclass)
            if "key" in vars(subclass) and "composed" not in vars(subclass):
                found[subclass.key] = subclass
    return dict(sorted(found.items()))


def names() -> list[str]:
    """The names of all optimizers, sorted."""
    return list(_shelf())


def get(name: str) -> type[Optimizer]:
    """The class of the optimizer called `name`, with modifiers where they follow it (`adam+clip+cosine`).

    A name with a colon is the import path of a `torch.optim.Optimizer` (`torch:Adafactor`).  `ValueError` if there is
    none.
    """
    key, *modified = name.split("+")
    if ":" in key:
        return modifiers.apply(adapt(key), modified)
    try:
        return modifiers.apply(_shelf()[key], modified)
    except KeyError:
        raise ValueError(f"optimizer = {key!r} is not known: it must be one of {', '.join(names())}.") from None


def create(name: str, modify: str | Iterable[str] = (), **hyperparameters: Any) -> Optimizer:
    """The optimizer called `name`, with modifiers around it, later ones around earlier ones.

    modify: modifiers as people write them.  A list for a hyperparameter sweeps it.  `ValueError` names what is unknown
    or out of range.

    >>> create("adam", lr=1e-3).lr
    0.001
    >>> create("sgd", modify=["clip", "cosine:warmup=10"], clip_norm=[1, 10]).grid()[1]["clip_norm"]
    10
    """
    listed = [modify] if isinstance(modify, str) else list(modify)
    parsed = [modifiers.parse(text) for text in listed]
    settings = {field: value for _, values in parsed for field, value in values.items()}
    return get("+".join([name, *(modifier for modifier, _ in parsed)]))(**(settings | hyperparameters))


def load(path: str | Path, modify: str | Iterable[str] = (), **hyperparameters: Any) -> Optimizer:
    """The optimizer in the Python file at `path`, which from then on is on the shelf too.

    The file defines the challenge's functions (`optimizer_init_state`, `optimizer_step` and, where it proposes,
    `optimizer_query_at_params`), and the optimizer has the file's name; or one `Optimizer` class with a `key`.
    `ValueError` says what is wrong with it.
    """
    before = _shelf()
    loaded = load_class(path)
    taken = before.get(loaded.key)
    if taken is not None and taken.__module__ != loaded.__module__:
        loaded.composed = True  # pyright: ignore[reportAttributeAccessIssue]  # keeps it off the shelf
        raise ValueError(f"plugin = {str(path)!r} is called {loaded.key}, as an optimizer on the shelf is: rename it.")
    return create(loaded.key, modify, **hyperparameters)
