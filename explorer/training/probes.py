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
SIDE = 41
"""Samples along each side of the plane of two inputs."""


@dataclass(frozen=True)
class FunctionLook:
    """At what to look: a run of the fleet, an input and a second one (from 0), and when: None for the present.

    anchor: the test sample (from 1) at whose place the other inputs are held; 0: the centre.
    """

    run: int = 0
    axis: int = 0
    epoch: int | None = None
    across: int = 1
    anchor: int = 0


def function_sample(
    fleet: Fleet, look: FunctionLook, generation: int = 0, lane: int = 0, film: Film | None = None
) -> FunctionSample:
    """What a run of `fleet` has learnt; a run, an input or an anchor that is not there is taken for the last one, and a
    second input that is the first for its neighbour.

    film: of that run, for a look at an earlier epoch, or at the film's first if that is later; without it the present
    is shown.
    """
    challenge = fleet.challenge
    run, axis = min(look.run, len(fleet.runs) - 1), min(look.axis, challenge.input_dims - 1)
    dataset = fleet.datasets[fleet.runs[run].seed]
    test = dataset.test
    anchor = np.zeros(challenge.input_dims)
    if look.anchor:
        anchor = test.inputs[min(look.anchor, len(test.inputs)) - 1].astype(float)
    across = _second(axis, look.across, challenge.input_dims)
    grid = np.tile(anchor, (POINTS, 1))
    grid[:, axis] = np.linspace(-1, 1, POINTS)
    side = np.linspace(-1, 1, SIDE) if across is not None else np.empty(0)
    plane = np.tile(anchor, (len(side) ** 2, 1))
    if across is not None:
        plane[:, axis], plane[:, across] = np.tile(side, len(side)), np.repeat(side, len(side))
    network = Network(challenge, 1, fleet.device, fleet.dtype)
    places = np.concatenate([grid, test.inputs, plane])
    x = torch.as_tensor(places, device=fleet.device, dtype=fleet.dtype)[None]

    def outputs(own: Tensors, count: int) -> np.ndarray:
        return network.evaluate(own, x[:, :count])[0].double().cpu().numpy()

    if look.epoch is None or film is None or look.epoch >= fleet.epoch:
        epoch = fleet.epoch
        models = [Tensors(held.layout, held.buffer[run : run + 1]) for held in (fleet.best, fleet.params)]
    else:
        frame = film.at(max(look.epoch, film.frames[0].epoch))
        epoch, models = frame.epoch, [film.tensors(buffer, fleet.device) for buffer in (frame.best, frame.params)]
    kept, current = outputs(models[0], len(places)), outputs(models[1], POINTS)
    along, tested, mapped = np.split(kept, [POINTS, POINTS + len(test.inputs)])
    square = (len(side), len(side), challenge.output_dims)
    return FunctionSample(
        generation=generation,
        run=run,
        axis=axis,
        epoch=epoch,
        anchor=anchor,
        x=grid[:, axis],
        truth=dataset.function(grid),
        kept=along,
        current=current,
        train_x=dataset.train.inputs[:, axis],
        train_y=dataset.train.targets,
        test_x=test.inputs[:, axis],
        residuals=test.targets - tested,
        noise_std=challenge.noise_std,
        distance=float(np.mean((tested - test.truths) ** 2)),
        across=across,
        plane=side,
        plane_truth=dataset.function(plane).reshape(square) if across is not None else np.empty(square),
        plane_kept=mapped.reshape(square),
        lane=lane,
    )


def _second(axis: int, wanted: int, inputs: int) -> int | None:
    """The second input, which is never the first; None where there is no second."""
    if inputs == 1:
        return None
    wanted = min(wanted, inputs - 1)
    return wanted if wanted != axis else (axis + 1) % inputs
