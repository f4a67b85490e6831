"""The written rule of the targets, against losses that a player makes up."""

from dataclasses import replace

import numpy as np
import pytest
from tournament_tiny import TINY

from explorer import optimizers
from explorer.tournament import Outcome, Trial, Workload, here
from explorer.tournament import targets as rule

WORKLOAD = Workload("u", "base", TINY, (1, 2, 3))
RULE = rule.Rule(instances=3, trials=2, reruns=4, max_epochs=5)


def outcome(unit, best):
    trials = [
        Trial(point, np.inf, np.inf, np.inf, np.nan, 5, 1.0, tuple(losses))
        for point, losses in zip(unit.points, best, strict=True)
    ]
    return Outcome(tuple(trials), [], [], 1.0, "nowhere")


def test_the_best_classic_is_run_again_and_the_median_counts():
    """By ratio to the least on each instance: heavy ball's second trial has 1, 1.5, 1, so median 1; NAdamW's first, 2,
    1, 1.2; by plain loss NAdamW would win, since the second instance is a hundred times as large."""
    first = {
        "nesterov": [[3, 900, 3], [4, 900, np.inf]],
        "heavy_ball": [[9, 900, 9], [1, 300, 1]],
        "adamw": [[2, 800, 2], [2, 500, 2]],
        "nadamw": [[2, 200, 1.2], [5, 500, 5]],
    }
    again = [[1.0, 310, 1.0], [1.4, 290, 1.1], [1.2, 300, np.inf], [1.3, 330, 0.9]]
    asked = []

    def play(units):
        asked.append(list(units))
        for unit in reversed(units):  # as a cluster might
            yield unit, outcome(unit, first[unit.submission] if unit.study == 1000 else [np.ravel(again)])

    made = rule.make(WORKLOAD, RULE, play)
    tried, reruns = asked
    assert [unit.submission for unit in tried] == ["nesterov", "heavy_ball", "adamw", "nadamw"]
    assert all(len(unit.points) == 2 and unit.targets == () and unit.max_epochs == 5 for unit in tried)
    assert [unit.submission for unit in reruns] == ["heavy_ball"]
    assert reruns[0].points == (tried[1].points[1],)
    # Trials share their starts, re-runs have their own: run by run, all instances of each.
    assert {unit.seeds for unit in tried} == {tuple(1000 * 2**32 + instance for instance in (1, 2, 3))}
    assert reruns[0].seeds == tuple(rerun * 2**32 + instance for rerun in range(1001, 1005) for instance in (1, 2, 3))
    assert made["optimizer"] == "heavy_ball"
    assert made["hyperparameters"] == tried[1].points[1]
    assert made["targets"] == pytest.approx([1.25, 305, 1.05])
    assert made["best_over_least"] == {"nesterov": 3.0, "heavy_ball": 1.0, "adamw": 2.0, "nadamw": 1.2}
    assert made["rule"]["trials"] == 2


def test_another_default_is_another_trial(monkeypatch):
    before = [unit.key for unit in rule.trials(WORKLOAD, RULE)]
    monkeypatch.setattr(optimizers.get("nesterov").param["momentum"], "default", 0.8)  # heavy ball's as well
    assert [a == b for a, b in zip(before, (unit.key for unit in rule.trials(WORKLOAD, RULE)), strict=True)] == [
        name not in ("nesterov", "heavy_ball") for name in rule.CLASSICS
    ]


def test_fewer_instances_are_the_first_ones():
    def play(units):
        for unit in units:
            assert {seed % 2**32 for seed in unit.seeds} == {1}
            yield unit, outcome(unit, [[1.0] * len(unit.seeds)] * len(unit.points))

    made = rule.make(WORKLOAD, replace(RULE, instances=1), play)
    assert (made["instances"], made["targets"]) == ([1], [1.0])


def test_targets_are_made_by_training():
    """The same twice, and about what the best classic reaches."""
    small = replace(RULE, trials=1, reruns=3, max_epochs=4)
    made = rule.make(WORKLOAD, small, here("cpu"))
    assert made == rule.make(WORKLOAD, small, here("cpu"))
    assert all(0.05 < target < 5 for target in made["targets"])
