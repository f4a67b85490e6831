"""Experiments in one file, to hand on: lines of JSON, compressed with gzip.

The first line names the format.  Then, for each experiment, a line of its settings, and for each of its lanes a line
and lines of epochs, in their order; numbers that are not finite are null.  Nothing in such a file is ever executed, and
nothing is believed: `import_runs` checks every value.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any

from explorer.records.records import LOSSES
from explorer.records.store import changes, schema
from explorer.records.store.apply import FACTS
from explorer.records.store.epochs import plain
from explorer.records.store.reading import Reader
from explorer.records.store.store import Store
from explorer.records.store.trouble import StoreTrouble

FORMAT = {"format": "optimizer-explorer runs", "version": 1}
MOST_BYTES = 64 * 2**20
"""Of a file that is imported."""
MOST_TEXT = 1024 * 2**20
"""Bytes of the same when it is unpacked."""
LONGEST_LINE = 16 * 2**20
NUMBERS_A_LINE = 200_000


@dataclass(frozen=True)
class Imported:
    """Ids of experiments that were taken in, and of those that were there already."""

    taken: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)


def export_runs(store: Store, ids: Sequence[str], path: str | Path) -> None:
    """Write experiments to `path`, whole or not at all; `ValueError` if one does not exist or the file cannot be
    written."""
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file, gzip.GzipFile(path.name, "wb", 6, file) as packed:
            for line in _lines(store, [store.get(id).id for id in ids]):
                packed.write(schema.to_json(line).encode() + b"\n")
        draft.replace(path)
    except OSError as error:
        raise ValueError(f"file = {path} cannot be written: {error.strerror}.") from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def import_runs(store: Store, source: str | Path | IO[bytes]) -> Imported:
    """Take in the experiments of a file, each whole or not at all; those whose ids are known are left as they are.

    `ValueError` says what is wrong with the file, and in which line; what stood before that line has been taken in.
    """
    if not isinstance(source, str | Path):
        return _import(store, source)
    try:
        with Path(source).open("rb") as file:
            return _import(store, file)
    except OSError as error:
        raise ValueError(f"file = {source} cannot be read: {error.strerror}.") from None


def _lines(store: Store, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    yield FORMAT
    for id in ids:
        summary = store.get(id)
        own = ("id", "title", "began", "ended", "phase", "message", "settings", "notes", "pinned")
        yield {"experiment": {name: getattr(summary, name) for name in own} | {"lanes": len(summary.lanes)}}
        for place, lane in enumerate(summary.lanes):
            history, instances = store.history(id, place), store.instances(id, place)
            facts = [plain([getattr(instances, fact)])[0] for fact in FACTS]
            columns = [history.status, history.epochs.tolist(), history.best_epoch.tolist(), *facts]
            runs = [
                {"seed": run.seed, "hyperparameters": run.hyperparameters}
                | dict(zip(("status", "epochs", "best_epoch", *FACTS), values, strict=True))
                for run, *values in zip(history.runs, *columns, strict=True)
            ]
            yield {"lane": {"name": lane.name, "settings": lane.settings, "device": lane.device, "runs": runs}}
            yield from _epochs(history.losses, history.seconds)


def _epochs(losses: Any, seconds: Any) -> Iterator[dict[str, Any]]:
    step = max(1, NUMBERS_A_LINE // (losses.shape[0] * losses.shape[1]))
    for start in range(0, losses.shape[2], step):
        part = losses[:, :, start : start + step]
        told = {name: plain(loss) for name, loss in zip(LOSSES, part, strict=True)}
        yield {"epochs": {"first": start + 1, "seconds": seconds[start : start + step].tolist()} | told}


def _import(store: Store, file: IO[bytes]) -> Imported:
    file.seek(0, os.SEEK_END)
    if file.tell() > MOST_BYTES:
        raise ValueError(f"The file has {file.tell():,} bytes; {MOST_BYTES:,} are allowed.")
    file.seek(0)
    imported, reader, lines = Imported(), Reader(), _unpacked(file)
    for number in count(1):
        try:
            line = next(lines, None)
            if number == 1:
                _check_format(line or b"{}")
            else:
                _take(store, imported, reader.end() if line is None else reader.read(_parsed(line)))
        except StoreTrouble:
            raise
        except ValueError as error:
            raise ValueError(f"Line {number} of the file is refused: {error}") from None
        if line is None:
            break
    return imported


def _take(store: Store, imported: Imported, found: list[changes.OfOne]) -> None:
    if not found:
        return
    id = found[0].id
    if store.knows(id):
        imported.known.append(id)
        return
    store.write(found)
    imported.taken.append(id)


def _unpacked(file: IO[bytes]) -> Iterator[bytes]:
    """The file's lines; `ValueError` as soon as there is more than is allowed."""
    total = 0
    with gzip.GzipFile(fileobj=file) as packed:
        while True:
            try:
                line = packed.readline(LONGEST_LINE + 1)
            except (gzip.BadGzipFile, zlib.error, EOFError):
                raise ValueError("it cannot be unpacked: the file is damaged, or no export of the explorer.") from None
            total += len(line)
            if len(line) > LONGEST_LINE:
                raise ValueError(f"it has more than {LONGEST_LINE:,} bytes.")
            if total > MOST_TEXT:
                raise ValueError(f"the file has more than {MOST_TEXT:,} bytes by here.")
            if not line:
                return
            yield line


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line.decode(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deep.") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError("it is not JSON.") from None
    if not isinstance(value, dict):
        raise ValueError("it is not an object.")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON.")


def _check_format(line: bytes) -> None:
    said = _parsed(line)
    if said.get("format") != FORMAT["format"]:
        raise ValueError("it does not name the format of the explorer's exports.")
    if said.get("version") != FORMAT["version"]:
        raise ValueError(f"version = {said.get('version')!r} is not known: this explorer reads {FORMAT['version']}.")
