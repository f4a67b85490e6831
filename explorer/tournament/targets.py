"""What a workload asks for: the validation losses that a well-tuned classic reaches, by a written rule.

1. SGD with Nesterov's momentum, heavy ball, AdamW and NAdamW each get the same number of trials, drawn as under
   external tuning from spaces of their own, on every instance, and train to their end.
2. A trial's best validation loss on an instance is divided by the least that any trial reached there, since instances
   differ tenfold.  The trial with the least median over instances is the best.
3. The best trial is run again, 20 times an instance, with other starts and orders of batches.
4. An instance's target is the median of these runs' best validation losses.

A workload is reached when the median instance is.  `targets.json` keeps the targets with the settings that made them;
`explorer targets` makes them anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from explorer import optimizers
from explorer.tournament.rulesets import External, Point, Space
from explorer.tournament.units import Entry, Outcome, Unit
from explorer.tournament.workloads import INSTANCES, Workload

FILE = Path(__file__).parent / "targets.json"
CLASSICS: dict[str, Space] = {
    "nesterov": {"lr": (3e-5, 3e-3)},
    "heavy_ball": {"lr": (5e-5, 5e-3)},
    "adamw": {"lr": (3e-4, 3e-2)},
    "nadamw": {"lr": (1e-4, 1e-2)},
}
"""Written out, so that a target does not move when somebody finds a better default rate."""
FIRST_RERUN = 1000
"""Of the runs that targets are made of; studies count from 0 and never come so far."""

Play = Callable[[list[Unit]], Iterable[tuple[Unit, Outcome]]]


@dataclass(frozen=True)
class Rule:
    """The constants of the rule.  trials: of each classic.  reruns: of the best one, on each instance."""

    instances: int = INSTANCES
    trials: int = 5
    reruns: int = 20
    max_epochs: int = 200
    precision: str = "float32"


def stored(file: Path = FILE) -> dict[str, dict[str, Any]]:
    """The entries of a file of targets, by workload; none where there is no file."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def store(name: str, entry: dict[str, Any], file: Path = FILE) -> None:
    """Put an entry, as `make` returns it, into a file of targets."""
    entries = dict(sorted((stored(file) | {name: entry}).items()))
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items())
    file.write_text("{\n" + lines + "\n}\n", encoding="utf-8")


def with_targets(workload: Workload, instances: int | None = None, file: Path = FILE) -> Workload:
    """`workload` with its stored targets, of the first `instances`, or of all that are stored.

    `ValueError` where there are none or too few, or they were made with other settings.
    """
    entry = stored(file).get(workload.name)
    again = f"make them with: explorer targets {workload.name}"
    if entry is None:
        raise ValueError(f"workload = {workload.name!r} has no stored targets; {again}.")
    count = len(entry["instances"]) if instances is None else instances
    if count > len(entry["instances"]):
        raise ValueError(
            f"instances = {count} is not allowed with workload = {workload.name!r}, which has targets for "
            f"{len(entry['instances'])}; {again} --instances {count}."
        )
    first = workload.instances[:count]
    if entry["settings"] != dict(workload.settings) or tuple(entry["instances"][:count]) != first:
        raise ValueError(f"workload = {workload.name!r} has targets of other settings or instances; {again}.")
    return replace(workload, instances=first, targets=tuple(entry["targets"][:count]))


def make(workload: Workload, rule: Rule, play: Play) -> dict[str, Any]:
    """The targets of `workload`, as an entry of `targets.json`.  play: trains units, in whatever order."""
    workload = replace(workload, instances=workload.instances[: rule.instances])
    tried = []
    for unit, outcome in play(trials(workload, rule)):
        tried += [(unit.submission, trial.point, np.array(trial.best)) for trial in outcome.trials]
    # By name and point, so that whichever unit came first changes nothing.
    tried.sort(key=lambda one: (list(CLASSICS).index(one[0]), sorted(one[1].items())))
    least = np.min([best for *_, best in tried], axis=0)
    scores = [float(np.median(best / least)) for *_, best in tried]
    name, point, _ = tried[int(np.argmin(scores))]
    (again,) = (trial for _, outcome in play([reruns(workload, rule, name, point)]) for trial in outcome.trials)
    runs = np.array(again.best).reshape(rule.reruns, -1)
    by_classic = {
        classic: min(score for score, (tried_name, *_) in zip(scores, tried, strict=True) if tried_name == classic)
        for classic in CLASSICS
    }
    return {
        "settings": dict(workload.settings),
        "instances": list(workload.instances),
        "targets": [float(f"{target:.6g}") for target in np.median(runs, axis=0)],
        "optimizer": name,
        "hyperparameters": point,
        "best_over_least": {classic: round(score, 4) for classic, score in by_classic.items()},
        "rule": asdict(rule),
        "torch": torch.__version__,
    }


def trials(workload: Workload, rule: Rule) -> list[Unit]:
    """One fleet a classic: its trials on every instance."""
    ruleset = External(trials=rule.trials)
    drawn = {name: ruleset.points(optimizers.get(name), space, 0) for name, space in CLASSICS.items()}
    return [_unit(workload, rule, name, points, [FIRST_RERUN]) for name, points in drawn.items()]


def reruns(workload: Workload, rule: Rule, name: str, point: Point) -> Unit:
    """All re-runs of the best trial on every instance, as one fleet: `[reruns × instances]` seeds."""
    first = FIRST_RERUN + 1
    return _unit(workload, rule, name, (point,), range(first, first + rule.reruns))


def _unit(workload: Workload, rule: Rule, name: str, points: tuple[Point, ...], which: Sequence[int]) -> Unit:
    return Unit(
        ruleset="targets",
        submission=name,
        study=which[0],
        workload=workload.name,
        kind=workload.kind,
        entry=Entry(name).whole(optimizers.create(name), points),
        points=points,
        settings=workload.settings,
        seeds=tuple(seed for rerun in which for seed in workload.seeds(rerun)),
        targets=(),
        max_epochs=rule.max_epochs,
        precision=rule.precision,
    )
