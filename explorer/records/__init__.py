"""Plain records of what happened: immutable snapshots, histories, outcomes.  No torch, no user interface."""

from explorer.records.history import History
from explorer.records.records import LOSSES, Fault, FunctionSample, Instances, Phase, Run, Snapshot, Status

__all__ = ["LOSSES", "Fault", "FunctionSample", "History", "Instances", "Phase", "Run", "Snapshot", "Status"]
