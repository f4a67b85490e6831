"""What to train: lanes that start alike, each an optimizer on a challenge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from explorer.challenge.settings import Challenge
from explorer.optimizers.base import Optimizer


@dataclass(frozen=True)
class Entry:
    """One lane: an optimizer, under a name, on a challenge."""

    name: str
    challenge: Challenge
    optimizer: Optimizer


@dataclass(frozen=True)
class Plan:
    """Lanes to be trained side by side on the same seeds.

    A lane becomes a fleet: its hyperparameter values × seeds.  What two lanes' challenges share (data, starts, orders
    of batches) is the same for both.
    """

    entries: tuple[Entry, ...]
    seeds: tuple[int, ...]
    device: str = "auto"
    precision: str = "float32"

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
