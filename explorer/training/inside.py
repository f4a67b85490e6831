"""A look inside one run: what happens in each layer, from a dry run of the next batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.challenge.model import EPS
from explorer.records.inside import InsideSample
from explorer.training import devices
from explorer.training.fleet import Fleet

TRAINED = (0, 1, 2, 7)
"""Places, among an `InsideSample`'s arrays, of those that say nothing of a frozen layer."""


@dataclass(frozen=True)
class InsideLook:
    """At what to look: a run of the fleet, every so many epochs."""

    run: int = 0
    every: int = 20


def inside_sample(fleet: Fleet, run: int, generation: int = 0, lane: int = 0) -> InsideSample:
    """How a run of `fleet` stands, layer by layer, which changes nothing in it; a run that is not there: the last.

    Waits for what a CUDA device still has to train; that wait is no cost of the look.
    """
    if fleet.device.type == "cuda":
        torch.cuda.synchronize(fleet.device)
    began = time.perf_counter()
    run = min(run, len(fleet.runs) - 1)
    with devices.at_work(fleet.device, fleet.precision):
        numbers = _measured(fleet, run).cpu().numpy()
    hidden = fleet.challenge.num_hidden_layers
    slots = {slot.name: slot for slot in fleet.params.layout.slots}
    frozen = tuple(not slots[f"linears.{layer}.weight"].trainable for layer in range(hidden + 1))
    for place in TRAINED:
        numbers[place, np.array(frozen)] = np.nan
    layers = (*(str(layer + 1) for layer in range(hidden)), "out")
    cost = time.perf_counter() - began
    return InsideSample(generation, lane, run, fleet.epoch, layers, frozen, *numbers, cost=cost)


def _measured(fleet: Fleet, run: int) -> Tensor:
    """The arrays of an `InsideSample`, in its order: float64 `[8, L]`, on the device."""
    rehearsal, names = fleet.rehearse(), fleet.params.names
    of_run = {name: tensor[run] for name, tensor in zip(names, fleet.params, strict=True)}
    weights, gradients = _matrices(rehearsal.weights, names, run), _matrices(rehearsal.gradients, names, run)
    lengths, slopes = _norms(weights), _norms(gradients)
    unknown = torch.full_like(lengths, torch.nan)

    ratio = cosine = distance = unknown
    if rehearsal.updates is not None:
        updates = _matrices(rehearsal.updates, names, run)
        steps = _norms(updates)
        ratio = steps / lengths
        along = torch.stack([(update * gradient).sum() for update, gradient in zip(updates, gradients, strict=True)])
        cosine = -along / (steps * slopes)
    if rehearsal.proposal is not None:
        proposed = _matrices(rehearsal.proposal, names, run)
        distance = _norms([there - here for there, here in zip(proposed, weights, strict=True)]) / lengths

    inputs = fleet.datasets[fleet.runs[run].seed].train.inputs
    dead = _dead_shares(of_run, torch.as_tensor(inputs, device=fleet.device, dtype=fleet.dtype))
    scales = torch.stack([of_run[f"norms.{layer}.weight"].double().abs().mean() for layer in range(len(dead))])
    dead, scales = (torch.cat([per_layer, unknown[:1]]) for per_layer in (dead, scales))
    return torch.stack([slopes, ratio, cosine, dead, scales, *_spectra(weights), distance])


def _matrices(tensors: Sequence[Tensor], names: Sequence[str], run: int) -> list[Tensor]:
    """The weight matrices of one run, in float64."""
    linear = [name.startswith("linears") and name.endswith("weight") for name in names]
    return [tensor[run].double() for tensor, wanted in zip(tensors, linear, strict=True) if wanted]


def _norms(matrices: Sequence[Tensor]) -> Tensor:
    """Frobenius norms `[L]`."""
    return torch.stack([torch.linalg.vector_norm(matrix) for matrix in matrices])


def _dead_shares(of_run: dict[str, Tensor], x: Tensor) -> Tensor:
    """For each hidden layer, the share of units that are 0 for every sample of `x [n, D]`; NaN after an overflow."""
    shares, h = [], x
    for layer in range(sum(name.endswith("running_var") for name in of_run)):
        a = torch.addmm(of_run[f"linears.{layer}.bias"], h, of_run[f"linears.{layer}.weight"].mT).relu_()
        most = a.amax(dim=0)
        shares.append(torch.where(most.isfinite().all(), (most == 0).double().mean(), torch.nan))
        kinds = ("running_mean", "running_var", "weight", "bias")
        mean, variance, gamma, beta = (of_run[f"norms.{layer}.{kind}"] for kind in kinds)
        scale = gamma * (variance + EPS).rsqrt()
        h = torch.addcmul(beta - mean * scale, a, scale)
    return torch.stack(shares)


def _spectra(weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Effective rank and largest singular value of each matrix, `[L]` both.

    From the eigenvalues of WWᵀ in float64: on a CPU a third faster than the singular values themselves, and what is
    lost, those under 1e-8 of the largest, adds nothing to either.
    """
    ranks, largest = [], []
    for weight in weights:
        wide = weight if weight.shape[0] <= weight.shape[1] else weight.mT
        healthy = wide.isfinite().all()
        gram = torch.where(healthy, wide @ wide.mT, 0.0)
        singular = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
        share = singular / singular.sum()
        ranks.append(torch.where(healthy, torch.special.entr(share).sum().exp(), torch.nan))
        largest.append(torch.where(healthy, singular[-1], torch.nan))
    return torch.stack(ranks), torch.stack(largest)
