"""What can be done to the store, as values: `apply` carries them out."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from explorer.records.records import Instances, Run, Snapshot

INTERRUPTED = "interrupted"
"""The phase of an experiment whose process is gone."""
ENDED = ("finished", "stopped", "failed", INTERRUPTED)
"""The phases of experiments that nobody trains."""


@dataclass(frozen=True)
class NewLane:
    """A fleet that is about to start: its name, its settings as JSON, its runs."""

    name: str
    settings: dict[str, Any]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Begin:
    """An experiment begins.  It belongs to this process; one that is `imported` belongs to nobody."""

    id: str
    title: str
    settings: dict[str, Any]
    lanes: tuple[NewLane, ...]
    began: float = field(default_factory=time.time)
    imported: bool = False


@dataclass(frozen=True)
class Resume:
    """This process goes on with an experiment."""

    id: str


@dataclass(frozen=True)
class Append:
    """Epochs of a lane, and how its runs stand; epochs that are there already stay as they are."""

    id: str
    lane: int
    snapshot: Snapshot


@dataclass(frozen=True)
class Learn:
    """What is known of a lane's instances."""

    id: str
    lane: int
    instances: Instances


@dataclass(frozen=True)
class Keep:
    """From here a lane can be continued; replaces what was kept before."""

    id: str
    lane: int
    epoch: int
    data: bytes


@dataclass(frozen=True)
class Finish:
    """Nobody trains this experiment any more."""

    id: str
    phase: str
    message: str = ""
    ended: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Beat:
    """This process is still at work on these."""

    ids: tuple[str, ...]


@dataclass(frozen=True)
class Annotate:
    """A person's own words about an experiment, instead of those before."""

    id: str
    notes: str


@dataclass(frozen=True)
class Pin:
    """Keep an experiment in sight, or no more."""

    id: str
    pinned: bool = True


@dataclass(frozen=True)
class Remove:
    """Delete an experiment; `undo` takes that back, until it is purged."""

    id: str
    undo: bool = False


OfOne = Begin | Resume | Append | Learn | Keep | Finish | Annotate | Pin | Remove
"""What is done to one experiment."""
Change = OfOne | Beat
