"""Changes carried out: what each does to the tables."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import psutil
from sqlalchemy import Connection, delete, insert, select, update

from explorer.records.records import Status
from explorer.records.store import changes, schema, values
from explorer.records.store.epochs import append, forget_checkpoints, plain, update_runs

FACTS = ("noise_mse", "kernel_floor", "feature_floor", "readout_floor")


def apply(connection: Connection, listed: Iterable[changes.Change]) -> list[str]:
    """Carry out changes in their order, within one transaction; sentences about those that cannot be."""
    refused: list[str] = []
    for kind, group in groupby(listed, type):
        same: list[Any] = list(group)
        if kind is changes.Append:
            refused += append(connection, same)
            continue
        for change in same:
            try:
                if not _HOW[kind](connection, change):
                    refused.append(f"There is no experiment {change.id} in the store.")
            except ValueError as error:
                refused.append(str(error))
    return refused


def owner() -> dict[str, Any]:
    """This process, as an experiment's row names it."""
    host, process = _process(os.getpid())
    return {"host": host, "pid": os.getpid(), "process": process, "seen": time.time()}


@cache
def _process(pid: int) -> tuple[str, float]:
    return socket.gethostname(), psutil.Process(pid).create_time()


def _searched(title: str, notes: str, lanes: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """What a search looks at."""
    parts = [title, notes, *(f"{name} {schema.to_json(settings)}" for name, settings in lanes)]
    return "\n".join(parts).casefold()


def _begin(connection: Connection, change: changes.Begin) -> bool:
    title = values.text("title", change.title, values.LONGEST_TITLE)
    experiment = {
        "id": change.id,
        "title": title,
        "began": change.began,
        "phase": "preparing",
        "message": "",
        "settings": values.settings("settings", change.settings),
        "notes": "",
        "pinned": False,
    }
    lanes, runs = [], []
    for place, lane in enumerate(change.lanes):
        at = {"experiment": change.id, "lane": place, "status": str(Status.RUNNING), "epochs": 0, "best_epoch": 0}
        lanes.append(
            {
                "experiment": change.id,
                "place": place,
                "name": values.text("a lane's name", lane.name, values.LONGEST_TITLE),
                "settings": values.settings("a lane's settings", lane.settings),
                "runs": len(lane.runs),
                "epoch": 0,
                "seconds": 0.0,
                "device": "",
            }
        )
        for index, run in enumerate(lane.runs):
            chosen = values.settings("hyperparameters", run.hyperparameters)
            runs.append(at | {"place": index, "seed": run.seed, "hyperparameters": chosen})
    words = _searched(title, "", [(lane["name"], lane["settings"]) for lane in lanes])
    nobody = {"host": "", "pid": 0, "process": 0.0, "seen": 0.0}
    mine = nobody if change.imported else owner()
    connection.execute(insert(schema.Experiment), experiment | {"words": words} | mine)
    connection.execute(insert(schema.Lane), lanes)
    connection.execute(insert(schema.Run), runs)
    return True


def _update(connection: Connection, id: str, **columns: Any) -> bool:
    found = connection.execute(update(schema.Experiment).where(schema.Experiment.id == id).values(**columns))
    return found.rowcount > 0


def _resume(connection: Connection, change: changes.Resume) -> bool:
    return _update(connection, change.id, phase="preparing", ended=None, message="", **owner())


def _finish(connection: Connection, change: changes.Finish) -> bool:
    said = {"message": change.message} if change.message else {}
    if change.phase != changes.INTERRUPTED:
        forget_checkpoints(connection, [change.id])
    return _update(connection, change.id, phase=change.phase, ended=change.ended, **said)


def _beat(connection: Connection, change: changes.Beat) -> bool:
    mine = schema.Experiment.id.in_(change.ids)
    connection.execute(update(schema.Experiment).where(mine).values(seen=time.time()))
    return True


def _annotate(connection: Connection, change: changes.Annotate) -> bool:
    notes = values.text("notes", change.notes)
    title = connection.scalar(select(schema.Experiment.title).where(schema.Experiment.id == change.id))
    if title is None:
        return False
    lanes = connection.execute(
        select(schema.Lane.name, schema.Lane.settings).where(schema.Lane.experiment == change.id)
    )
    words = _searched(title, notes, [(name, settings) for name, settings in lanes])
    return _update(connection, change.id, notes=notes, words=words)


def _pin(connection: Connection, change: changes.Pin) -> bool:
    return _update(connection, change.id, pinned=change.pinned)


def _remove(connection: Connection, change: changes.Remove) -> bool:
    return _update(connection, change.id, deleted=None if change.undo else time.time())


def _learn(connection: Connection, change: changes.Learn) -> bool:
    facts = plain(np.array([getattr(change.instances, fact) for fact in FACTS]).T)
    rows = [(change.id, change.lane, run, *row) for run, row in enumerate(facts)]
    return update_runs(connection, FACTS, rows) > 0


def _keep(connection: Connection, change: changes.Keep) -> bool:
    at = (schema.Lane.experiment == change.id) & (schema.Lane.place == change.lane)
    epoch = connection.scalar(select(schema.Lane.epoch).where(at))
    if epoch is None:
        return False
    if epoch >= change.epoch:  # one of epochs that the store does not have would leave a gap
        old = (schema.Checkpoint.experiment == change.id) & (schema.Checkpoint.lane == change.lane)
        connection.execute(delete(schema.Checkpoint).where(old))
        row = {"experiment": change.id, "lane": change.lane, "epoch": change.epoch, "data": change.data}
        connection.execute(insert(schema.Checkpoint), row)
    return True


_HOW: dict[type, Callable[[Connection, Any], bool]] = {
    changes.Begin: _begin,
    changes.Resume: _resume,
    changes.Learn: _learn,
    changes.Keep: _keep,
    changes.Finish: _finish,
    changes.Beat: _beat,
    changes.Annotate: _annotate,
    changes.Pin: _pin,
    changes.Remove: _remove,
}
