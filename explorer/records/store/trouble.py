"""What can be wrong with a store, as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError


class StoreTrouble(ValueError):
    """The store cannot be read or written; the message is a sentence for a person."""


_SENTENCES = {
    "SQLITE_BUSY": "The store at {where} is locked by another program.",
    "SQLITE_LOCKED": "The store at {where} is locked by another program.",
    "SQLITE_FULL": "The disk that holds the store at {where} is full: free some space.",
    "SQLITE_READONLY": "The store at {where} cannot be written: it is read-only here.",
    "SQLITE_PERM": "The store at {where} cannot be opened: no permission.",
    "SQLITE_CANTOPEN": "The store at {where} cannot be opened: the folder is not there or not writable.",
    "SQLITE_CORRUPT": "The store at {where} is damaged: move the file away, and a new one is made.",
    "SQLITE_NOTADB": "The store at {where} is damaged, or no store at all: move the file away, and a new one is made.",
    "SQLITE_IOERR": "The disk that holds the store at {where} does not answer as it should.",
}
"""By the beginning of SQLite's own names for its errors."""


@contextmanager
def as_sentences(where: str) -> Iterator[None]:
    """Turn what a database raises inside into `StoreTrouble`."""
    try:
        yield
    except SQLAlchemyError as error:
        raise StoreTrouble(_sentence(error, where)) from error


def _sentence(error: SQLAlchemyError, where: str) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    name = getattr(cause, "sqlite_errorname", "")
    for beginning, sentence in _SENTENCES.items():
        if name.startswith(beginning):
            return sentence.format(where=where)
    said = str(cause).strip().splitlines() or [type(cause).__name__]
    return f"The store at {where} does not work: {said[0].rstrip('.')}."
