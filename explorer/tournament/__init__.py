"""Which optimizer is better: time to a target over many workloads, as AlgoPerf scores it.

A `Spec` names entrants, workloads, rulesets and budget; its `Unit`s, one fleet each, are trained by a player (`here`,
or a Dask cluster's in `cluster`); their `Outcome`s go to a `Store` and are scored.
"""

from explorer.tournament.outcomes import MEASURES, comparable, timed
from explorer.tournament.plan import Spec, Submission
from explorer.tournament.runner import Player, Tournament, here, kept
from explorer.tournament.scoring import Scores, intervals, scores
from explorer.tournament.spec import load, parse
from explorer.tournament.store import Held, Store
from explorer.tournament.training import described, train
from explorer.tournament.units import Entry, Outcome, Trial, Unit
from explorer.tournament.workloads import Workload, named, names

__all__ = [
    "MEASURES",
    "Entry",
    "Held",
    "Outcome",
    "Player",
    "Scores",
    "Spec",
    "Store",
    "Submission",
    "Tournament",
    "Trial",
    "Unit",
    "Workload",
    "comparable",
    "described",
    "here",
    "intervals",
    "kept",
    "load",
    "named",
    "names",
    "parse",
    "scores",
    "timed",
    "train",
]
