"""The shelf of optimizers.  A file here that defines an `Optimizer` with a `key` is on it; nothing to edit."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from explorer.optimizers.base import Optimizer, State

__all__ = ["Optimizer", "State", "create", "get", "names"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def _shelf() -> dict[str, type[Optimizer]]:
    found: dict[str, type[Optimizer]] = {}
    pending = [Optimizer]
    while pending:
        for subclass in pending.pop().__subclasses__():
            pending.append(subclass)
            if "key" in vars(subclass):
                found[subclass.key] = subclass
    return dict(sorted(found.items()))


def names() -> list[str]:
    """The names of all optimizers, sorted."""
    return list(_shelf())


def get(name: str) -> type[Optimizer]:
    """The class of the optimizer called `name`; `ValueError` if there is none."""
    try:
        return _shelf()[name]
    except KeyError:
        raise ValueError(f"optimizer = {name!r} is not known: it must be one of {', '.join(names())}.") from None


def create(name: str, **hyperparameters: Any) -> Optimizer:
    """The optimizer called `name`.

    A list for a hyperparameter sweeps it.  `ValueError` names what is unknown or out of range.

    >>> create("adam", lr=1e-3).lr
    0.001
    """
    return get(name)(**hyperparameters)
