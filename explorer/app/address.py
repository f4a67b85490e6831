"""The address bar: every setting in it, every bad entry named and left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

Setter = Callable[[str], None]


def read(search: str, setters: Callable[[], Mapping[str, Setter]]) -> list[str]:
    """Apply the entries of an address's query, in the order of the setters; the sentences about bad ones.

    setters: asked again for each entry, since one (the optimizer) decides which others there are.
    """
    complaints = []
    entries = dict(parse_qsl(search.removeprefix("?"), keep_blank_values=True))
    while entries:
        known = setters()
        name = next((name for name in known if name in entries), None)
        if name is None:
            break
        try:
            known[name](entries.pop(name))
        except ValueError as error:
            complaints.append(f"In the address: {error}")
    return complaints + [f"In the address: {name} is not a setting; it was ignored." for name in entries]


def write(values: Mapping[str, Any]) -> str:
    """The query that `read` understands; lists become comma-separated."""
    spelt = {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in values.items()
    }
    return "?" + urlencode(spelt, safe=",") if spelt else ""
