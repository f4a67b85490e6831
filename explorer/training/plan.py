"""What to train: lanes that start alike, each an optimizer on a challenge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from explorer.challenge.settings import Challenge
from explorer.optimizers.base import Optimizer
from explorer.records import History


@dataclass(frozen=True)
class Past:
    """Where a lane goes on: its epochs up to there, and a checkpoint as `continuation.freeze` writes it."""

    history: History
    data: bytes


@dataclass(frozen=True)
class Entry:
    """One lane: an optimizer, under a name, on a challenge.  past: where it goes on; None: it begins."""

    name: str
    challenge: Challenge
    optimizer: Optimizer
    past: Past | None = None


@dataclass(frozen=True)
class Plan:
    """Lanes to be trained side by side on the same seeds.

    A lane becomes a fleet: its hyperparameter values × seeds.  What two lanes' challenges share (data, starts, orders
    of batches) is the same for both.  resumes: the id of the stored experiment that this goes on with.
    """

    entries: tuple[Entry, ...]
    seeds: tuple[int, ...]
    device: str = "auto"
    precision: str = "float32"
    resumes: str = ""

    @classmethod
    def of(
        cls,
        challenge: Challenge,
        optimizer: Optimizer,
        seeds: tuple[int, ...],
        device: str = "auto",
        precision: str = "float32",
    ) -> Self:
        """A plan with one lane, which needs no name."""
        return cls((Entry("", challenge, optimizer),), seeds, device, precision)
