"""What an epoch's losses mean for every run: is it its best so far, and its last?"""

from __future__ import annotations

import torch
from torch import Tensor

from explorer.challenge.settings import Challenge
from explorer.records.records import Status

DIVERGED_ABOVE = 1e8
"""A loss above this (targets are of order one) counts as divergence, as NaN and infinity do."""

CODES = list(Status)
"""A run's status is the place of a `Status` in this list."""


def code(status: Status) -> int:
    """The number of a status on the device."""
    return CODES.index(status)


def decide(
    challenge: Challenge,
    now: Tensor,
    losses: list[Tensor],
    records: list[Tensor],
    status: Tensor,
    epochs: Tensor,
    best_epoch: Tensor,
    best_val: Tensor,
    improved: Tensor,
) -> None:
    """Judge one epoch; changes all but `losses`, in place.

    now: int64, 0-d, the number of epochs so far.  losses, records: train, validation and test, each `[R]`; a record is
    NaN where its run had ended or the loss is not finite.  status, epochs, best_epoch: int64 `[R]`.  best_val: `[R]`.
    improved: bool `[R]`, whether this epoch is the run's best.
    """
    epoch = now.add_(1)
    going = status == code(Status.RUNNING)
    for loss, record in zip(losses, records, strict=True):
        record.copy_(loss)
        record.masked_fill_(~(going & (loss.abs() < torch.inf)), torch.nan)
    train, val, test = losses
    bounded = (train < DIVERGED_ABOVE) & (val < DIVERGED_ABOVE) & (test < DIVERGED_ABOVE)
    improved.copy_(going & bounded & (val < best_val - challenge.min_delta))
    best_val.copy_(torch.where(improved, val, best_val))
    best_epoch.copy_(torch.where(improved, epoch, best_epoch))
    epochs.copy_(torch.where(going, epoch, epochs))
    tired = going & (epoch - best_epoch >= challenge.patience)
    # Later lines win: a run that diverges in its last epoch has diverged.
    status.masked_fill_(going & (epoch >= challenge.max_epochs), code(Status.MAX_EPOCHS))
    status.masked_fill_(tired, code(Status.EARLY_STOPPED))
    status.masked_fill_(going & ~bounded, code(Status.DIVERGED))
