"""Modifiers wrap any optimizer and compose.  A file here that defines a `Modifier` with a name is offered."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from explorer.optimizers.base import Optimizer
from explorer.optimizers.modifiers.base import Modifier

__all__ = ["Modifier", "apply", "get", "names", "parse"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def _found() -> dict[str, type[Modifier]]:
    found: dict[str, type[Modifier]] = {}
    pending: list[type[Modifier]] = [Modifier]
    while pending:
        for subclass in pending.pop().__subclasses__():
            pending.append(subclass)
            if "modifier" in vars(subclass):
                found[subclass.modifier] = subclass
    return dict(sorted(found.items()))


def names() -> list[str]:
    """The names of all modifiers, sorted."""
    return list(_found())


def get(name: str) -> type[Modifier]:
    """The modifier called `name`; `ValueError` if there is none."""
    try:
        return _found()[name]
    except KeyError:
        raise ValueError(f"modifier = {name!r} is not known: it must be one of {', '.join(names())}.") from None


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """A modifier's name and hyperparameters from how people write it; `ValueError` where that is wrong.

    >>> parse("cosine:warmup=10,final=0.1")
    ('cosine', {'cosine_warmup': 10.0, 'cosine_final': 0.1})
    """
    name, _, settings = text.strip().partition(":")
    modifier = get(name)
    values: dict[str, Any] = {}
    for setting in filter(None, settings.split(",")):
        field, equals, value = (part.strip() for part in setting.partition("="))
        if not equals:
            raise ValueError(f"modifier = {text!r} is not understood: write it as {name}:setting=value,setting=value.")
        if f"{name}_{field}" not in modifier.fields():
            known = ", ".join(known.removeprefix(f"{name}_") for known in modifier.fields())
            raise ValueError(f"{field} is not a setting of {name}; its settings are: {known or 'none'}.")
        values[f"{name}_{field}"] = modifier.parse(f"{name}_{field}", value)
    return name, values


def apply(optimizer: type[Optimizer], modifiers: Iterable[str]) -> type[Optimizer]:
    """The optimizer's class with the named modifiers around it, later ones around earlier ones.

    `ValueError` if one is named twice or its hyperparameters' names are taken.
    """
    return _applied(optimizer, tuple(modifiers))


@cache
def _applied(optimizer: type[Optimizer], modifiers: tuple[str, ...]) -> type[Optimizer]:
    combined = optimizer
    for name in modifiers:
        modifier = get(name)
        if issubclass(combined, modifier) or set(modifier.fields()) & set(combined.fields()):
            raise ValueError(f"modifier = {name!r} is not allowed here: {combined.key} has it already.")
        key = f"{combined.key}+{name}"
        doc = f"{combined.__doc__}\n\n{modifier.__doc__}"
        members = {"key": key, "composed": True, "__doc__": doc, "__module__": optimizer.__module__}
        combined = type(f"{modifier.__name__}{combined.__name__}", (modifier, combined), members)
    return combined
