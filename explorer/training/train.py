"""Training in the calling thread: the library's front door."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from explorer.challenge.settings import Challenge
from explorer.optimizers.base import Optimizer
from explorer.records import History, Snapshot, Status
from explorer.training.faults import sentence
from explorer.training.fleet import Fleet
from explorer.training.progress import Bar
from explorer.training.result import Result, outcomes
from explorer.training.survey import Survey

LOOK_EVERY = 25
"""Epochs between two looks at the device where nobody asked for every epoch."""


def train(
    challenge: Challenge,
    optimizer: Optimizer,
    seeds: int | Iterable[int] = 0,
    device: str = "auto",
    on_epoch: Callable[[Snapshot], object] | None = None,
    max_epochs: int | None = None,
    precision: str = "float32",
) -> Result:
    """Train the optimizer's hyperparameter values × `seeds`, all at once, to their end.

    challenge: what to learn.  optimizer: from `explorer.optimizers.create`.  device: auto, cpu, cuda, cuda:1.
    on_epoch: called in this thread after each epoch with a `Snapshot` of it.  max_epochs: instead of the challenge's.
    precision: float32, tf32 or float64.  In a notebook a bar shows how far it is.

    `ValueError` names a setting that is not allowed.  An optimizer that raises ends its runs as `failed`, with the
    sentence in the outcomes' `message`; so does a device that runs out of memory.

    >>> import explorer as ex
    >>> result = ex.train(ex.Challenge.preset("tig"), ex.optimizers.create("adam"), seeds=range(2), max_epochs=2)
    >>> result.history.sizes["epoch"], list(result.outcomes.status)
    (2, ['max_epochs', 'max_epochs'])
    """
    return complete(Fleet(challenge, optimizer, seeds, device, precision, max_epochs), on_epoch)


def complete(fleet: Fleet, on_epoch: Callable[[Snapshot], object] | None = None) -> Result:
    """Train a fleet to its end, as `train` does."""
    history, message = History(fleet.runs), ""
    bar = Bar(fleet.challenge.max_epochs)
    every = 1 if on_epoch is not None or fleet.device.type == "cpu" else LOOK_EVERY
    finished = False
    while not finished:
        try:
            for _ in range(min(every, fleet.challenge.max_epochs - fleet.epoch)):
                fleet.advance()
        except Exception as error:
            message = sentence(error)
            fleet.stop(Status.FAILED)
        snapshot = fleet.snapshot(message=message)
        history.append(snapshot)
        finished = snapshot.finished
        bar.update(snapshot)
        if on_epoch is not None and snapshot.train_loss.shape[1]:
            on_epoch(snapshot)
    instances = Survey(fleet.challenge, fleet.runs, fleet.datasets).complete()
    return Result(
        fleet.challenge,
        fleet.optimizer,
        history.to_xarray(),
        outcomes(fleet.challenge, history, instances, message),
        str(fleet.device),
    )
