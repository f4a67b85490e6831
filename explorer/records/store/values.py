"""Checks of what goes into the store, from a person or from a file: `ValueError` with a sentence, or the value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

LONGEST_TITLE = 200
LONGEST_TEXT = 10_000
"""Characters of notes or a sentence."""
MOST_LANES = 64
MOST_RUNS = 4096
"""Of one lane."""
MOST_EPOCHS = 10_000
LATEST = 3e10
"""Seconds since 1970, about the year 2920."""
DEEPEST = 12
"""Levels of lists and objects in settings."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What would move a terminal's cursor or turn the direction of text; tab and line feed are allowed."""


def text(name: str, value: object, most: int = LONGEST_TEXT) -> str:
    """Text of at most `most` characters that shows as what it is."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, not {_kind(value)}.")
    if len(value) > most:
        raise ValueError(f"{name} has {len(value)} characters; {most} are allowed.")
    if strange := _CONTROL.search(value):
        raise ValueError(f"{name} holds the control character {strange[0]!a}, which is not allowed.")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{name} holds half of a surrogate pair, which is not allowed.")
    return value


def choice(name: str, value: object, allowed: Collection[str]) -> str:
    """One of some words."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} = {_shown(value)} is not allowed: it must be one of {', '.join(sorted(allowed))}.")
    return value


def integer(name: str, value: object, low: int, high: int) -> int:
    """An integer from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} = {_shown(value)} is not allowed: it must be an integer from {low} to {high}.")
    return value


def number(name: str, value: object) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e300:
        raise ValueError(f"{name} = {_shown(value)} is not allowed: it must be a finite number.")
    return float(value)


def seconds(name: str, value: object) -> float:
    """Seconds from 0 to what a calendar still takes."""
    found = number(name, value)
    if not 0 <= found <= LATEST:
        raise ValueError(f"{name} = {_shown(value)} is not allowed: it must be seconds from 0 to {LATEST:g}.")
    return found


def optional(name: str, value: object) -> float:
    """A finite number, or NaN for None."""
    return math.nan if value is None else number(name, value)


def listed(name: str, value: object, most: int) -> list[Any]:
    """A list with one to `most` entries."""
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list, not {_kind(value)}.")
    if not 1 <= len(value) <= most:
        raise ValueError(f"{name} has {len(value)} entries; it must have from 1 to {most}.")
    return value


def settings(name: str, value: object) -> dict[str, Any]:
    """An object of plain JSON: text, finite numbers, true, false, null, lists and objects, not nested too deep."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be an object, not {_kind(value)}.")
    return {_key(name, key): _plain(f"{name}.{key}", part, 1) for key, part in value.items()}


def _plain(name: str, value: object, depth: int) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"{name[:60]} … is nested deeper than {DEEPEST} levels, which is not allowed.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(name, value)
    if isinstance(value, int):
        return integer(name, value, -(2**63), 2**63 - 1)
    if isinstance(value, float):
        return number(name, value)
    if isinstance(value, list | tuple):
        return [_plain(name, part, depth + 1) for part in value]
    if isinstance(value, Mapping):
        return {_key(name, key): _plain(f"{name}.{key}", part, depth + 1) for key, part in value.items()}
    raise ValueError(f"{name} must be plain JSON, not {_kind(value)}.")


def _key(name: str, value: object) -> str:
    return text(f"a name in {name}", value, LONGEST_TITLE)


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}.get(
        type(value), type(value).__name__
    )


def _shown(value: object) -> str:
    """A value for a sentence, not longer than a line."""
    try:
        shown = json.dumps(value, default=_kind)
    except (ValueError, RecursionError):
        shown = _kind(value)
    return shown if len(shown) <= 60 else f"{shown[:59]}…"
