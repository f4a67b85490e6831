"""Outcomes as a table: one row a trial, what of it can be scored, and by which clock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import pandas as pd

from explorer.tournament.plan import Spec
from explorer.tournament.times import base_of
from explorer.tournament.units import Outcome, Unit

MEASURES = ("seconds", "epochs", "evaluations")
"""How time is counted: on the device, in passes over the training samples, in gradients."""


def rows(units: Iterable[Unit], outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """One row a trial, in the order of `units`; the columns that `scores` takes, with times in all three measures.

    Columns: ruleset, submission, study, workload, kind, trial, hyperparameters (JSON), seconds, epochs, evaluations
    (infinite for a miss), spent_seconds, spent_epochs, spent_evaluations (until the trial ended: a miss takes longer),
    nearest (best validation loss over the target, the median instance's), device, message.
    """
    batches: dict[str, int] = {}
    found = []
    for unit in units:
        outcome = outcomes.get(unit.key)
        if outcome is None:
            continue
        if unit.workload not in batches:
            batches[unit.workload] = len(unit.challenge().batches())
        for place, trial in enumerate(outcome.trials):
            found.append(
                {
                    "ruleset": unit.ruleset,
                    "submission": unit.submission,
                    "study": unit.study,
                    "workload": unit.workload,
                    "kind": unit.kind,
                    "trial": place,
                    "hyperparameters": json.dumps(trial.point),
                    **{measure: getattr(trial, measure) for measure in MEASURES},
                    "spent_seconds": trial.spent,
                    "spent_epochs": trial.trained,
                    "spent_evaluations": trial.trained * batches[unit.workload],
                    "nearest": trial.nearest,
                    "device": outcome.device,
                    "message": outcome.message,
                }
            )
    return pd.DataFrame(found)


def comparable(table: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """What of an unfinished tournament's table can be scored: what every submission of a ruleset has been given.

    A submission that has not come to a workload or a study yet has not missed it.  So by ruleset: the workloads with a
    study that all submissions have done, and as many of these studies as the workload with the fewest has.  Held-out
    variants wait for their base.  Of a finished tournament that is the whole table.
    """
    if table.empty:
        return table
    bases = [workload.name for workload in spec.workloads if workload.kind == "base"]
    owner = {workload.name: base_of(workload.name, bases) for workload in spec.workloads}
    parts = []
    for _, part in table.groupby("ruleset", sort=False):
        entrants = part.groupby(["workload", "study"]).submission.nunique()
        done = entrants[entrants == len(spec.submissions)].reset_index()
        done = done[done.workload.map(owner).isin(set(done.workload))]
        fewest = done.groupby("workload").size().min()
        cells = done[done.groupby("workload").cumcount() < fewest]
        parts.append(part.merge(cells[["workload", "study"]], on=["workload", "study"]))
    return pd.concat(parts, ignore_index=True)


def timed(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A tournament's table as `scores` takes it, with times in `measure`."""
    if measure not in MEASURES:
        raise ValueError(f"measure = {measure!r} is not known: it must be one of {', '.join(MEASURES)}.")
    return table.rename(columns={measure: "time_s"})
