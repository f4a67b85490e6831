"""Looks into a fleet: what a view needs of the models, sampled on the device, as records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from explorer.base.tensors import Tensors
from explorer.challenge.model import Network
from explorer.records import FunctionSample
from explorer.training.fleet import Fleet

POINTS = 401
"""Samples along the chosen input."""


@dataclass(frozen=True)
class Look:
    """At what to look: a run of the fleet, and an input (from 0)."""

    run: int = 0
    axis: int = 0


def function_sample(fleet: Fleet, look: Look, generation: int = 0) -> FunctionSample:
    """What a run of `fleet` has learnt; a run or an input that is not there is taken for the last one."""
    challenge = fleet.challenge
    run, axis = min(look.run, len(fleet.runs) - 1), min(look.axis, challenge.input_dims - 1)
    dataset = fleet.datasets[fleet.runs[run].seed]
    grid = np.zeros((POINTS, challenge.input_dims))
    grid[:, axis] = np.linspace(-1, 1, POINTS)
    inputs = np.concatenate([grid, dataset.test.inputs])
    network = Network(challenge, 1, fleet.device, fleet.dtype)
    x = torch.as_tensor(inputs, device=fleet.device, dtype=fleet.dtype)[None]

    def outputs(params: Tensors) -> np.ndarray:
        own = Tensors(params.layout, params.buffer[run : run + 1])
        return network.evaluate(own, x)[0].double().cpu().numpy()

    kept, current = outputs(fleet.best), outputs(fleet.params)
    return FunctionSample(
        generation,
        run,
        axis,
        fleet.epoch,
        grid[:, axis],
        dataset.function(grid),
        kept[:POINTS],
        current[:POINTS],
        dataset.train.inputs[:, axis],
        dataset.train.targets,
        challenge.noise_std,
        float(np.mean((kept[POINTS:] - dataset.test.truths) ** 2)),
    )
