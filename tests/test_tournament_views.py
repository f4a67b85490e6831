"""What the tournament's plots are given, against numbers worked out by hand."""

import holoviews as hv
import numpy as np
import pandas as pd
import pytest

from explorer.views import tournament as view
from explorer.views.race import LOOKS
from explorer.views.tournament_curves import Curve, curve_columns, curves, nearest
from explorer.views.tournament_times import STRIP, strip, strip_columns

INF = float("inf")


def test_a_profile_has_its_corners_where_the_ratios_are():
    """Of four workloads one is won, one reached in twice the time, one in exactly four times, one missed."""
    xs, ys = view.steps([2.0, INF, 1.0, 4.0])
    assert xs == [1, 2, 2, 4, 4, 4]
    assert ys == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75]
    assert view.steps([INF, 5.0]) == ([1, 4], [0, 0])
    assert view.steps([1.0, 1.0]) == ([1, 4], [1, 1])


def test_the_area_under_a_profile_is_the_exact_score():
    ratios = np.random.default_rng(0).uniform(1, 6, 12)
    xs, ys = view.steps(ratios)
    assert np.trapezoid(ys, xs) / 3 == pytest.approx(np.clip(4 - ratios, 0, None).mean() / 3)


def test_every_submission_has_a_look_of_its_own():
    assert [view.look(place) for place in range(8)] == list(LOOKS)
    assert len({view.look(place)[:2] for place in range(32)}) == 32


TRIALS = pd.DataFrame(
    [
        ("a", 0, 0, 20.0, 20), ("a", 0, 1, INF, 90), ("a", 1, 0, 40.0, 50), ("a", 1, 1, 60.0, 60),
        ("b", 0, 0, INF, 100), ("b", 0, 1, INF, 30), ("b", 1, 0, 10.0, 10), ("b", 1, 1, INF, 100),
    ],
    columns=["submission", "study", "trial", "epochs", "spent_epochs"],
)  # fmt: skip


def test_a_miss_is_drawn_where_it_ended_and_points_on():
    drawn = strip_columns(TRIALS, "epochs", {"a": 0, "b": 1})
    columns = drawn.columns
    assert sorted(columns["reached"]["x"]) == [10, 20, 40, 60]
    assert sorted(columns["missed"]["x"]) == [30, 90, 100, 100]
    # A whole study was missed by b alone: both of its trials count, and their lines go on to the axis' end.
    assert sorted(columns["beyond"]["x"]) == [30, 100]
    assert set(columns["beyond"]["end"]) == {drawn.end}
    assert drawn.end > 100
    assert drawn.start < 10
    assert drawn.labels == {1.0: "a", 0.0: "b"}
    sizes = dict(zip(columns["reached"]["x"], columns["reached"]["size"], strict=True))
    assert sizes[20] == sizes[40] == sizes[10] > sizes[60]
    assert "study 0, trial 1: missed, over 30" in columns["missed"]["text"]
    # Its study ended with another trial that reached the target.
    assert "study 0, trial 1: not there when the study’s best was, over 90" in columns["missed"]["text"]


def test_medians_and_the_fastest_are_those_of_the_scores():
    columns = strip_columns(TRIALS, "epochs", {"a": 0, "b": 1}).columns
    assert columns["medians"]["x"] == [30]  # of a: 20 and 40; of b: one study of two missed
    assert columns["lines"]["x"] == [30, 120]
    half = strip_columns(TRIALS[TRIALS.study == 0], "epochs", {"a": 0, "b": 1}).columns
    assert half["medians"]["x"] == [20]
    partly = strip_columns(TRIALS[(TRIALS.submission == "a") | (TRIALS.study == 1)], "epochs", {"a": 0, "b": 1}).columns
    assert partly["medians"]["x"] == [30]  # b has not done its other study
    assert strip_columns(TRIALS.iloc[:0], "epochs", {"a": 0}).columns["lines"]["x"] == []


def test_a_trials_curve_meets_its_target_when_the_median_instance_does():
    losses = [[4.0, 1.0, 0.5, 0.7], [9.0, 6.0, 8.0, 3.0], [2.0, 5.0, None, None]]
    targets = [1.0, 3.0, 1.0]
    # Best so far over the target: 4, 1, ½, ½; 3, 2, 2, 1; 2, 2, 2, 2.
    np.testing.assert_allclose(nearest(losses, targets), [3, 2, 2, 1])
    np.testing.assert_allclose(nearest(losses[:2], targets[:2]), [4, 2, 2, 1])  # of two, both
    assert nearest([], []).size == 0


def test_a_cells_curves_end_where_it_was_reached_or_left():
    hit = Curve(0, 0, "lr 0.1", [[2.0, 1.0, 0.4]], [5.0, 6.0, 7.0], 6.0, True)
    miss = Curve(2, 1, "lr 9", [[3.0, 2.0, None]], [5.0, 6.0, 7.0], INF, False)
    lost = Curve(1, 0, "lr 99", [[None, None, None]], [5.0, 6.0, 7.0], INF, True)
    columns = curve_columns([hit, miss, lost], [1.0])
    assert (columns["hit"]["x"], columns["hit"]["y"]) == ([6.0], [1.0])
    assert columns["miss"]["x"] == [7.0, 7.0]
    assert columns["miss"]["y"][0] == 2.0
    assert columns["lines"]["text"] == [
        "study 0, trial 0, lr 0.1: reached at 6",
        "study 2, trial 1, lr 9: missed, 2.00 × the target",
        "study 1, trial 0, lr 99: diverged",
    ]
    assert columns["lines"]["width"][0] > columns["lines"]["width"][1]
    assert columns["lines"]["color"][0] != columns["lines"]["color"][1]


@pytest.mark.parametrize(
    ("make", "roles"), [(view.profiles, ["profiles"]), (strip, STRIP), (curves, ["lines", "hit", "miss"])]
)
def test_each_plot_hands_over_a_data_source_that_lacks_no_column(make, roles):
    sources = {}

    def hook(role):
        return lambda plot, element: sources.update({role: (plot.handles.get("cds"), plot.handles.get("glyph"))})

    hv.renderer("bokeh").get_plot(make({role: hook(role) for role in [*roles, "figure"]}))
    assert set(sources) == {*roles, "figure"}
    for role in roles:
        source, glyph = sources[role]
        assert all(not len(values) for values in source.data.values())
        told = {spec.field for spec in glyph.properties_with_values().values() if hasattr(spec, "field")}
        assert told <= set(source.data)
