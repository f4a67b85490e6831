"""Looks into a fleet: what a view needs of the models, sampled on the device, as records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from explorer.base.tensors import Tensors
from explorer.challenge.model import Network
from explorer.records import FunctionSample
from explorer.training.film import Film
from explorer.training.fleet import Fleet

POINTS = 401
"""Samples along the chosen input."""


@dataclass(frozen=True)
class FunctionLook:
    """At what to look: a run of the fleet, an input (from 0), and when: None for the present."""

    run: int = 0
    axis: int = 0
    epoch: int | None = None


def function_sample(
    fleet: Fleet, look: FunctionLook, generation: int = 0, lane: int = 0, film: Film | None = None
) -> FunctionSample:
    """What a run of `fleet` has learnt; a run or an input that is not there is taken for the last one.

    film: of that run, for a look at an earlier epoch; without it the present is shown.
    """
    challenge = fleet.challenge
    run, axis = min(look.run, len(fleet.runs) - 1), min(look.axis, challenge.input_dims - 1)
    dataset = fleet.datasets[fleet.runs[run].seed]
    grid = np.zeros((POINTS, challenge.input_dims))
    grid[:, axis] = np.linspace(-1, 1, POINTS)
    inputs = np.concatenate([grid, dataset.test.inputs])
    network = Network(challenge, 1, fleet.device, fleet.dtype)
    x = torch.as_tensor(inputs, device=fleet.device, dtype=fleet.dtype)[None]

    def outputs(own: Tensors) -> np.ndarray:
        return network.evaluate(own, x)[0].double().cpu().numpy()

    if look.epoch is None or film is None or look.epoch >= fleet.epoch:
        epoch = fleet.epoch
        models = [Tensors(held.layout, held.buffer[run : run + 1]) for held in (fleet.best, fleet.params)]
    else:
        frame = film.at(look.epoch)
        epoch, models = frame.epoch, [film.tensors(buffer, fleet.device) for buffer in (frame.best, frame.params)]
    kept, current = map(outputs, models)
    return FunctionSample(
        generation,
        run,
        axis,
        epoch,
        grid[:, axis],
        dataset.function(grid),
        kept[:POINTS],
        current[:POINTS],
        dataset.train.inputs[:, axis],
        dataset.train.targets,
        challenge.noise_std,
        float(np.mean((kept[POINTS:] - dataset.test.truths) ** 2)),
        lane,
    )
