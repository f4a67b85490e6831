"""A table of times, as anybody may have it, read and checked for the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray
COLUMNS = ("ruleset", "submission", "study", "workload", "kind", "time_s")
KINDS = ("base", "held_out")


@dataclass(frozen=True)
class Times:
    """One ruleset's times: `best [S, W, K]`, of each submission, workload and study that is owed (rule 1 of `scores`).

    Where a workload has fewer than K studies the last ones are NaN.

    bases: the place of each held-out variant's base workload, by the variant's place.
    """

    submissions: list[str]
    workloads: list[str]
    bases: dict[int, int]
    best: Array

    @property
    def owed(self) -> Array:
        """How many studies each workload has `[W]`."""
        return (~np.isnan(self.best[0])).sum(axis=-1)

    @property
    def counted(self) -> list[int]:
        """The places of the base workloads."""
        return [place for place in range(len(self.workloads)) if place not in self.bases]


def read(table: pd.DataFrame) -> dict[str, Times]:
    """The times of each ruleset, by name; `ValueError` where the table is not as `scores` wants it."""
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"table is a {type(table).__name__}: it must be a pandas DataFrame.")
    for column in COLUMNS:
        if column not in table.columns:
            raise ValueError(f"{column} is not a column of the table: it must have {', '.join(COLUMNS)}.")
    if table.empty:
        raise ValueError("table has no rows: there is nothing to score.")
    kinds: dict[str, str] = {}
    cells: dict[str, dict[tuple[str, str], dict[Any, float]]] = {}
    for place, row in enumerate(zip(*(table[column].tolist() for column in COLUMNS), strict=True)):
        ruleset, submission, study, workload, kind, time = (
            check(column, value, place) for check, column, value in zip(_CHECKS, COLUMNS, row, strict=True)
        )
        if kinds.setdefault(workload, kind) != kind:
            raise ValueError(f"kind differs between rows of workload = {workload!r}: it must be base or held_out.")
        cell = cells.setdefault(ruleset, {}).setdefault((submission, workload), {})
        cell[study] = min(time, cell.get(study, np.inf))
    return {ruleset: _times(cells[ruleset], kinds) for ruleset in sorted(cells)}


def _times(cells: dict[tuple[str, str], dict[Any, float]], kinds: dict[str, str]) -> Times:
    submissions, workloads = (sorted(set(names)) for names in zip(*cells, strict=True))
    owed = dict.fromkeys(workloads, 0)
    for (_, workload), studies in cells.items():
        owed[workload] = max(owed[workload], len(studies))
    best = np.full((len(submissions), len(workloads), max(owed.values())), np.nan)
    for place, workload in enumerate(workloads):
        best[:, place, : owed[workload]] = np.inf
    for (submission, workload), studies in cells.items():
        best[submissions.index(submission), workloads.index(workload), : len(studies)] = list(studies.values())
    names = [name for name in workloads if kinds[name] == "base"]
    bases = {
        place: workloads.index(base_of(name, names)) for place, name in enumerate(workloads) if kinds[name] != "base"
    }
    return Times(submissions, workloads, bases, best)


def base_of(variant: str, names: Iterable[str]) -> str:
    """Whose variant it is: the longest name that it begins with."""
    matching = [name for name in names if variant.startswith(name)]
    if not matching:
        raise ValueError(
            f"workload = {variant!r} is not allowed as held_out: its name must begin with a base workload's, which "
            f"here are {', '.join(names) or 'none'}."
        )
    return max(matching, key=len)


def _text(column: str, value: Any, place: int) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{column} = {value!r} is not allowed (row {place}): it must be text.")
    return value


def _study(column: str, value: Any, place: int) -> Any:
    if pd.isna(value):
        raise ValueError(f"{column} = {value!r} is not allowed (row {place}): it must be a number or a name.")
    return value


def _kind(column: str, value: Any, place: int) -> str:
    if value not in KINDS:
        raise ValueError(f"{column} = {value!r} is not allowed (row {place}): it must be {' or '.join(KINDS)}.")
    return value


def _time(column: str, value: Any, place: int) -> float:
    if pd.isna(value):
        return np.inf
    if not isinstance(value, Real) or isinstance(value, bool) or not float(value) > 0:
        raise ValueError(
            f"{column} = {value!r} is not allowed (row {place}): it must be above 0, and infinite for a miss."
        )
    return float(value)


_CHECKS: tuple[Callable[[str, Any, int], Any], ...] = (_text, _text, _study, _text, _kind, _time)
