"""Where tournaments and their outcomes are kept as they come: tables of the run store, each outcome there once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Column, Double, MetaData, String, Table, Text, delete, insert, select
from sqlalchemy.exc import IntegrityError

from explorer.records.store.engine import described, location, open_engine
from explorer.records.store.trouble import as_sentences
from explorer.tournament.units import Outcome, Unit

KEY_LENGTH = 32
AT_ONCE = 500
"""Keys that one query asks for: databases limit them."""

_TABLES = MetaData()
_TOURNAMENTS = Table(
    "tournaments",
    _TABLES,
    Column("key", String(KEY_LENGTH), primary_key=True),
    Column("name", Text, nullable=False),
    Column("told", Text, nullable=False),
    Column("units", Text, nullable=False),
    Column("began", Double, nullable=False),
)
_UNITS = Table(
    "tournament_units",
    _TABLES,
    Column("key", String(KEY_LENGTH), primary_key=True),
    Column("title", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("curves", Text, nullable=False),
    Column("finished", Double, nullable=False),
)


@dataclass(frozen=True)
class Held:
    """A tournament in the store.

    told: its spec as plain values.  began: seconds since 1970.  done, total: fleets.
    """

    key: str
    name: str
    told: Mapping[str, Any]
    began: float
    done: int
    total: int


class Store:
    """Tournaments, and outcomes by their unit's key; in the file at `path`, or in the run store where none is given.

    A unit's outcome is written in one transaction, so that after any end of the process it is there or it is not.  A
    second outcome of a unit is ignored.  Readers, a page that shows a tournament, never wait for the one who writes.
    `ValueError` says in a sentence why the store cannot be opened, read or written.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        place = location() if path is None else URL.create("sqlite", database=str(path))
        self.where = described(place)
        self._engine = open_engine(place)
        self._writing = self._engine.execution_options(writes=True)
        with as_sentences(self.where), self._writing.begin() as link:
            _TABLES.create_all(link)

    def add(self, unit: Unit, outcome: Outcome) -> bool:
        """Keep an outcome; False if the unit had one."""
        told, curves = outcome.to_json()
        return self._insert(_UNITS, key=unit.key, title=unit.title, outcome=told, curves=curves, finished=time.time())

    def get(self, units: Iterable[Unit]) -> dict[str, Outcome]:
        """The outcomes of those of `units` that have one, by key, without their curves."""
        keys = [unit.key for unit in units]
        return {key: Outcome.from_json(told) for key, told in self._select(_UNITS.c.outcome, keys)}

    def whole(self, unit: Unit) -> Outcome | None:
        """The outcome of one unit with its curves, None if it has none."""
        wanted = select(_UNITS.c.outcome, _UNITS.c.curves).where(_UNITS.c.key == unit.key)
        with as_sentences(self.where), self._engine.connect() as link:
            row = link.execute(wanted).one_or_none()
        return None if row is None else Outcome.from_json(*row)

    def hold(self, key: str, name: str, told: Mapping[str, Any], units: Sequence[Unit]) -> None:
        """Remember a tournament, so that it is found again; nothing changes if it is there."""
        keys = json.dumps([unit.key for unit in units])
        self._insert(_TOURNAMENTS, key=key, name=name, told=json.dumps(told), units=keys, began=time.time())

    def held(self) -> list[Held]:
        """The tournaments that are remembered, the latest first."""
        with as_sentences(self.where), self._engine.connect() as link:
            rows = link.execute(select(_TOURNAMENTS).order_by(_TOURNAMENTS.c.began.desc())).all()
        listed = {row.key: json.loads(row.units) for row in rows}
        done = {key for key, _ in self._select(_UNITS.c.key, sorted({key for keys in listed.values() for key in keys}))}
        return [
            Held(row.key, row.name, json.loads(row.told), row.began, len(done & set(units)), len(units))
            for row, units in zip(rows, listed.values(), strict=True)
        ]

    def forget(self, key: str) -> None:
        """Drop a tournament, and the outcomes that no other one counts on."""
        with as_sentences(self.where), self._writing.begin() as link:
            listed = {row.key: set(json.loads(row.units)) for row in link.execute(select(_TOURNAMENTS)).all()}
            alone = listed.pop(key, set()).difference(*listed.values())
            link.execute(delete(_TOURNAMENTS).where(_TOURNAMENTS.c.key == key))
            for keys in _parts(sorted(alone)):
                link.execute(delete(_UNITS).where(_UNITS.c.key.in_(keys)))

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def _insert(self, table: Table, **row: Any) -> bool:
        """Whether the row is new."""
        with as_sentences(self.where):
            try:
                with self._writing.begin() as link:
                    link.execute(insert(table).values(row))
            except IntegrityError:  # only the key can be in the way
                return False
        return True

    def _select(self, column: Column[Any], keys: Sequence[str]) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        with as_sentences(self.where), self._engine.connect() as link:
            for part in _parts(keys):
                rows = link.execute(select(_UNITS.c.key, column).where(_UNITS.c.key.in_(part))).all()
                found += [(row[0], row[1]) for row in rows]
        return found


def _parts(keys: Sequence[str]) -> list[Sequence[str]]:
    return [keys[first : first + AT_ONCE] for first in range(0, len(keys), AT_ONCE)]
