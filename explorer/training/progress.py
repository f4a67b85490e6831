"""How training goes: in words, and in a notebook as a bar under its cell."""

from __future__ import annotations

import time
import warnings
from html import escape

import numpy as np

from explorer.base.jupyter import kernel
from explorer.records import LOSSES, Snapshot, Status

UPDATE_EVERY = 0.2
"""Seconds between two updates of a notebook's bar."""


class Bar:
    """A bar under the notebook's cell that is run; nothing anywhere else."""

    def __init__(self, epochs: int) -> None:
        self._epochs, self._updated, self._handle = epochs, -UPDATE_EVERY, None
        self._epoch, self._said = 0, "Preparing …"
        if kernel() is not None:
            from IPython.display import display

            self._handle = display(self, display_id=True)

    def update(self, snapshot: Snapshot) -> None:
        """Show the epoch that `snapshot` tells of."""
        if self._handle is None or not (snapshot.finished or time.monotonic() - self._updated >= UPDATE_EVERY):
            return
        self._updated = time.monotonic()
        self._epoch, self._said = snapshot.epoch, f"epoch {snapshot.epoch} of {self._epochs}  {words(snapshot)}"
        self._handle.update(self)

    def _repr_html_(self) -> str:
        return f'<progress value="{self._epoch}" max="{self._epochs}"></progress> <code>{escape(self._said)}</code>'

    def __repr__(self) -> str:
        return self._said


def words(snapshot: Snapshot) -> str:
    """The losses' medians over the runs that still train, the speed, and how many of how many runs those are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the median of no run at all is NaN
        medians = [np.nanmedian(getattr(snapshot, loss)[:, -1:]) for loss in LOSSES]
    losses = "  ".join(f"{name.removesuffix('_loss')} {value:.4g}" for name, value in zip(LOSSES, medians, strict=True))
    going = sum(status == Status.RUNNING for status in snapshot.status)
    rate = snapshot.epoch / snapshot.seconds if snapshot.seconds else float("nan")
    return f"{losses}  {rate:.1f} epochs/s  {going}/{len(snapshot.status)}"
