"""What a lesson's expressions can ask: the words, and what they mean for the experiment in hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from explorer.challenge import Challenge
from explorer.optimizers import Optimizer
from explorer.records import LOSSES, History, InsideSample, Status

NUMBERS = (
    *LOSSES,
    *("threshold", "noise_mse", "kernel_floor", "feature_floor", "readout_floor", "alpha", "quality"),
    *("epochs", "best_epoch", "seconds", "seed"),
)
"""Columns of the outcomes; losses are those of the best epoch."""
FLAGS = ("passed", *(str(status) for status in Status if status is not Status.RUNNING))
"""What is true or false of a run: its verdict, and how it ended."""
INSIDE = (
    *("gradient_norm", "update_ratio", "cosine", "dead_share", "norm_scale", "effective_rank", "spectral_norm"),
    "proposal_distance",
)
"""What a look inside measures in each layer."""
ENDS = {str(status) for status in Status} - {Status.RUNNING, Status.STOPPED}


class Lane(Protocol):
    """What is read of a lane; `explorer.app.session.Lane` is one."""

    challenge: Challenge
    optimizer: Optimizer
    inside: list[InsideSample]

    @property
    def shown(self) -> History | None: ...

    @property
    def outcomes(self) -> pd.DataFrame | None: ...


class Facts:
    """An experiment, asked.  Each public method is a word of the lessons' expressions; its docstring explains it there.

    Where nothing is there to be asked, numbers are NaN, and every comparison with them is false.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = list(lanes)

    def finished(self) -> bool:
        """Every run has ended, and none was stopped by hand."""
        tables = [lane.outcomes for lane in self._lanes]
        return bool(tables) and all(table is not None and set(table.status) <= ENDS for table in tables)

    def lanes(self) -> int:
        """How many lanes there are."""
        return len(self._lanes)

    def runs(self, **which: Any) -> int:
        """How many runs there are."""
        return len(self._chosen(which))

    def median(self, number: str, **which: Any) -> float:
        """Median over the runs."""
        return _finite(np.median, self._column(number, which))

    def lowest(self, number: str, **which: Any) -> float:
        """Smallest over the runs."""
        return _finite(np.min, self._column(number, which))

    def highest(self, number: str, **which: Any) -> float:
        """Largest over the runs."""
        return _finite(np.max, self._column(number, which))

    def count(self, flag: str, **which: Any) -> int:
        """How many runs it is true of."""
        return int(self._flags(flag, which).sum())

    def share(self, flag: str, **which: Any) -> float:
        """Of how many it is true, from 0 to 1."""
        return _finite(np.mean, self._flags(flag, which))

    def last(self, loss: str, **which: Any) -> float:
        """The loss after a run's last epoch: median over the runs."""
        return _finite(np.median, [curve[-1] for curve in self._curves(loss, which)])

    def first(self, loss: str, **which: Any) -> float:
        """The loss after the first epoch: median over the runs."""
        return _finite(np.median, [curve[0] for curve in self._curves(loss, which)])

    def least(self, loss: str, **which: Any) -> float:
        """The smallest loss of any epoch: median over the runs."""
        return _finite(np.median, [np.nanmin(curve) for curve in self._curves(loss, which)])

    def reached(self, loss: str, value: float, **which: Any) -> float:
        """The first epoch at which the loss was at most that value, infinite if never: median over the runs."""
        found = [np.flatnonzero(curve <= value) for curve in self._curves(loss, which)]
        return float(np.median([at[0] + 1 if at.size else np.inf for at in found])) if found else float("nan")

    def setting(self, name: str, **which: Any) -> Any:
        """A setting of the challenge, or the value of a hyperparameter (NaN where it is swept), or `optimizer`."""
        lane = self._lane(which.get("lane", 1))
        if lane is None:
            return float("nan")
        if name == "optimizer":
            return lane.optimizer.key
        known = lane.challenge.values | lane.optimizer.values
        value = known.get(name, float("nan"))
        return float("nan") if isinstance(value, list) else value

    def values(self, name: str, **which: Any) -> int:
        """How many different values of a hyperparameter, or how many seeds, were tried."""
        table = self._chosen(which)
        return len(set(table[name])) if name in table else 0

    def winner(self, name: str, **which: Any) -> float:
        """The value of a hyperparameter with the smallest median test loss."""
        table = self._chosen(which)
        if name not in table or table.test_loss.isna().all():
            return float("nan")
        return float(table.groupby(name).test_loss.median().idxmin())

    def looks(self, **which: Any) -> int:
        """How often the lane was looked inside, in the view Inside."""
        lane = self._lane(which.get("lane", 1))
        return 0 if lane is None else len(lane.inside)

    def inside(self, quantity: str, **which: Any) -> float:
        """What the last look inside the lane found, in one `layer` (from 1) or on average over the trained ones."""
        lane = self._lane(which.get("lane", 1))
        if lane is None or not lane.inside:
            return float("nan")
        sample = lane.inside[-1]
        found = getattr(sample, quantity)
        layer = which.get("layer")
        if layer is not None:
            return float(found[layer - 1]) if 1 <= layer <= len(found) else float("nan")
        return _finite(np.mean, found[~np.array(sample.frozen)])

    # What the words share

    def _lane(self, place: Any) -> Lane | None:
        return self._lanes[place - 1] if isinstance(place, int) and 1 <= place <= len(self._lanes) else None

    def _chosen(self, which: dict[str, Any]) -> pd.DataFrame:
        """The outcomes of the runs that are meant, of all lanes if none is named."""
        return pd.concat([table.iloc[rows] for _, table, rows in self._selected(which)] or [pd.DataFrame()])

    def _selected(self, which: dict[str, Any]) -> list[tuple[Lane, pd.DataFrame, np.ndarray]]:
        named = {name: value for name, value in which.items() if name != "lane"}
        wanted = [self._lane(which["lane"])] if "lane" in which else self._lanes
        found = []
        for lane in wanted:
            table = None if lane is None else lane.outcomes
            if lane is not None and table is not None and set(named) <= set(table):
                chosen = np.ones(len(table), dtype=bool)
                for name, value in named.items():
                    chosen &= np.isclose(table[name].to_numpy(float), value, rtol=1e-9, atol=0)
                found.append((lane, table, np.flatnonzero(chosen)))
        return found

    def _column(self, name: str, which: dict[str, Any]) -> np.ndarray:
        table = self._chosen(which)
        return table[name].to_numpy(float) if name in table else np.array([])

    def _flags(self, flag: str, which: dict[str, Any]) -> np.ndarray:
        table = self._chosen(which)
        if table.empty:
            return np.array([])
        return table.passed.to_numpy(bool) if flag == "passed" else (table.status == flag).to_numpy()

    def _curves(self, loss: str, which: dict[str, Any]) -> list[np.ndarray]:
        """One loss of each run that is meant, up to its last epoch with a finite loss."""
        index = LOSSES.index(loss)
        chosen = [(lane.shown, rows) for lane, _, rows in self._selected(which)]
        curves = [curve for shown, rows in chosen if shown is not None for curve in shown.losses[index][rows]]
        return [curve[np.isfinite(curve)] for curve in curves if np.isfinite(curve).any()]


def _finite(reduce: Callable[[Any], Any], values: Any) -> float:
    """`reduce` over what is not NaN; NaN where that is nothing."""
    array = np.asarray(values, dtype=float)
    array = array[~np.isnan(array)]
    return float(reduce(array)) if array.size else float("nan")


WORDS = {name: method for name, method in inspect.getmembers(Facts, inspect.isfunction) if not name.startswith("_")}
"""The words, by name."""
