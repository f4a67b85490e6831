"""Records of experiments as small and as large as a view must survive, made up in no time."""

import numpy as np

from explorer.records import (
    FunctionSample,
    InsideSample,
    Instances,
    LandscapeSample,
    Phase,
    Run,
    Snapshot,
    Status,
)

VALUES = (1e-3, 1e-2)
"""Of the learning rate, in turn; one run has the first."""


def runs(count):
    return tuple(Run(place // 2, {"lr": VALUES[place % 2]}) for place in range(count))


def instances(count, lane=0, generation=1):
    return Instances(generation, *np.full((4, count), 0.04), lane=lane)


def snapshot(count, epochs, lost=False, lane=0, generation=1, first=1, phase=Phase.RUNNING):
    """Epochs `first` to `epochs` of `count` runs; lost: the first run's losses are NaN, from the first epoch on."""
    values = np.random.default_rng(lane).uniform(0.05, 1, (3, count, epochs))[:, :, first - 1 :]
    counts = np.full(count, epochs)
    best = counts.copy()
    going = Status.RUNNING if phase is Phase.RUNNING else Status.STOPPED
    status = [going] * count
    if lost and epochs:
        values[:, 0], counts[0], best[0], status[0] = np.nan, 1, 0, Status.DIVERGED
    return Snapshot(generation, phase, first, *values, tuple(status), counts, best, 1.0, "CPU", lane=lane)


def learnt(epochs, lost=False, inputs=1, lane=0, generation=1):
    """What a run has learnt; NaN if lost."""
    x, side, outputs = np.linspace(-1, 1, 21), np.linspace(-1, 1, 5), 2
    curve, square, test = np.ones((21, outputs)), np.ones((5, 5, outputs)), np.ones((30, outputs))
    unknown = np.nan if lost else 1.0
    return FunctionSample(
        generation=generation, run=0, axis=0, epoch=epochs, anchor=np.zeros(inputs), x=x, truth=curve,
        kept=unknown * curve, current=unknown * curve, train_x=np.zeros(30), train_y=test, test_x=np.zeros(30),
        residuals=unknown * test, noise_std=0.2, distance=0.1 * unknown, across=1 if inputs > 1 else None,
        plane=side, plane_truth=square, plane_kept=unknown * square, lane=lane,
    )  # fmt: skip


def looks(epochs, lost=False, lane=0, generation=1):
    """Looks inside a run of three layers, every 10 epochs; NaN if lost."""
    numbers = (np.nan if lost else 1.0) * np.random.default_rng(lane).uniform(0.1, 1, (8, 3))
    frozen = (False, False, True)
    return [
        InsideSample(generation, lane, 0, epoch, ("1", "2", "out"), frozen, *numbers, cost=0.001)
        for epoch in range(0, epochs, 10)
    ]


def landscape(names, epochs, generation=1):
    """Paths of at most 60 points, whose second half has no losses."""
    path = np.linspace(0, 1, min(epochs, 60))
    each = (
        tuple(np.arange(len(path)) for _ in names),
        tuple(np.stack([path, -path], axis=1) for _ in names),
        tuple(np.where(path > 0.5, np.nan, 0.5) for _ in names),
    )
    nodes = np.linspace(-1, 1, 5)
    return LandscapeSample(
        generation, tuple(names), *each, nodes, nodes, np.ones((5, 5)), np.array([0.6, 0.3]), "test", 0, 0
    )
