"""The run store: every experiment, as it was set and as it went."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine, delete, select

from explorer.records.history import History
from explorer.records.records import LOSSES, Instances, Phase, Run, Snapshot, Status
from explorer.records.store import changes, schema
from explorer.records.store.apply import FACTS, apply
from explorer.records.store.changes import Change, NewLane
from explorer.records.store.engine import described, location, open_engine
from explorer.records.store.epochs import FLOAT
from explorer.records.store.recover import recover
from explorer.records.store.summaries import Summary, lanes_of, summary_of
from explorer.records.store.trouble import as_sentences

ORDERS = {
    "newest": (schema.Experiment.began.desc(),),
    "oldest": (schema.Experiment.began,),
    "title": (schema.Experiment.title, schema.Experiment.began.desc()),
    "pinned": (schema.Experiment.pinned.desc(), schema.Experiment.began.desc()),
}
"""What `find` can sort by."""


class Store:
    """Experiments in a database, by default a file of this person's; any thread may use it.

    `StoreTrouble` (a `ValueError`) says in a sentence why the store cannot be opened, read or written.  Opening marks
    as `interrupted` what belongs to processes that are gone, and purges what was deleted long ago.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store(f"sqlite:///{folder}/store.db")
    ...     id = store.begin([NewLane("adam", {}, (Run(0, {"lr": 0.1}),))])
    ...     store.annotate(id, "a first look")
    ...     found = [(one.title, one.notes) for one in store.find(search="LOOK")]
    ...     store.close()
    >>> found
    [('adam', 'a first look')]
    """

    def __init__(self, url: str | None = None) -> None:
        place = location(url)
        self.where = described(place)
        self._engine: Engine = open_engine(place)
        self._writing = self._engine.execution_options(writes=True)
        try:
            self.recover()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def recover(self) -> None:
        """Mark as `interrupted` what belongs to processes that are gone, and purge what was deleted long ago."""
        with as_sentences(self.where), self._writing.begin() as connection:
            purged = recover(connection)
        if purged:
            self._give_room_back()

    def write(self, listed: Iterable[Change]) -> list[str]:
        """Carry out changes in one transaction; sentences about those that could not be."""
        with as_sentences(self.where), self._writing.begin() as connection:
            return apply(connection, listed)

    def begin(self, lanes: Sequence[NewLane], settings: Mapping[str, Any] | None = None, title: str = "") -> str:
        """Take in an experiment that starts now; its id."""
        begun = beginning(lanes, settings, title)
        self._do(begun)
        return begun.id

    def append(self, id: str, lane: int, snapshot: Snapshot) -> None:
        """Take in the next epochs of a lane."""
        self._do(changes.Append(id, lane, snapshot))

    def learn(self, id: str, instances: Instances) -> None:
        """Take in what is known of a lane's instances."""
        self._do(changes.Learn(id, instances.lane, instances))

    def keep(self, id: str, lane: int, epoch: int, data: bytes) -> None:
        """Take in a checkpoint, instead of the one before."""
        self._do(changes.Keep(id, lane, epoch, data))

    def finish(self, id: str, phase: str, message: str = "") -> None:
        """Nobody trains this any more."""
        self._do(changes.Finish(id, phase, message))

    def resume(self, id: str) -> None:
        """This process goes on with it."""
        self._do(changes.Resume(id))

    def annotate(self, id: str, notes: str) -> None:
        """Set the person's notes; `ValueError` if they are too long or hold control characters."""
        self._do(changes.Annotate(id, notes))

    def pin(self, id: str, pinned: bool = True) -> None:
        """Pin it, or no more."""
        self._do(changes.Pin(id, pinned))

    def delete(self, id: str) -> None:
        """Delete it; within `recover.PURGE_AFTER` seconds `undelete` brings it back."""
        self._do(changes.Remove(id))

    def undelete(self, id: str) -> None:
        """Take the deleting back."""
        self._do(changes.Remove(id, undo=True))

    def _do(self, change: Change) -> None:
        for sentence in self.write([change]):
            raise ValueError(sentence)

    def find(
        self,
        search: str = "",
        phases: Sequence[str] = (),
        pinned: bool | None = None,
        deleted: bool = False,
        order: str = "newest",
        limit: int = 200,
    ) -> list[Summary]:
        """Experiments whose title, notes, lanes or settings hold every word of `search`, in any of some phases."""
        if order not in ORDERS:
            raise ValueError(f"order = {order!r} is not known: it must be one of {', '.join(ORDERS)}.")
        query = select(schema.Experiment.__table__).order_by(*ORDERS[order]).limit(limit)
        query = query.where(schema.Experiment.deleted.is_not(None) if deleted else schema.Experiment.deleted.is_(None))
        for word in search.casefold().split():
            query = query.where(schema.Experiment.words.contains(word, autoescape=True))
        if phases:
            query = query.where(schema.Experiment.phase.in_(phases))
        if pinned is not None:
            query = query.where(schema.Experiment.pinned.is_(pinned))
        with as_sentences(self.where), self._engine.connect() as connection:
            rows = connection.execute(query).all()
            lanes = lanes_of(connection, [row.id for row in rows])
        return [summary_of(row, lanes[row.id]) for row in rows]

    def get(self, id: str) -> Summary:
        """The experiment with this id, or the only one whose id begins so, deleted ones included; `ValueError` if there
        is not exactly one."""
        begins = schema.Experiment.id.startswith(id, autoescape=True)
        query = select(schema.Experiment.__table__).where(begins).limit(2)
        with as_sentences(self.where), self._engine.connect() as connection:
            rows = connection.execute(query).all()
            lanes = lanes_of(connection, [row.id for row in rows])
        if not id or len(rows) != 1:
            raise ValueError(f"There is {'more than one' if rows else 'no'} experiment {id!r} in the store.")
        return summary_of(rows[0], lanes[rows[0].id])

    def knows(self, id: str) -> bool:
        """Whether exactly this id is in use, a deleted experiment's included."""
        with as_sentences(self.where), self._engine.connect() as connection:
            return connection.scalar(select(schema.Experiment.id).where(schema.Experiment.id == id)) is not None

    def history(self, id: str, lane: int) -> History:
        """The curves of a lane, as they were while it trained."""
        query = select(schema.Epochs.__table__).where(schema.Epochs.experiment == id, schema.Epochs.lane == lane)
        with as_sentences(self.where), self._engine.connect() as connection:
            runs = _runs(connection, id, lane)
            rows = connection.execute(query.order_by(schema.Epochs.first)).all()
        history = History([Run(row.seed, row.hyperparameters) for row in runs])
        status = tuple(Status(row.status) for row in runs)
        epochs, best_epoch = (np.array([getattr(row, name) for row in runs]) for name in ("epochs", "best_epoch"))
        parts = [(row.first, row.seconds, np.frombuffer(row.losses, FLOAT)) for row in rows]
        running = (Status.RUNNING,) * len(runs)  # what is known of the runs' ends belongs to the last part
        for left, (first, seconds, losses) in reversed(list(enumerate(reversed(parts or [(1, 0.0, np.empty(0))])))):
            train, val, test = losses.reshape(len(LOSSES), len(runs), -1)
            stand = running if left else status
            history.append(
                Snapshot(0, Phase.STOPPED, first, train, val, test, stand, epochs, best_epoch, seconds, "", lane=lane)
            )
        return history

    def instances(self, id: str, lane: int) -> Instances:
        """What is known of a lane's instances."""
        with as_sentences(self.where), self._engine.connect() as connection:
            runs = _runs(connection, id, lane)
        facts = [np.array([getattr(row, fact) for row in runs], dtype=float) for fact in FACTS]
        return Instances(0, *facts, lane=lane)

    def checkpoint(self, id: str, lane: int) -> tuple[int, bytes] | None:
        """The epoch and the data from which a lane can be continued; None where it can only begin again."""
        query = select(schema.Checkpoint.epoch, schema.Checkpoint.data)
        at = (schema.Checkpoint.experiment == id) & (schema.Checkpoint.lane == lane)
        with as_sentences(self.where), self._engine.connect() as connection:
            row = connection.execute(query.where(at)).first()
        return None if row is None else (row.epoch, row.data)

    def purge(self, id: str) -> None:
        """Delete it for good."""
        with as_sentences(self.where), self._writing.begin() as connection:
            connection.execute(delete(schema.Experiment).where(schema.Experiment.id == id))
        self._give_room_back()

    def _give_room_back(self) -> None:
        """A SQLite file does not shrink by itself."""
        if self._engine.dialect.name != "sqlite":
            return
        with as_sentences(self.where):
            raw = self._engine.raw_connection()
            try:
                # A script is run to its end; a statement would give back one page.
                raw.cursor().executescript("PRAGMA incremental_vacuum")  # pyright: ignore[reportAttributeAccessIssue]
            finally:
                raw.close()


def beginning(lanes: Sequence[NewLane], settings: Mapping[str, Any] | None = None, title: str = "") -> changes.Begin:
    """An experiment that starts now, under a new id.  title: the lanes' names if it is not given."""
    title = title or " · ".join(lane.name for lane in lanes)
    short = title if len(title) <= 200 else f"{title[:199]}…"
    return changes.Begin(
        secrets.token_hex(schema.ID_LENGTH // 2), short, dict(settings or {}), tuple(lanes), time.time()
    )


def _runs(connection: Connection, id: str, lane: int) -> Sequence[Any]:
    of_lane = (schema.Run.experiment == id) & (schema.Run.lane == lane)
    rows = connection.execute(select(schema.Run.__table__).where(of_lane).order_by(schema.Run.place)).all()
    if not rows:
        raise ValueError(f"There is no experiment {id} with a lane {lane} in the store.")
    return rows
