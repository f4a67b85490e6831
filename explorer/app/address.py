"""The address bar: every setting in it, every bad entry named and left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

Setter = Callable[[str], None]


@dataclass(frozen=True)
class Linked:
    """An entry of the address that somebody else looks after.

    load: takes its text; `ValueError` with a sentence where that is not allowed.  value: what it is now, None where it
    need not be said.
    """

    load: Setter
    value: Callable[[], Any]


def read(search: str, setters: Callable[[], Mapping[str, Setter]]) -> list[str]:
    """Apply the entries of an address's query, in the order of the setters; the sentences about bad ones.

    setters: asked again for each entry, since one (the optimizer) decides which others there are.
    """
    entries = dict(parse_qsl(search.removeprefix("?"), keep_blank_values=True))
    refused: dict[str, str] = {}
    while waiting := [name for name in setters() if name in entries and name not in refused]:
        name = waiting[0]
        try:
            setters()[name](entries[name])
        except ValueError as error:
            refused[name] = f"In the address: {error}"
        else:
            del entries[name]
            refused.clear()  # what could not be before may go together with this
    strange = [f"In the address: {name} is not a setting; it was ignored." for name in entries if name not in refused]
    return [*refused.values(), *strange]


def write(values: Mapping[str, Any]) -> str:
    """The query that `read` understands; lists become comma-separated."""
    spelt = {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in values.items()
    }
    return "?" + urlencode(spelt, safe=",") if spelt else ""
