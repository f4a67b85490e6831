"""The unit of work: one fleet, described by plain values, and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from explorer import optimizers
from explorer.optimizers import Optimizer
from explorer.tournament.rulesets import Point
from explorer.tournament.workloads import Heat, heat


@dataclass(frozen=True)
class Entry:
    """An optimizer as plain values: a name on the shelf or a plug-in's file, modifiers, fixed hyperparameters."""

    optimizer: str
    plugin: str = ""
    modify: tuple[str, ...] = ()
    settings: Mapping[str, Any] | None = None

    def create(self) -> Optimizer:
        """The optimizer; `ValueError` names what is not allowed."""
        fixed = dict(self.settings or {})
        if self.plugin:
            return optimizers.load(self.plugin, self.modify, **fixed)
        return optimizers.create(self.optimizer, self.modify, **fixed)

    def whole(self, made: Optimizer, points: Sequence[Point]) -> Self:
        """The same, with every hyperparameter of `made` told that `points` leave: another default is other work.

        A plug-in's defaults are in its file, whose content is told already.
        """
        if self.plugin:
            return self
        told = {name for point in points for name in point}
        return replace(self, settings={name: value for name, value in made.values.items() if name not in told})


@dataclass(frozen=True)
class Unit:
    """One fleet: a submission's trials in one study on one workload, on all instances at once.

    points: the hyperparameters of each trial, over the entry's.  settings: of the challenge, as a `Workload` has them.
    seeds: one an instance.  targets: validation losses, one a seed; empty to train every run to its end.
    """

    ruleset: str
    submission: str
    study: int
    workload: str
    kind: str
    entry: Entry
    points: tuple[Point, ...]
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    targets: tuple[float, ...]
    max_epochs: int
    precision: str = "float32"

    @cached_property
    def key(self) -> str:
        """A name for all that the outcome depends on, the code apart: equal keys, equal work."""
        content = Path(self.entry.plugin).read_bytes() if self.entry.plugin else b""
        told = asdict(self)
        del told["entry"]["plugin"]  # where the file lies is nobody's business, what it holds is
        text = json.dumps(told, sort_keys=True)
        return hashlib.sha256(text.encode() + content).hexdigest()[:32]

    @property
    def title(self) -> str:
        """For a line of progress."""
        return f"{self.submission} on {self.workload}, {self.ruleset}, study {self.study}"

    def challenge(self) -> Heat:
        """What the fleet learns."""
        return heat(self.settings, self.max_epochs)

    def optimizer(self) -> Optimizer:
        """The optimizer, one run a point."""
        return jointly(self.entry.create(), self.points)


@dataclass(frozen=True)
class Trial:
    """One trial: times until the median instance reached its target (infinite if it did not), and how near it came.

    Of an even number of instances the later of the two in the middle is the median one.

    seconds: of the device, for the whole fleet, evaluation taken off.  epochs, evaluations: passes over the training
    samples, and gradients, both of one run.  nearest: median over instances of the best validation loss over the
    target; at most 1 where the target was reached.  trained, spent: epochs, and seconds, until a trial of the fleet
    reached its target or this trial's last run ended; the time of a miss is longer.
    """

    point: Point
    seconds: float
    epochs: float
    evaluations: float
    nearest: float
    trained: int
    spent: float
    best: tuple[float, ...]
    """The best validation loss on each instance, infinite where there is none."""


@dataclass(frozen=True)
class Outcome:
    """What came of a unit.

    trials: one a point.  losses: validation losses `[trial][instance][epoch]`, six digits, None after a run's end.
    clock: seconds at the end of each epoch, evaluation taken off.  seconds: wall time of training, evaluation included.
    device: in words.  message: a sentence where something went wrong.
    """

    trials: tuple[Trial, ...]
    losses: list[list[list[float | None]]]
    clock: list[float]
    seconds: float
    device: str
    message: str = ""

    def to_json(self) -> tuple[str, str]:
        """What a table needs, and the curves, apart: these are long."""
        told = asdict(self)
        curves = {name: told.pop(name) for name in ("losses", "clock")}
        return json.dumps(told), json.dumps(curves)

    @classmethod
    def from_json(cls, told: str, curves: str = '{"losses": [], "clock": []}') -> Self:
        """The way back; without its curves, if they are not given."""
        values = json.loads(told) | json.loads(curves)
        trials = tuple(Trial(**trial | {"best": tuple(trial["best"])}) for trial in values.pop("trials"))
        return cls(trials=trials, **values)


def jointly(optimizer: Optimizer, points: tuple[Point, ...]) -> Optimizer:
    """The optimizer with one run a point, where a sweep would make one of every combination."""
    plain = optimizer.values

    class Jointly(type(optimizer)):
        def grid(self) -> list[dict[str, Any]]:
            return [plain | point for point in points]

    return Jointly(**plain)
