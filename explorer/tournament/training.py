"""Training one unit: a fleet until its study is decided, its clock without evaluation."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from explorer.base.side_by_side import one_thread
from explorer.records import History, Run, Status
from explorer.tournament.units import Outcome, Trial, Unit
from explorer.training import Fleet, devices
from explorer.training.faults import sentence
from explorer.training.graph import capture

LOOK_EVERY = 25
"""Epochs between two looks at a CUDA device; a CPU is looked at after each."""

LEAST_TRAINING = 0.1
"""Share of an epoch's time that counts as training, whatever evaluation took when it was measured: a busy machine can
make that look longer than the whole epoch."""


def train(
    unit: Unit,
    device: str = "auto",
    interrupted: Callable[[], bool] = lambda: False,
    before_epoch: Callable[[int], object] = lambda epoch: None,
) -> Outcome | None:
    """Train `unit` on `device` until its study is decided; None if `interrupted()` became true before.

    interrupted: asked between two batches.  before_epoch: told of each epoch, from 1; what it takes is nobody's time,
    so it may wait as long as a pause lasts.

    A study is decided when the median instance of one trial reached its target, since the fastest trial is what counts
    and all share a clock, or when no run goes on.  On a CPU one thread computes, wherever that is: sums taken in
    another order would end in other epochs.

    An optimizer that raises, or a device that runs out of memory, ends the trials as misses, with a sentence.
    `ValueError` where the device is not there, or the fleet does not fit it.
    """
    with one_thread():
        where = devices.describe(_cleared(device))
        try:
            fleet = Fleet(unit.challenge(), unit.optimizer(), unit.seeds, device, unit.precision)
        except ValueError:
            raise
        except Exception as error:  # the optimizer's own, when it makes its state
            runs = [Run(seed, point) for point in unit.points for seed in unit.seeds]
            return _outcome(unit, History(runs), 0.0, where, sentence(error))
        history, evaluation, message = History(fleet.runs), evaluation_seconds(fleet), ""
        while True:
            try:
                for _ in range(_until_the_next_look(fleet)):
                    before_epoch(fleet.epoch + 1)
                    if not fleet.advance(interrupted):
                        return None
            except Exception as error:
                message = sentence(error)
                fleet.stop(Status.FAILED)
            snapshot = fleet.snapshot()
            history.append(snapshot)
            if snapshot.finished or _decided(unit, history):
                return _outcome(unit, history, evaluation, where, message)


def evaluation_seconds(fleet: Fleet) -> float:
    """Seconds that one epoch's validation and test losses take, the median of five."""
    samples = fleet.challenge.train_size
    held_out = [fleet.datasets[run.seed] for run in fleet.runs]
    x = torch.as_tensor(np.stack([data.inputs[samples:] for data in held_out]), dtype=fleet.dtype, device=fleet.device)
    y = torch.as_tensor(np.stack([data.targets[samples:] for data in held_out]), dtype=fleet.dtype, device=fleet.device)
    out = torch.empty(2, len(fleet.runs), dtype=fleet.dtype, device=fleet.device)

    def evaluate() -> None:
        fleet.model.losses(fleet.params, x, y, out)

    taken = []
    with devices.at_work(fleet.device, fleet.precision):
        once = capture(evaluate, evaluate, []) if fleet.captured else evaluate
        for _ in range(6):
            began = time.perf_counter()
            once()
            if fleet.device.type == "cuda":
                torch.cuda.synchronize(fleet.device)
            taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])  # the first one warms up


def described(device: str = "auto") -> str:
    """The device in words, as outcomes have it; `ValueError` where it is not there."""
    with one_thread():
        return devices.describe(devices.resolve(device))


def _cleared(device: str) -> torch.device:
    """The device, without what the fleet before may have left on it."""
    found = devices.resolve(device)
    if found.type == "cuda":
        gc.collect()  # a fleet and its captured epoch hold on to each other
        torch.cuda.empty_cache()
    return found


def _until_the_next_look(fleet: Fleet) -> int:
    # The first epoch holds the compilation, which should not be spread over those that follow.
    every = 1 if fleet.device.type == "cpu" or fleet.epoch == 0 else LOOK_EVERY
    return min(every, fleet.challenge.max_epochs - fleet.epoch)


def first_reached(losses: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The first epoch, from 1, whose loss `[..., E]` is at its target `[...]` or under; infinite if there is none."""
    under = losses <= targets[..., None]
    found = np.full(under.shape[:-1], np.inf)
    if under.size:
        found = np.where(under.any(axis=-1), under.argmax(axis=-1) + 1.0, np.inf)
    return found


def _decided(unit: Unit, history: History) -> bool:
    if not unit.targets:
        return False
    shape = (len(unit.points), len(unit.seeds))
    reached = np.isfinite(first_reached(history.losses[1].reshape(*shape, -1), np.array([unit.targets])))
    return bool((reached.sum(axis=1) > len(unit.seeds) / 2).any())


def _outcome(unit: Unit, history: History, evaluation: float, device: str, message: str) -> Outcome:
    shape = (len(unit.points), len(unit.seeds))
    losses = history.losses[1].reshape(*shape, -1)
    best = np.fmin.reduce(losses, axis=-1, initial=np.inf)  # fmin passes over NaN
    targets = np.array([unit.targets or [np.nan] * len(unit.seeds)])
    reached = first_reached(losses, targets)
    taken = np.diff(history.seconds, prepend=0.0)
    clock = np.maximum(taken - evaluation, LEAST_TRAINING * taken).cumsum()
    trained = history.epochs.reshape(shape).max(axis=1)
    batches = len(unit.challenge().batches())
    trials = []
    for trial, point in enumerate(unit.points):
        epochs = reached[trial]
        seconds = [clock[int(epoch) - 1] if np.isfinite(epoch) else np.inf for epoch in epochs]
        nearest = float(np.median(best[trial] / targets[0]))
        trials.append(
            Trial(
                point,
                _middle(seconds),
                _middle(epochs),
                _middle(epochs * batches),
                nearest,
                int(trained[trial]),
                float(clock[trained[trial] - 1]) if trained[trial] else 0.0,
                tuple(best[trial].tolist()),
            )
        )
    curves = [[[_six(loss) for loss in run] for run in runs] for runs in losses.tolist()]
    total = float(history.seconds[-1]) if history.epoch else 0.0
    return Outcome(tuple(trials), curves, clock.round(6).tolist(), total, device, message)


def _middle(times: Sequence[float] | np.ndarray) -> float:
    """The median instance's time; of an even number that of the later of the two, at which the study is decided."""
    return float(np.sort(times)[len(times) // 2])


def _six(value: float) -> float | None:
    """Six digits, which is what float32 has to tell; None for NaN."""
    return float(f"{value:.6g}") if value == value else None
