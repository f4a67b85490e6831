"""The run store: nothing that was trained is lost.

`Store` reads, and writes at once; `Recorder` writes behind the back of who trains, in a thread of its own.
"""

from explorer.records.store.archive import export_runs, import_runs
from explorer.records.store.changes import ENDED, INTERRUPTED, NewLane
from explorer.records.store.recorder import Checkpoint, Recorder, Recording, shared
from explorer.records.store.store import ORDERS, Store
from explorer.records.store.summaries import LaneSummary, Summary
from explorer.records.store.trouble import StoreTrouble

__all__ = [
    "ENDED",
    "INTERRUPTED",
    "ORDERS",
    "Checkpoint",
    "LaneSummary",
    "NewLane",
    "Recorder",
    "Recording",
    "Store",
    "StoreTrouble",
    "Summary",
    "export_runs",
    "import_runs",
    "shared",
]
