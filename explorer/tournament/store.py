"""Where outcomes are kept as they come: one SQLite file, a row a unit, each there once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Column, DateTime, Engine, MetaData, String, Table, Text, create_engine, event, func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DatabaseError

from explorer.tournament.units import Outcome, Unit

_TABLES = MetaData()
_UNITS = Table(
    "units",
    _TABLES,
    Column("key", String(32), primary_key=True),
    Column("title", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("curves", Text, nullable=False),
    Column("finished", DateTime, nullable=False, server_default=func.now()),
)


class Store:
    """Outcomes by their unit's key, in the file at `path`; it is made if it is not there.

    A unit's outcome is written in one transaction, so that after any end of the process it is there or it is not.  A
    second outcome of a unit is ignored.  `ValueError` where the file is no store or cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._engine: Engine = create_engine(f"sqlite:///{self.path}")
        # Readers, a page that shows the tournament, then never wait for the one who writes.
        event.listen(self._engine, "connect", lambda link, _: link.execute("PRAGMA journal_mode=WAL").close())
        try:
            _TABLES.create_all(self._engine)
            with self._engine.connect() as link:
                link.execute(select(_UNITS).limit(0))
        except DatabaseError as error:
            raise ValueError(f"store = {str(self.path)!r} cannot be used: {error.orig}.") from None

    def add(self, unit: Unit, outcome: Outcome) -> bool:
        """Keep an outcome; False if the unit had one."""
        told, curves = outcome.to_json()
        row = {"key": unit.key, "title": unit.title, "outcome": told, "curves": curves}
        with self._engine.begin() as link:
            return link.execute(insert(_UNITS).values(row).on_conflict_do_nothing()).rowcount == 1

    def get(self, units: Iterable[Unit]) -> dict[str, Outcome]:
        """The outcomes of those of `units` that have one, by key, without their curves."""
        wanted = {unit.key for unit in units}
        with self._engine.connect() as link:
            rows = link.execute(select(_UNITS.c.key, _UNITS.c.outcome)).all()
        return {key: Outcome.from_json(told) for key, told in rows if key in wanted}

    def whole(self, unit: Unit) -> Outcome | None:
        """The outcome of one unit with its curves, None if it has none."""
        wanted = select(_UNITS.c.outcome, _UNITS.c.curves).where(_UNITS.c.key == unit.key)
        with self._engine.connect() as link:
            row = link.execute(wanted).one_or_none()
        return None if row is None else Outcome.from_json(*row)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()
