"""Results of a fleet: what a notebook gets, and what the app's figures show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from explorer.challenge import scoring
from explorer.challenge.settings import Challenge
from explorer.optimizers.base import Optimizer
from explorer.records import History, Instances


@dataclass(frozen=True)
class Result:
    """What `explorer.train` returns.

    history: `xarray.Dataset` with train_loss, val_loss, test_loss (run, epoch), epochs from 1, NaN after a run's last.
    outcomes: `pandas.DataFrame`, one row a run.
    """

    challenge: Challenge
    optimizer: Optimizer
    history: xr.Dataset
    outcomes: pd.DataFrame
    device: str


def outcomes(challenge: Challenge, history: History, instances: Instances, message: str = "") -> pd.DataFrame:
    """One row a run, scored with the challenge's accuracy factor as it is now."""
    train, val, test = history.at_best
    clock = np.concatenate([[0.0], history.seconds])
    noise = instances.noise_mse
    names = dict.fromkeys(name for run in history.runs for name in run.hyperparameters)
    return pd.DataFrame(
        {
            "seed": [run.seed for run in history.runs],
            **{name: [run.hyperparameters.get(name) for run in history.runs] for name in names},
            "status": [str(status) for status in history.status],
            "epochs": history.epochs,
            "best_epoch": history.best_epoch,
            "train_loss": train,
            "val_loss": val,
            "test_loss": test,
            "threshold": scoring.threshold(challenge, noise),
            "noise_mse": noise,
            "alpha": scoring.alpha(challenge, noise, test),
            "passed": scoring.passed(challenge, noise, test),
            "quality": scoring.quality(challenge, noise, test),
            "kernel_floor": instances.kernel_floor,
            "feature_floor": instances.feature_floor,
            "readout_floor": instances.readout_floor,
            "seconds": clock[history.epochs],
            "message": message,
        }
    )
