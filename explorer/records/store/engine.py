"""Where the store is, and how it is opened."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_data_path
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError

from explorer.records.store.schema import prepare, to_json
from explorer.records.store.trouble import StoreTrouble, as_sentences

VARIABLE = "EXPLORER_STORE"
PATIENCE = 2.0
"""Seconds to wait for another program that writes to the same file."""


def location(url: str | None = None) -> URL:
    """The store's address: `url`, else the environment's, else a file where this person's programs keep their data."""
    given = url or os.environ.get(VARIABLE)
    if given is None or not given.strip():
        return URL.create("sqlite", database=str(user_data_path("optimizer-explorer") / "store.db"))
    try:
        return make_url(given)
    except SQLAlchemyError:
        raise StoreTrouble(
            f"{VARIABLE} = {given!r} is not allowed: it must be an address as SQLAlchemy takes it, "
            "like sqlite:////home/me/store.db."
        ) from None


def described(url: URL) -> str:
    """The address for people: a file's path, or the whole without its password."""
    return url.database if url.drivername.startswith("sqlite") and url.database else url.render_as_string()


def open_engine(url: URL) -> Engine:
    """An engine whose tables are there and of this version; `StoreTrouble` says why there is none.

    Transactions that write take SQLite's lock at once (`execution_options(writes=True)`): one that finds out later that
    it must wait cannot.
    """
    where = described(url)
    is_file = url.drivername.startswith("sqlite") and url.database is not None and not url.database.startswith("file:")
    try:
        if is_file and url.database:
            Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lite = {"connect_args": {"timeout": PATIENCE}} if url.drivername.startswith("sqlite") else {}
        engine = create_engine(url, json_serializer=to_json, **lite)
    except OSError as error:
        raise StoreTrouble(f"The store at {where} cannot be opened: {error.strerror}.") from None
    except ImportError as error:
        raise StoreTrouble(f"The store at {where} cannot be opened: {error}.") from None
    except SQLAlchemyError as error:
        raise StoreTrouble(f"The store at {where} cannot be opened: {error}.") from None
    if lite:
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)
    try:
        with as_sentences(where), engine.execution_options(writes=True).begin() as connection:
            prepare(connection, where)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _set_up(connection, record) -> None:
    """WAL: who reads never waits; after `kill -9` every transaction is there whole or not at all."""
    connection.isolation_level = None  # transactions are begun below
    cursor = connection.cursor()
    try:
        for pragma in ("auto_vacuum = INCREMENTAL", "journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _begin(connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
