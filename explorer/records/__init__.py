"""Plain records of what happened: immutable snapshots, histories, outcomes.  No torch, no user interface."""

from explorer.records.history import History
from explorer.records.records import Fault, Instances, Phase, Run, Snapshot, Status

__all__ = ["Fault", "History", "Instances", "Phase", "Run", "Snapshot", "Status"]
