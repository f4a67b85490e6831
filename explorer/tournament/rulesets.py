"""How a submission may be tuned: by five trials from a space, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log2
from typing import ClassVar

import numpy as np
import param

from explorer.base.declared import Declared, Log
from explorer.optimizers import Optimizer

Space = Mapping[str, tuple[float, float]]
"""Lowest and highest value of each hyperparameter that is tuned."""
Point = dict[str, float]


class Ruleset(Declared):
    """What both rulesets share."""

    key: ClassVar[str]

    studies = param.Integer(3, bounds=(1, 999), doc="Independent studies, of which the median counts.")

    def points(self, optimizer: type[Optimizer], space: Space, study: int) -> tuple[Point, ...]:
        """The hyperparameters that `study`'s trials change, one entry a trial."""
        raise NotImplementedError

    def epochs(self, max_epochs: int) -> int:
        """The budget of a run in epochs, where `max_epochs` is what external tuning gives."""
        raise NotImplementedError


class External(Ruleset):
    """External tuning: in each study a few trials, drawn quasi-randomly from one space for all workloads."""

    key = "external"

    trials = param.Integer(5, bounds=(1, 999), doc="Trials a study, the fastest of which counts.")
    span = Log(10.0, bounds=(1, 1e6), doc="A space that is not given: rates from 1/span to span times their defaults.")

    def points(self, optimizer, space, study):
        space = space or self.space(optimizer)
        return sobol(optimizer, space, self.trials, study) if space else ({},)

    def epochs(self, max_epochs):
        return max_epochs

    def space(self, optimizer: type[Optimizer]) -> Space:
        """The space of an optimizer that gives none: its learning rates around their defaults, if it has any."""
        found = {}
        for name in (name for name in optimizer.rates if name in optimizer.fields()):
            default, bounds = optimizer.fields()[name].default, optimizer.fields()[name].bounds
            found[name] = (max(default / self.span, bounds[0]), min(default * self.span, bounds[1]))
        return found


class SelfTuning(Ruleset):
    """Self-tuning: one trial with the optimizer's own settings, whatever the workload, and a longer budget."""

    key = "self_tuning"

    budget = param.Number(1.5, bounds=(1, 100), doc="Epochs over those of external tuning.")

    def points(self, optimizer, space, study):
        return ({},)

    def epochs(self, max_epochs):
        return ceil(self.budget * max_epochs)


RULESETS: dict[str, type[Ruleset]] = {ruleset.key: ruleset for ruleset in (External, SelfTuning)}


def sobol(optimizer: type[Optimizer], space: Space, trials: int, study: int) -> tuple[Point, ...]:
    """`trials` points of a scrambled Sobol sequence in `space`, another one for each study, the same on every machine.

    A field whose scale is logarithmic is drawn so; the others evenly.  Optimizers with as many dimensions get the same
    points of the unit cube, on all workloads.

    Source: Owen: Scrambling Sobol' and Niederreiter–Xing points, Journal of Complexity 14, 1998; `scipy.stats.qmc`.
    """
    from scipy.stats import qmc  # takes most of a second to import

    cube = qmc.Sobol(len(space), rng=np.random.default_rng(study)).random_base2(ceil(log2(trials)))[:trials]
    declared = optimizer.fields()

    def value(name: str, u: float) -> float:
        low, high = space[name]
        return low * (high / low) ** u if isinstance(declared[name], Log) else low + (high - low) * u

    return tuple({name: float(value(name, u)) for name, u in zip(space, row.tolist(), strict=True)} for row in cube)
