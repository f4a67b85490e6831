"""A fleet's losses by epoch, grown from snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import pandas as pd
import xarray as xr

from explorer.records.records import LOSSES, Array, Run, Snapshot, Status


class History:
    """The losses of R runs so far, and how each stands.

    `append` takes the snapshots of one generation in order; everything else reads.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = tuple(runs)
        self._room = np.full((len(LOSSES), len(self.runs), 256), np.nan)
        self.epoch = 0
        self.status: tuple[Status, ...] = (Status.RUNNING,) * len(self.runs)
        self.epochs = np.zeros(len(self.runs), dtype=int)
        self.best_epoch = np.zeros(len(self.runs), dtype=int)
        self._clock: list[tuple[int, float]] = [(0, 0.0)]

    @classmethod
    def of(cls, data: xr.Dataset, outcomes: pd.DataFrame) -> Self:
        """The history that `to_xarray` made `data` of; outcomes: its runs' seeds, hyperparameters and endings."""
        names = [str(name) for name in data.coords if name not in ("run", "epoch", "seed", "seconds")]
        rows = outcomes.to_dict("records")
        made = cls([Run(int(row["seed"]), {name: row[name] for name in names}) for row in rows])
        made.epoch = data.sizes["epoch"]
        made._room = np.stack([data[loss].values for loss in LOSSES]).astype(float)
        made._clock += [(int(epoch), float(at)) for epoch, at in zip(data.epoch, data.seconds, strict=True)]
        made.status = tuple(Status(row["status"]) for row in rows)
        made.epochs, made.best_epoch = (outcomes[name].to_numpy(dtype=int) for name in ("epochs", "best_epoch"))
        return made

    def append(self, snapshot: Snapshot) -> None:
        """Take in the next snapshot; `ValueError` if epochs are missing between.

        Once every run has ended there is nothing more to know, while a fleet may have trained on before it was told.
        """
        if all(status != Status.RUNNING for status in self.status):
            return
        if snapshot.first_epoch != self.epoch + 1:
            raise ValueError(f"expected epoch {self.epoch + 1}, got a snapshot from {snapshot.first_epoch}")
        end = snapshot.epoch
        if snapshot.finished:  # epochs that were on their way when the last run ended are nobody's
            end = max(self.epoch, min(end, int(snapshot.epochs.max(initial=0))))
        if end > self._room.shape[2]:
            more = np.full((*self._room.shape[:2], max(end, 2 * self._room.shape[2]) - self._room.shape[2]), np.nan)
            self._room = np.concatenate([self._room, more], axis=2)
        fresh = end - self.epoch
        self._room[:, :, self.epoch : end] = [getattr(snapshot, loss)[:, :fresh] for loss in LOSSES]
        self.epoch = end
        self.status, self.epochs, self.best_epoch = snapshot.status, snapshot.epochs, snapshot.best_epoch
        self._clock.append((end, snapshot.seconds))

    def upto(self, epoch: int, min_delta: float = 0.0) -> History:
        """What was known after `epoch`: runs that ended later still go on.  min_delta: of the challenge, which decides
        what is a better validation loss."""
        then = History(self.runs)
        then.epoch = max(0, min(epoch, self.epoch))
        then._room = self._room[:, :, : then.epoch].copy()
        then._clock = [point for point in self._clock if point[0] <= then.epoch]
        if then.epoch:
            then._clock.append((then.epoch, float(self.seconds[then.epoch - 1])))
        ended = self.epochs <= then.epoch
        then.status = tuple(status if over else Status.RUNNING for status, over in zip(self.status, ended, strict=True))
        then.epochs = np.minimum(self.epochs, then.epoch)
        best = np.full(len(self.runs), np.inf)
        then.best_epoch = np.zeros(len(self.runs), dtype=int)
        diverged = np.array([status == Status.DIVERGED for status in self.status])
        for epoch, losses in enumerate(then.losses[1].T, 1):
            better = (losses < best - min_delta) & ~(diverged & (self.epochs == epoch))
            best = np.where(better, losses, best)
            then.best_epoch = np.where(better, epoch, then.best_epoch)
        return then

    def part(self, rows: Sequence[int]) -> History:
        """Some of the runs, by their places, as they stand; `follow` brings it up to date."""
        made = History([self.runs[row] for row in rows])
        made.follow(self, rows)
        return made

    def follow(self, whole: History, rows: Sequence[int]) -> None:
        """Stand as these runs of another history do now."""
        self._room = whole.losses[:, rows]
        self.epoch, self._clock = whole.epoch, list(whole._clock)
        self.status = tuple(whole.status[row] for row in rows)
        self.epochs, self.best_epoch = whole.epochs[rows], whole.best_epoch[rows]

    @property
    def losses(self) -> Array:
        """`[3, R, E]`: train, validation and test loss of the epochs so far, NaN after a run's end."""
        return self._room[:, :, : self.epoch]

    @property
    def seconds(self) -> Array:
        """`[E]`: wall time at the end of each epoch, read off (linearly between) the snapshots' clocks."""
        epochs, seconds = np.array(self._clock).T
        return np.interp(np.arange(1, self.epoch + 1), epochs, seconds)

    @property
    def at_best(self) -> Array:
        """`[3, R]`: the losses at each run's best epoch (lowest validation loss), NaN before the first."""
        picked = np.full((len(LOSSES), len(self.runs)), np.nan)
        known = np.flatnonzero(self.best_epoch > 0)
        picked[:, known] = self.losses[:, known, self.best_epoch[known] - 1]
        return picked

    def to_xarray(self) -> xr.Dataset:
        """Variables train_loss, val_loss, test_loss over (run, epoch), epochs from 1; a run's seed and hyperparameters
        as coordinates, seconds along the epochs."""
        hyperparameters = pd.DataFrame([dict(run.hyperparameters) for run in self.runs])
        return xr.Dataset(
            {name: (("run", "epoch"), loss.copy()) for name, loss in zip(LOSSES, self.losses, strict=True)},
            coords={
                "run": np.arange(len(self.runs)),
                "epoch": np.arange(1, self.epoch + 1),
                "seed": ("run", [run.seed for run in self.runs]),
                "seconds": ("epoch", self.seconds),
                **{name: ("run", column.to_numpy()) for name, column in hyperparameters.items()},
            },
        )
