"""A tournament from its first unit to its last, wherever they are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import pandas as pd

from explorer.tournament import estimate
from explorer.tournament.estimate import Cost, Kind
from explorer.tournament.outcomes import comparable, rows, timed
from explorer.tournament.plan import Spec
from explorer.tournament.scoring import Scores, scores
from explorer.tournament.store import Store
from explorer.tournament.training import described, train
from explorer.tournament.units import Outcome, Unit

Player = Callable[[Sequence[Unit]], Iterable[tuple[Unit, Outcome]]]
"""Trains units, in whatever order, and hands each over with its outcome as soon as it has one."""


def here(
    device: str = "auto",
    interrupted: Callable[[], bool] = lambda: False,
    before_epoch: Callable[[Unit, int], object] = lambda unit, epoch: None,
) -> Player:
    """A player in this process: one unit after the other.  It ends early, without a word, if `interrupted()`.

    before_epoch: told of the unit in hand and its next epoch; as long as it takes, nothing is trained.
    """

    def play(units: Sequence[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        for unit in units:
            outcome = train(unit, device, interrupted, lambda epoch, unit=unit: before_epoch(unit, epoch))
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

    >>> tournament = Tournament(spec.load("race.toml"), Store())  # doctest: +SKIP
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
        """Train what is pending; every outcome is in the store before it is handed over, and the tournament with it."""
        self._store.hold(self.spec.key, self.spec.name, self.spec.told(), self.units)
        for unit, outcome in kept(player or here(), self._store)(self.pending):
            self.outcomes[unit.key] = outcome
            yield unit, outcome

    def refresh(self) -> bool:
        """Take in what others, another process or a cluster, have put into the store; whether there was anything."""
        fresh = self._store.get(self.pending)
        self.outcomes |= fresh
        return bool(fresh)

    def table(self) -> pd.DataFrame:
        """One row a trial of every outcome so far, as `outcomes.rows` has them."""
        return rows(self.units, self.outcomes)

    def comparable(self) -> pd.DataFrame:
        """The rows of the table that can be scored: as much as every submission has been given."""
        return comparable(self.table(), self.spec)

    def scores(self, measure: str = "seconds") -> Scores | None:
        """The scores so far, by one of `MEASURES`; None while there is nothing that all submissions have done."""
        table = self.comparable()
        return None if table.empty else scores(timed(table, measure), self.spec.baseline)

    def costs(self, device: str = "auto") -> dict[Kind, Cost]:
        """What fleets cost that have ended on such a device, by their kind."""
        return estimate.costs(self.units, self.outcomes, described(device))

    def at_most(self, device: str = "auto") -> float:
        """Seconds that the pending units take at most, one after the other: measured now, where the store has no fleets
        of their kind."""
        known = self.costs(device)
        known |= dict(estimate.calibrate(estimate.samples(self.pending, known), device))
        return estimate.at_most(self.pending, known)

    def left(self) -> float:
        """Seconds that the pending units will take if they end as early as those before them; NaN if none has ended."""
        return estimate.likely(self.units, self.outcomes)
