"""What a store is asked first: whose experiments are still being trained, and what was deleted long ago."""

from __future__ import annotations

import socket
import time

import psutil
from sqlalchemy import Connection, delete, select, update

from explorer.records.store.changes import ENDED, INTERRUPTED
from explorer.records.store.schema import Experiment

PURGE_AFTER = 7 * 86400.0
"""Seconds for which a deleted experiment can be brought back."""
SILENT = 120.0
"""Seconds after which a process on another host, which cannot be looked at, is taken to be gone."""


def recover(connection: Connection) -> int:
    """Mark what nobody trains any more as interrupted and purge what was deleted long ago; how many were purged."""
    mine = select(Experiment.id, Experiment.host, Experiment.pid, Experiment.process, Experiment.seen)
    left = [
        row.id
        for row in connection.execute(mine.where(Experiment.phase.not_in(ENDED)))
        if not _at_work(row.host, row.pid, row.process, row.seen)
    ]
    if left:
        # The last sign of life is the best guess of when it ended.
        marked = update(Experiment).where(Experiment.id.in_(left))
        connection.execute(marked.values(phase=INTERRUPTED, ended=Experiment.seen))
    old = time.time() - PURGE_AFTER
    return connection.execute(delete(Experiment).where(Experiment.deleted < old)).rowcount


def _at_work(host: str, pid: int, process: float, seen: float) -> bool:
    """Whether the process is there, and not another one that has got its number."""
    if host != socket.gethostname():
        return time.time() - seen < SILENT
    try:
        return abs(psutil.Process(pid).create_time() - process) < 1
    except psutil.Error:
        return False
