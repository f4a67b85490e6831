"""What the numbers mean, in sentences computed from them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from explorer.challenge import Challenge
from explorer.optimizers import Optimizer
from explorer.records import Instances, Phase, Place
from explorer.views.style import number

PHASES = {
    Phase.IDLE: "Ready",
    Phase.PREPARING: "Preparing …",
    Phase.RUNNING: "Training",
    Phase.PAUSED: "Paused",
    Phase.FINISHED: "Finished",
    Phase.STOPPED: "Stopped",
    Phase.FAILED: "Failed",
}
STATUSES = {
    "running": "training",
    "early_stopped": "early-stopped",
    "max_epochs": "reached the last epoch",
    "stopped": "stopped",
    "diverged": "diverged",
    "failed": "failed",
}


def place(place: Place) -> str:
    """Where one stands in the line for a device: '3rd in line for the GPU'."""
    number = place.place
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending} in line for the {'GPU' if place.device == 'cuda' else 'CPU'}"


def chances(challenge: Challenge, instances: Instances, threshold: np.ndarray) -> str:
    """Whether this can be passed, and what stands in the way: computed from threshold and floors."""
    if np.isnan(instances.kernel_floor).any():
        return ""
    limit, kernel, noise = (float(np.median(x)) for x in (threshold, instances.kernel_floor, instances.noise_mse))
    count = len(np.unique(instances.noise_mse))
    where = "" if count == 1 else f" (medians over {count} instances)"
    if limit < noise:
        return (
            f"Nothing can expect to pass this: the threshold of {number(limit)} is below the noise, {number(noise)}, "
            f"which even the true function cannot undercut{where}.  Lower the accuracy factor."
        )
    if kernel > limit:
        return (
            f"No optimizer can expect to pass this: even the exact Gaussian-process posterior, which knows the kernel "
            f"and the noise, ends at a test error of {number(kernel)}, {number(kernel / limit)} times the threshold of "
            f"{number(limit)}{where}.  Fewer input dimensions or a longer lengthscale make it learnable."
        )
    readout = float(np.median(instances.readout_floor))
    if np.isnan(readout):
        return (
            f"Within reach: the kernel floor {number(kernel)} is {number(kernel / noise)} × the noise; the threshold "
            f"{number(limit)} is {number(limit / noise)} ×{where}."
        )
    verdict = "under" if readout <= limit else "above"
    return (
        f"The frozen read-out keeps ordinary optimizers near a test error of {number(readout)}, {verdict} the "
        f"threshold of {number(limit)}; the data would allow {number(kernel)}, and the noise alone is "
        f"{number(noise)}{where}."
    )


def differing(challenges: Mapping[str, Challenge]) -> str:
    """In what the challenges of lanes that are compared differ, by the lanes' names; empty where they are one.  The
    accuracy factor is left out: every lane is scored with the latest."""
    if not challenges:
        return ""
    first, *rest = challenges
    own = challenges[first].values
    found = []
    for name in rest:
        values = challenges[name].values
        other = [field for field in own if field != "accuracy_factor" and values[field] != own[field]]
        if other:
            said = ", ".join(f"{field} {values[field]} instead of {own[field]}" for field in other[:3])
            found.append(f"{name} has {said}{' and more' if len(other) > 3 else ''}")
    if not found:
        return ""
    return f"This is not one challenge, so that losses and wins say little: beside {first}, {'; '.join(found)}."


def hindrance(challenge: Challenge, optimizer: Optimizer) -> str:
    """What the challenge's rules do to an optimizer that always proposes; empty where they do nothing."""
    if not (optimizer.proposes and challenge.restore_statistics):
        return ""
    return (
        f"{optimizer.key} takes its gradients at proposed weights, and this harness puts the running statistics back "
        f"after each proposal: they are never trained, so it cannot pass here.  Switch off “Restore statistics” under "
        f"“Data and model” to judge it."
    )


def ending(outcomes: pd.DataFrame) -> str:
    """How the runs stand: 'early-stopped at epoch 120', '3 early-stopped, 1 diverged at epoch 2'."""
    if len(outcomes) == 1:
        row = outcomes.iloc[0]
        said = STATUSES[row.status]
        return said if row.status == "running" else f"{said} at epoch {row.epochs}"
    parts = []
    for status, group in outcomes.groupby("status", sort=False):
        epochs = sorted(set(group.epochs))
        span = f"epoch {epochs[0]}" if len(epochs) == 1 else f"epochs {epochs[0]} to {epochs[-1]}"
        parts.append(f"{len(group)} {STATUSES[str(status)]}{'' if status == 'running' else f' at {span}'}")
    return ", ".join(parts)
