"""A tournament that is valid, the fleets it takes, and the plain values that make it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from explorer.tournament.rulesets import Ruleset, Space
from explorer.tournament.units import Entry, Unit
from explorer.tournament.workloads import Workload


@dataclass(frozen=True)
class Submission:
    """An entrant.  space: what external tuning draws from, empty for the ruleset's own."""

    name: str
    entry: Entry
    space: Space


@dataclass(frozen=True)
class Spec:
    """A tournament, valid.  max_epochs: of a run under external tuning.  baseline: the submission that speed-ups
    refer to; empty for none."""

    name: str
    submissions: tuple[Submission, ...]
    workloads: tuple[Workload, ...]
    rulesets: tuple[Ruleset, ...]
    baseline: str
    max_epochs: int
    precision: str

    @cached_property
    def key(self) -> str:
        """A name for all that it is, as a unit has one: the same spec, the same tournament."""
        keys = [unit.key for unit in self.units()]
        return hashlib.sha256(json.dumps([self.name, self.baseline, keys]).encode()).hexdigest()[:32]

    @property
    def plugins(self) -> list[str]:
        """The submissions that are files of somebody's own: to read such a spec is to run them."""
        return [submission.name for submission in self.submissions if submission.entry.plugin]

    def units(self) -> list[Unit]:
        """All there is to do, study by study, so that a tournament that is cut short is not lopsided."""
        return list(self._units())

    def told(self) -> dict[str, Any]:
        """Plain values that `parse` makes this spec of, here or after other targets have been stored."""
        return {
            "name": self.name,
            "baseline": self.baseline,
            "max_epochs": self.max_epochs,
            "precision": self.precision,
            "rulesets": [ruleset.key for ruleset in self.rulesets],
            **{ruleset.key: ruleset.values for ruleset in self.rulesets},
            "submissions": [_submission(submission) for submission in self.submissions],
            "workloads": [
                {
                    "name": workload.name,
                    "kind": workload.kind,
                    "settings": dict(workload.settings),
                    "instances": list(workload.instances),
                    "targets": list(workload.targets),
                }
                for workload in self.workloads
            ],
        }

    def _units(self) -> Iterator[Unit]:
        made = {submission.name: submission.entry.create() for submission in self.submissions}
        for study in range(max(ruleset.studies for ruleset in self.rulesets)):
            for ruleset in (ruleset for ruleset in self.rulesets if study < ruleset.studies):
                points = {
                    submission.name: ruleset.points(type(made[submission.name]), submission.space, study)
                    for submission in self.submissions
                }
                for workload in self.workloads:
                    for submission in self.submissions:
                        yield Unit(
                            ruleset=ruleset.key,
                            submission=submission.name,
                            study=study,
                            workload=workload.name,
                            kind=workload.kind,
                            entry=submission.entry.whole(made[submission.name], points[submission.name]),
                            points=points[submission.name],
                            settings=workload.settings,
                            seeds=workload.seeds(study),
                            targets=workload.targets,
                            max_epochs=ruleset.epochs(self.max_epochs),
                            precision=self.precision,
                        )


def _submission(submission: Submission) -> dict[str, Any]:
    entry = submission.entry
    return {
        "name": submission.name,
        **({"plugin": entry.plugin} if entry.plugin else {"optimizer": entry.optimizer}),
        "modify": list(entry.modify),
        "set": dict(entry.settings or {}),
        "space": {name: list(ends) for name, ends in submission.space.items()},
    }
