"""What can be known of a fleet's instances before and while it trains: noise at once, floors one instance at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from explorer.challenge.data import Dataset
from explorer.challenge.floors import floors
from explorer.challenge.settings import Challenge
from explorer.records import Instances, Run


class Survey:
    """The instances of `runs`; `.instances` is complete when `.done`.

    A floor takes tens of milliseconds an instance, so `advance` does one and the caller fits it between other work.
    """

    def __init__(
        self, challenge: Challenge, runs: Sequence[Run], datasets: dict[int, Dataset], generation: int = 0
    ) -> None:
        self._challenge, self._datasets = challenge, datasets
        self._seeds = np.array([run.seed for run in runs])
        self._pending = list(datasets)
        unknown = np.full(len(runs), np.nan)
        noise = np.array([datasets[seed].noise_mse for seed in self._seeds.tolist()])
        self.instances = Instances(generation, noise, unknown, unknown, unknown)

    @property
    def done(self) -> bool:
        """Whether every floor is known."""
        return not self._pending

    def advance(self) -> None:
        """Compute the floors of the next instance."""
        seed = self._pending.pop(0)
        kernel, feature, readout = floors(self._challenge, self._datasets[seed])
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
