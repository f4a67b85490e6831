"""What can be known of a fleet's instances before and while it trains: noise at once, floors one instance at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from explorer.challenge.data import FIELDS, Dataset
from explorer.challenge.floors import Floors, floors
from explorer.challenge.settings import Challenge
from explorer.records import Instances, Run

_known: dict[tuple[object, ...], Floors] = {}
_KNOWN_AT_MOST = 4096


class Survey:
    """The instances of `runs`; `.instances` is complete when `.done`.  What was computed before is known at once.

    A floor takes tens of milliseconds an instance, so `advance` does one and the caller fits it between other work.
    """

    def __init__(
        self,
        challenge: Challenge,
        runs: Sequence[Run],
        datasets: dict[int, Dataset],
        generation: int = 0,
        lane: int = 0,
    ) -> None:
        self._challenge, self._datasets = challenge, datasets
        self._seeds = np.array([run.seed for run in runs])
        self._pending = list(datasets)
        unknown = np.full(len(runs), np.nan)
        noise = np.array([datasets[seed].noise_mse for seed in self._seeds.tolist()])
        self.instances = Instances(generation, noise, unknown, unknown, unknown, lane)
        for seed in [seed for seed in self._pending if self._key(seed) in _known]:
            self._take(seed, _known[self._key(seed)])

    @property
    def done(self) -> bool:
        """Whether every floor is known."""
        return not self._pending

    def advance(self) -> None:
        """Compute the floors of the next instance."""
        seed = self._pending[0]
        found = _known.get(self._key(seed))  # another lane may have been here
        if found is None:
            found = floors(self._challenge, self._datasets[seed])
            while len(_known) >= _KNOWN_AT_MOST:
                _known.pop(next(iter(_known)), None)
            _known[self._key(seed)] = found
        self._take(seed, found)

    def give_up(self) -> None:
        """Leave what is missing unknown."""
        self._pending = []

    def _key(self, seed: int) -> tuple[object, ...]:
        """What the floors of an instance depend on."""
        return (seed, self._challenge.frozen_layers >= 2, *(getattr(self._challenge, name) for name in FIELDS))

    def _take(self, seed: int, found: Floors) -> None:
        self._pending.remove(seed)
        kernel, feature, readout = found
        here, known = self._seeds == seed, self.instances
        self.instances = replace(
            known,
            kernel_floor=np.where(here, kernel, known.kernel_floor),
            feature_floor=np.where(here, feature, known.feature_floor),
            readout_floor=np.where(here, readout, known.readout_floor),
        )

    def complete(self) -> Instances:
        """Compute whatever is missing."""
        while not self.done:
            self.advance()
        return self.instances
