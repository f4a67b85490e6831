"""Plain records of what happened: immutable snapshots, histories, outcomes.  No torch, no user interface."""

from explorer.records.history import History
from explorer.records.inside import InsideSample
from explorer.records.landscape import LandscapeSample
from explorer.records.records import (
    LOSSES,
    Fault,
    Filmed,
    FunctionSample,
    Instances,
    Phase,
    Place,
    Run,
    Snapshot,
    Status,
)

__all__ = [
    "LOSSES",
    "Fault",
    "Filmed",
    "FunctionSample",
    "History",
    "InsideSample",
    "Instances",
    "LandscapeSample",
    "Phase",
    "Place",
    "Run",
    "Snapshot",
    "Status",
]
