"""A tournament from its first unit to its last, wherever they are trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from explorer.tournament.scoring import Scores, scores
from explorer.tournament.spec import Spec
from explorer.tournament.store import Store
from explorer.tournament.training import train
from explorer.tournament.units import Outcome, Unit

MEASURES = ("seconds", "epochs", "evaluations")
"""How time is counted: on the device, in passes over the training samples, in gradients."""

Player = Callable[[Sequence[Unit]], Iterable[tuple[Unit, Outcome]]]
"""Trains units, in whatever order, and hands each over with its outcome as soon as it has one."""


def here(device: str = "auto", interrupted: Callable[[], bool] = lambda: False) -> Player:
    """A player in this process: one unit after the other.  It ends early, without a word, if `interrupted()`."""

    def play(units: Sequence[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        for unit in units:
            outcome = train(unit, device, interrupted)
            if outcome is None:
                return
            yield unit, outcome

    return play


def kept(player: Player, store: Store) -> Player:
    """A player that first hands over what `store` has, and puts there what it trains before handing that over."""

    def play(units: Sequence[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        known = store.get(units)
        yield from ((unit, known[unit.key]) for unit in units if unit.key in known)
        for unit, outcome in player([unit for unit in units if unit.key not in known]):
            store.add(unit, outcome)
            yield unit, outcome

    return play


class Tournament:
    """A spec and the store of its outcomes.  What the store has is not done again, so stopping is safe at any time.

    >>> tournament = Tournament(spec.load("race.toml"), Store("race.sqlite"))  # doctest: +SKIP
    >>> for unit, outcome in tournament.play():  # doctest: +SKIP
    ...     print(unit.title, outcome.seconds)
    >>> tournament.scores().benchmark  # doctest: +SKIP
    """

    def __init__(self, spec: Spec, store: Store) -> None:
        self.spec, self._store = spec, store
        self.units = spec.units()
        self.outcomes = store.get(self.units)

    @property
    def pending(self) -> list[Unit]:
        """The units without an outcome, in their order."""
        return [unit for unit in self.units if unit.key not in self.outcomes]

    def play(self, player: Player | None = None) -> Iterator[tuple[Unit, Outcome]]:
        """Train what is pending; every outcome is in the store before it is handed over."""
        for unit, outcome in kept(player or here(), self._store)(self.pending):
            self.outcomes[unit.key] = outcome
            yield unit, outcome

    def table(self) -> pd.DataFrame:
        """One row a trial: what `scores` takes, with times in all three measures.

        Columns: ruleset, submission, study, workload, kind, trial, hyperparameters (JSON), seconds, epochs,
        evaluations (infinite for a miss), nearest (best validation loss over the target, the median instance's),
        trained (epochs), device, message.
        """
        rows = [
            {
                "ruleset": unit.ruleset,
                "submission": unit.submission,
                "study": unit.study,
                "workload": unit.workload,
                "kind": unit.kind,
                "trial": place,
                "hyperparameters": json.dumps(trial.point),
                **{measure: getattr(trial, measure) for measure in MEASURES},
                "nearest": trial.nearest,
                "trained": trial.trained,
                "device": outcome.device,
                "message": outcome.message,
            }
            for unit in self.units
            if (outcome := self.outcomes.get(unit.key)) is not None
            for place, trial in enumerate(outcome.trials)
        ]
        return pd.DataFrame(rows)

    def scores(self, measure: str = "seconds") -> Scores:
        """The scores of the outcomes so far, by one of `MEASURES`; `ValueError` if there is none yet."""
        return scores(timed(self.table(), measure), self.spec.baseline)

    def estimate(self, device: str = "auto") -> float:
        """Seconds that the pending units take at most, one after the other, going by a second epoch of each kind."""
        seconds: dict[tuple[str, int], float] = {}
        for unit in self.pending:
            kind = (unit.workload, len(unit.points))
            if kind not in seconds:
                outcome = train(replace(unit, targets=(), max_epochs=2), device)
                seconds[kind] = float(np.diff(outcome.clock, prepend=0.0)[-1]) if outcome and outcome.clock else 0.0
        return sum(unit.max_epochs * seconds[unit.workload, len(unit.points)] for unit in self.pending)

    def left(self) -> float:
        """Seconds that the pending units will take, one after the other, going by those of their workload, else all."""
        taken: dict[str, list[float]] = {}
        for unit in self.units:
            if unit.key in self.outcomes:
                taken.setdefault(unit.workload, []).append(self.outcomes[unit.key].seconds)
        every = [seconds for listed in taken.values() for seconds in listed]
        return float(sum(np.mean(taken.get(unit.workload, every or [np.nan])) for unit in self.pending))


def timed(table: pd.DataFrame, measure: str) -> pd.DataFrame:
    """A tournament's table as `scores` takes it, with times in `measure`."""
    if measure not in MEASURES:
        raise ValueError(f"measure = {measure!r} is not known: it must be one of {', '.join(MEASURES)}.")
    return table.rename(columns={measure: "time_s"})
