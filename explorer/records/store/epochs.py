"""Epochs into the store: rows that are written once, and how the runs stand."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from explorer.records.records import LOSSES, Array, Snapshot
from explorer.records.store import schema
from explorer.records.store.changes import ENDED, Append

FLOAT = np.dtype("<f8")


def append(connection: Connection, appends: Sequence[Append]) -> list[str]:
    """Many snapshots with few statements; sentences about those that do not fit.

    Of epochs that are there already (a run that was continued trains some again) the first record stays.
    """
    ids = sorted({change.id for change in appends})
    kept = select(schema.Lane.experiment, schema.Lane.place, schema.Lane.epoch, schema.Lane.runs)
    known = {(id, place): _Lane(id, place, epoch, runs)
             for id, place, epoch, runs in connection.execute(kept.where(schema.Lane.experiment.in_(ids)))}  # fmt: skip
    refused: list[str] = []
    phases: dict[str, dict[str, Any]] = {}
    for change in appends:
        lane = known.get((change.id, change.lane))
        try:
            if lane is None:
                raise ValueError("There is no such lane.")
            lane.take(change.snapshot)
        except ValueError as error:
            refused.append(f"Experiment {change.id}, lane {change.lane}: {error}")
            continue
        phase = phases.setdefault(change.id, {"message": None})
        phase["phase"], phase["message"] = str(change.snapshot.phase), change.snapshot.message or phase["message"]
    touched = [lane for lane in known.values() if lane.last is not None]
    if rows := [row for lane in touched for row in lane.rows]:
        connection.execute(insert(schema.Epochs), rows)
    update_runs(connection, ("status", "epochs", "best_epoch"), [row for lane in touched for row in lane.standing])
    update_runs(connection, LOSSES, [row for lane in touched for row in lane.better])
    if touched:
        at = (schema.Lane.experiment == bindparam("of")) & (schema.Lane.place == bindparam("at"))
        columns = {column: bindparam(f"new_{column}") for column in ("epoch", "seconds", "device")}
        connection.execute(update(schema.Lane).where(at).values(columns), [lane.standing_of_all for lane in touched])
    _set_phases(connection, phases)
    return refused


class _Lane:
    """What a transaction adds to a lane."""

    def __init__(self, id: str, place: int, epoch: int, runs: int) -> None:
        self.id, self.place, self.epoch, self.runs = id, place, epoch, runs
        self.last: Snapshot | None = None
        self.rows: list[dict[str, Any]] = []
        self._best: dict[int, Array] = {}

    def take(self, snapshot: Snapshot) -> None:
        """The next snapshot; `ValueError` if it does not fit."""
        losses = np.array([getattr(snapshot, loss) for loss in LOSSES], dtype=FLOAT)
        if losses.shape[1] != self.runs or len(snapshot.status) != self.runs:
            raise ValueError(f"expected {self.runs} runs, got a snapshot of {losses.shape[1]}.")
        end = snapshot.epoch
        if snapshot.finished:  # epochs that were on their way when the last run ended are nobody's
            end = min(end, int(snapshot.epochs.max(initial=0)))
        if end > self.epoch and snapshot.first_epoch > self.epoch + 1:
            raise ValueError(f"expected epoch {self.epoch + 1}, got a snapshot from {snapshot.first_epoch}.")
        behind = snapshot.epoch < self.epoch
        if end > self.epoch:
            fresh = losses[:, :, self.epoch + 1 - snapshot.first_epoch : end + 1 - snapshot.first_epoch]
            at = {"experiment": self.id, "lane": self.place, "first": self.epoch + 1}
            self.rows.append(at | {"seconds": snapshot.seconds, "losses": np.ascontiguousarray(fresh).tobytes()})
            self.epoch = end
        best = snapshot.best_epoch - snapshot.first_epoch
        for run in np.flatnonzero((best >= 0) & (snapshot.best_epoch <= end)):
            self._best[int(run)] = losses[:, run, best[run]]
        if not behind:  # a run that catches up with what is known of it says nothing new
            self.last = snapshot

    @property
    def standing(self) -> list[tuple[Any, ...]]:
        """Status, epochs and best epoch, by run."""
        if self.last is None:
            return []
        columns = self.last.status, self.last.epochs.tolist(), self.last.best_epoch.tolist()
        return [(self.id, self.place, run, str(status), epochs, best)
                for run, (status, epochs, best) in enumerate(zip(*columns, strict=True))]  # fmt: skip

    @property
    def better(self) -> list[tuple[Any, ...]]:
        """The losses of runs that had their best epoch so far in here."""
        return [
            (self.id, self.place, run, *losses)
            for run, losses in zip(self._best, plain(self._best.values()), strict=True)
        ]

    @property
    def standing_of_all(self) -> dict[str, Any]:
        """The lane's own row."""
        assert self.last is not None
        at = {"of": self.id, "at": self.place}
        return at | {"new_epoch": self.epoch, "new_seconds": self.last.seconds, "new_device": self.last.device}


def update_runs(connection: Connection, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> int:
    """Set columns of some runs; a row is experiment, lane, run, then a value for each column.  How many there were."""
    if not rows:
        return 0
    names = ["of", "in_lane", "at", *(f"new_{column}" for column in columns)]
    at = (
        (schema.Run.experiment == bindparam("of"))
        & (schema.Run.lane == bindparam("in_lane"))
        & (schema.Run.place == bindparam("at"))
    )
    statement = update(schema.Run).where(at).values({column: bindparam(f"new_{column}") for column in columns})
    return connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows]).rowcount


def plain(rows: Iterable[Array]) -> list[list[float | None]]:
    """Rows of numbers as Python's own; what is not finite is None."""
    return [[value if math.isfinite(value) else None for value in row.tolist()] for row in rows]


def forget_checkpoints(connection: Connection, ids: Sequence[str]) -> None:
    """What has ended is not continued."""
    connection.execute(delete(schema.Checkpoint).where(schema.Checkpoint.experiment.in_(ids)))


def _set_phases(connection: Connection, phases: dict[str, dict[str, Any]]) -> None:
    for id, said in phases.items():
        columns: dict[str, Any] = {"phase": said["phase"], "seen": time.time()}
        if said["message"]:
            columns["message"] = said["message"]
        if said["phase"] in ENDED:
            columns["ended"] = time.time()
        connection.execute(update(schema.Experiment).where(schema.Experiment.id == id).values(**columns))
    if over := [id for id, said in phases.items() if said["phase"] in ENDED]:
        forget_checkpoints(connection, over)
