"""Results of a fleet: what a notebook gets, and what the app's figures show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

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

    def _repr_html_(self) -> str:
        """A notebook's picture of it: what was reached, in a sentence and run by run."""
        table, swept = self.outcomes, list(self.optimizer.sweeps)
        names = ["seed", *swept, "status", "epochs", "test_loss", "threshold", "alpha", "quality", "passed"]
        said = (
            f"<b>{escape(self.optimizer.described)}</b>, {len(table)} runs on {escape(self.device)}: "
            f"{int(table.passed.sum())} passed; median test loss {table.test_loss.median():.4g}, "
            f"threshold {table.threshold.median():.4g}."
        )
        return f"<p>{said}</p>{table[names].to_html(index=False, float_format='{:.4g}'.format, max_rows=12, border=0)}"


class Results(Sequence[Result]):
    """Several results under names, by place or by name; `history` and `outcomes` hold all of their runs."""

    def __init__(self, named: Mapping[str, Result]) -> None:
        self._named = dict(named)

    def __getitem__(self, key: int | str) -> Result:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._named[key] if isinstance(key, str) else list(self._named.values())[key]

    def __len__(self) -> int:
        return len(self._named)

    @property
    def names(self) -> list[str]:
        """What each is called."""
        return list(self._named)

    @property
    def history(self) -> xr.Dataset:
        """All runs one after another, each with its lane's name and all hyperparameters of any; NaN where a lane has no
        such hyperparameter or another one trained longer."""
        names = {str(name) for result in self for name in result.history.coords} - {"run", "epoch", "seed", "seconds"}
        parts = []
        for lane, result in self._named.items():
            part = result.history.drop_vars("seconds")
            runs = part.sizes["run"]
            lacks = {name: ("run", np.full(runs, np.nan)) for name in sorted(names) if name not in part.coords}
            parts.append(part.assign_coords({"lane": ("run", [lane] * runs)} | lacks))
        if not parts:
            return xr.Dataset()
        whole = xr.concat(parts, "run", join="outer", coords="different", compat="equals")
        return whole.assign_coords(run=np.arange(whole.sizes["run"]))

    @property
    def outcomes(self) -> pd.DataFrame:
        """One row a run, its lane first."""
        parts = [result.outcomes.assign(lane=name) for name, result in self._named.items()]
        if not parts:
            return pd.DataFrame()
        table = pd.concat(parts, ignore_index=True)
        table.insert(0, "lane", table.pop("lane"))
        return table

    def __repr__(self) -> str:
        return f"Results({', '.join(self.names) or 'nothing trained yet'})"

    def _repr_html_(self) -> str:
        return "".join(f"<h4>{escape(name)}</h4>{result._repr_html_()}" for name, result in self._named.items())


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
