"""The store's tables, and how a file of an older version becomes one of this version."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import JSON, BigInteger, Connection, Double, ForeignKey, LargeBinary, String, Text, inspect, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from explorer.records.store.trouble import StoreTrouble

ID_LENGTH = 12
"""Characters of an experiment's name in the store, hexadecimal and random."""


class Table(DeclarativeBase):
    """Base of the tables; as Python has them: text, float64, JSON, bytes up to 1 GiB."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        dict[str, Any]: JSON(),
        float: Double(),
        str: Text(),
        bytes: LargeBinary(2**30),
    }


class Version(Table):
    """One row: which version of these tables the store has."""

    __tablename__ = "schema"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Experiment(Table):
    """What was started together.

    began, ended, deleted, seen: seconds since 1970.  phase: of the worker, or `interrupted`.  words: what a search
    looks at, in lower case.  host, pid, process: whose it is while it runs, the process by when it was started; seen:
    when that process last said so.
    """

    __tablename__ = "experiments"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    title: Mapped[str]
    began: Mapped[float] = mapped_column(index=True)
    ended: Mapped[float | None]
    phase: Mapped[str]
    message: Mapped[str]
    settings: Mapped[dict[str, Any]]
    notes: Mapped[str]
    pinned: Mapped[bool]
    deleted: Mapped[float | None]
    words: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int] = mapped_column(BigInteger)
    process: Mapped[float]
    seen: Mapped[float]


class Lane(Table):
    """One fleet of an experiment.  runs: how many.  epoch: the last one kept.  seconds: of training, by then."""

    __tablename__ = "lanes"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    settings: Mapped[dict[str, Any]]
    runs: Mapped[int]
    epoch: Mapped[int]
    seconds: Mapped[float]
    device: Mapped[str]


class Run(Table):
    """One run of a lane: what it is, how it stands, its losses at its best epoch and what is known of its instance."""

    __tablename__ = "runs"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    lane: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seed: Mapped[int] = mapped_column(BigInteger)
    hyperparameters: Mapped[dict[str, Any]]
    status: Mapped[str]
    epochs: Mapped[int]
    best_epoch: Mapped[int]
    train_loss: Mapped[float | None]
    val_loss: Mapped[float | None]
    test_loss: Mapped[float | None]
    noise_mse: Mapped[float | None]
    kernel_floor: Mapped[float | None]
    feature_floor: Mapped[float | None]
    readout_floor: Mapped[float | None]


class Epochs(Table):
    """Some epochs of a lane; a row is written once.

    losses: `[3, R, k]`, train, validation and test, as little-endian float64.  seconds: of training, at the last.
    """

    __tablename__ = "epochs"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    lane: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seconds: Mapped[float]
    losses: Mapped[bytes]


class Checkpoint(Table):
    """The latest from which a lane can be continued; gone when it has ended."""

    __tablename__ = "checkpoints"

    experiment: Mapped[str] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    lane: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    data: Mapped[bytes]


MIGRATIONS: list[Callable[[Connection], None]] = []
"""What makes version 2 of version 1, 3 of 2 and so on, in literal SQL: tables as they were, not as they are above."""

FIRST = 1
to_json = partial(json.dumps, allow_nan=False)


def current() -> int:
    """The version that this code reads and writes."""
    return FIRST + len(MIGRATIONS)


def prepare(connection: Connection, where: str) -> None:
    """Make the tables, or bring older ones to this version, in the connection's transaction.

    `StoreTrouble` where what is there is not a store, or of a later version.
    """
    there = inspect(connection).get_table_names()
    if not there:
        Table.metadata.create_all(connection)
        connection.execute(Version.__table__.insert(), {"version": current()})  # pyright: ignore[reportAttributeAccessIssue]
        return
    if Version.__tablename__ not in there:
        raise StoreTrouble(f"{where} is a database, but not a store of the explorer: it is left as it is.")
    version = connection.execute(select(Version.version)).scalar_one()
    if version > current():
        raise StoreTrouble(
            f"The store at {where} was written by a later version of the explorer (schema {version}; this one knows up "
            f"to {current()}): update the explorer, or set EXPLORER_STORE to another place."
        )
    for migrate in MIGRATIONS[version - FIRST :]:
        migrate(connection)
    connection.execute(Version.__table__.update().values(version=current()))  # pyright: ignore[reportAttributeAccessIssue]
