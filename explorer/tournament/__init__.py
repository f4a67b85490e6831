"""Which optimizer is better: time to a target over many workloads, as AlgoPerf scores it.

A `Spec` names entrants, workloads, rulesets and budget; its `Unit`s, one fleet each, are trained by a player (`here`,
or a Dask cluster's in `cluster`); their `Outcome`s go to a `Store` and are scored.
"""

from explorer.tournament.runner import MEASURES, Player, Tournament, here, kept, timed
from explorer.tournament.scoring import Scores, intervals, scores
from explorer.tournament.spec import Spec, Submission, load, parse
from explorer.tournament.store import Store
from explorer.tournament.training import train
from explorer.tournament.units import Entry, Outcome, Trial, Unit
from explorer.tournament.workloads import Workload, named, names

__all__ = [
    "MEASURES",
    "Entry",
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
