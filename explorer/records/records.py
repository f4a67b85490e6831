"""What training tells the rest of the house: immutable, NumPy and plain Python only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

Array = np.ndarray
LOSSES = ("train_loss", "val_loss", "test_loss")


class Status(StrEnum):
    """How a run stands or ended."""

    RUNNING = "running"
    EARLY_STOPPED = "early_stopped"
    MAX_EPOCHS = "max_epochs"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"


class Phase(StrEnum):
    """What a worker is doing."""

    IDLE = "idle"
    PREPARING = "preparing"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class Run:
    """One run of a fleet: its seed and its hyperparameters."""

    seed: int
    hyperparameters: Mapping[str, Any]


@dataclass(frozen=True)
class Instances:
    """What is known of the R runs' instances, each array `[R]`, as test MSE (means over samples and outputs).

    Floors are NaN until computed, and where they do not apply.  lane: whose runs, where several fleets train.
    """

    generation: int
    noise_mse: Array
    kernel_floor: Array
    feature_floor: Array
    readout_floor: Array
    lane: int = 0


@dataclass(frozen=True)
class Snapshot:
    """The epochs since the last snapshot, and how every run stands.

    generation: which start of the worker this belongs to.  phase: what the worker does.  first_epoch: number (from 1)
    of the first epoch here.  train_loss, val_loss, test_loss: float64 `[R, k]`, NaN after a run's end.  status: `[R]`
    of `Status`.  epochs, best_epoch: int `[R]`, 0 where there is none yet.  seconds: wall time of training so far.
    device: in words.  message: a sentence for a person, where there is something to say.  lane: which fleet's.
    """

    generation: int
    phase: Phase
    first_epoch: int
    train_loss: Array
    val_loss: Array
    test_loss: Array
    status: tuple[Status, ...]
    epochs: Array
    best_epoch: Array
    seconds: float
    device: str
    message: str = ""
    lane: int = 0

    @property
    def epoch(self) -> int:
        """The last epoch that is complete, 0 before the first."""
        return self.first_epoch + self.train_loss.shape[1] - 1

    @property
    def finished(self) -> bool:
        """Whether no run goes on."""
        return all(status != Status.RUNNING for status in self.status)


@dataclass(frozen=True)
class FunctionSample:
    """What one run has learnt, along one input with the others at an anchor; float64.

    epoch: when.  anchor: `[D]`, where the other inputs are held.  x: `[n]`.  truth, kept, current: `[n, O]`, the
    function itself, the model of the best epoch and the model as it is.  train_x, train_y: `[m]`, `[m, O]`, the
    training samples, projected on that input.  test_x, residuals: `[t]`, `[t, O]`, the test samples, projected, and
    their targets less the kept model.  noise_std: σ.  distance: mean squared distance of the kept model to the function
    over the test inputs, without any noise.
    across: a second input, None where there is only one.  plane: `[k]`, places along both.  plane_truth, plane_kept:
    `[k, k, O]`, the function and the kept model there, rows along the second input; empty where there is only one.
    """

    generation: int
    run: int
    axis: int
    epoch: int
    anchor: Array
    x: Array
    truth: Array
    kept: Array
    current: Array
    train_x: Array
    train_y: Array
    test_x: Array
    residuals: Array
    noise_std: float
    distance: float
    across: int | None
    plane: Array
    plane_truth: Array
    plane_kept: Array
    lane: int = 0


@dataclass(frozen=True)
class Filmed:
    """What is held of the weights of run `run` of a lane, for looks at earlier epochs.

    frames: how many snapshots, the first of them after epoch `first`.  interval: epochs from one to the next; when
    there would be more than `at_most`, every second one goes and the interval doubles.
    """

    generation: int
    run: int
    first: int
    frames: int
    interval: int
    at_most: int
    lane: int = 0


@dataclass(frozen=True)
class Place:
    """Where others train, too: the place in the line for `device`, from 1; 0 when it is this experiment's turn.

    given_up: it was stopped before its turn came.
    """

    generation: int
    place: int
    device: str
    given_up: bool = False


@dataclass(frozen=True)
class Fault:
    """What went wrong: a sentence for a person, and the traceback for the log.

    lane: whose fleet ended early of it; None: all that was asked for.  ended: False where training goes on as before.
    """

    generation: int
    message: str
    details: str = field(default="", repr=False)
    lane: int | None = None
    ended: bool = True
