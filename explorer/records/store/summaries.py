"""Experiments without their curves, as lists show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from explorer.records.store import schema


@dataclass(frozen=True)
class LaneSummary:
    """A fleet of an experiment, without its curves.

    epoch: the last one kept.  statuses: how many runs stand how.  ratio: the mean over runs of test MSE (at the best
    epoch) over noise MSE, NaN before there is any.
    """

    name: str
    settings: Mapping[str, Any]
    runs: int
    epoch: int
    seconds: float
    device: str
    statuses: Mapping[str, int]
    ratio: float


@dataclass(frozen=True)
class Summary:
    """An experiment, without its curves.

    began, ended, deleted: seconds since 1970, None where that has not happened.  phase: a `Phase`, or `interrupted`.
    """

    id: str
    title: str
    began: float
    ended: float | None
    phase: str
    message: str
    settings: Mapping[str, Any]
    notes: str
    pinned: bool
    deleted: float | None
    lanes: tuple[LaneSummary, ...]


def lanes_of(connection: Connection, ids: Sequence[str]) -> dict[str, list[LaneSummary]]:
    """The lanes of some experiments, with what their runs add up to."""
    run = schema.Run
    counted = select(run.experiment, run.lane, run.status, func.count(), func.sum(run.test_loss / run.noise_mse),
                     func.count(run.test_loss / run.noise_mse))  # fmt: skip
    counted = counted.where(run.experiment.in_(ids)).group_by(run.experiment, run.lane, run.status)
    statuses: dict[tuple[str, int], dict[str, int]] = {}
    ratios: dict[tuple[str, int], Any] = {}
    for id, lane, status, runs, total, known in connection.execute(counted):
        statuses.setdefault((id, lane), {})[status] = runs
        ratios[id, lane] = ratios.get((id, lane), 0) + np.array([total or 0.0, known])
    found: dict[str, list[LaneSummary]] = {id: [] for id in ids}
    query = select(schema.Lane.__table__).where(schema.Lane.experiment.in_(ids)).order_by(schema.Lane.place)
    for row in connection.execute(query):
        total, known = ratios.get((row.experiment, row.place), (0.0, 0))
        ratio = float(total / known) if known else float("nan")
        by_status = statuses.get((row.experiment, row.place), {})
        found[row.experiment].append(
            LaneSummary(row.name, row.settings, row.runs, row.epoch, row.seconds, row.device, by_status, ratio)
        )
    return found


def summary_of(row: Any, lanes: Sequence[LaneSummary]) -> Summary:
    """A row of experiments with its lanes."""
    own = {name: getattr(row, name) for name in Summary.__dataclass_fields__ if name != "lanes"}
    return Summary(**own, lanes=tuple(lanes))
