"""Plain values from a file, taken for what they must be; `ValueError` says in a sentence what is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def only(told: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse keys that are not `known` in `where`."""
    for key in told:
        if key not in known:
            raise ValueError(f"{key} is not a setting of {where}; its settings are: {', '.join(sorted(known))}.")


def listed(told: Mapping[str, Any], key: str) -> list[Any]:
    """The list under `key`, of at least one."""
    value = told.get(key)
    if not isinstance(value, list) or not value:
        raise ValueError(f"{key} = {value!r} is not allowed: it must be a list of at least one.")
    return value


def names(value: Any, key: str) -> list[str]:
    """A list of names, or one name, each there once."""
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{key} = {value!r} is not allowed: it must be a list of names.")
    unique(value, key)
    return value


def table(told: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    """The table under `key`, empty if there is none."""
    value = told.get(key, {})
    if not isinstance(value, Mapping):
        raise ValueError(f"{key} = {value!r} is not allowed in {where}: it must be a table.")
    return dict(value)


def one_of(value: Any, known: Sequence[str], key: str) -> str:
    """`value`, if it is one of `known`."""
    if value not in known:
        raise ValueError(f"{key} = {value!r} is not allowed: it must be one of {', '.join(known)}.")
    return value


def unique(values: Sequence[Any], key: str) -> None:
    """Refuse a value that is there twice."""
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} is twice in {key}: each must be there once.")
