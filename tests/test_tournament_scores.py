"""The rules of the tournament's scores, each against numbers worked out by hand."""

import doctest

import numpy as np
import pandas as pd
import pytest

import explorer as ex
from explorer.tournament import intervals, scoring

INF = float("inf")
STEP = 1 / 99
"""Of the profile's 100 points from τ = 1 to 4, a share of its width: what the trapezoid rule counts in."""


def table(times, studies=1, ruleset="external", held_out=()):
    """Rows of `{submission: {workload: time or a list of one time a study}}`."""
    rows = []
    for submission, workloads in times.items():
        for workload, values in workloads.items():
            listed = values if isinstance(values, list) else [values] * studies
            kind = "held_out" if workload in held_out else "base"
            rows += [(ruleset, submission, study, workload, kind, time) for study, time in enumerate(listed)]
    return pd.DataFrame(rows, columns=["ruleset", "submission", "study", "workload", "kind", "time_s"])


def benchmark(times, **how):
    return ex.scores(table(times, **how)).benchmark["external"].to_dict()


def at(ratio):
    """The trapezoid's share of a workload at a ratio: 3 (τ − 1) / 99 is where its points lie."""
    points = np.flatnonzero(1 + 3 * np.arange(100) / 99 >= ratio - 1e-12)
    return 1.0 if points[0] == 0 else (99 - points[0] + 0.5) * STEP


def test_a_table_worked_out_by_hand():
    """Three submissions, four workloads, one variant, three studies; every number below is from paper."""
    times = {
        "a": {"u": [10, 12, 11], "v": [50, INF, 40], "w": [100, 100, INF], "x": [7, 7, 7], "v_noisy": [30, 30, 30]},
        "b": {"u": [22, 23, 21], "v": [25, 25, 25], "w": [150, INF, INF], "x": [7, 8, 6], "v_noisy": [10, 11, 9]},
        "baseline": {"u": [33, 33, 30], "v": [75, 80, 70], "w": [300, 250, 200], "x": [28, 28, 28], "v_noisy": INF},
    }
    times["baseline"]["v_noisy"] = [20, INF, INF]
    found = ex.scores(table(times, held_out=("v_noisy",)))
    # Medians: u 11, 22, 33; v 50, 25, 75; w 100, ∞, 250; x 7, 7, 28; v_noisy 30, 10, ∞: the baseline loses v.
    # Ratios: u 1, 2, 3; v 2, 1, ∞; w 1, ∞, 2.5; x 1, 1, 4.
    assert found.times.loc[("external", "a")].to_dict() == {"u": 11, "v": 50, "v_noisy": 30, "w": 100, "x": 7}
    assert found.ratios.loc[("external", "baseline")].to_dict() == {"u": 3, "v": INF, "w": 2.5, "x": 4}
    assert "v_noisy" not in found.ratios
    exact = {"a": (3 + 2 + 3 + 3) / 12, "b": (2 + 3 + 0 + 3) / 12, "baseline": (1 + 0 + 1.5 + 0) / 12}
    assert found.exact["external"].to_dict() == pytest.approx(exact, abs=1e-12)
    # By the trapezoid rule a ratio of 2 (a point) counts 66.5/99, 2.5 (between points 49 and 50) 49.5/99, 3 (a point)
    # 33.5/99, and 4 half a step.
    trapezoid = {"a": (99 * 3 + 66.5) / 396, "b": (66.5 + 2 * 99) / 396, "baseline": (33.5 + 49.5 + 0.5) / 396}
    assert found.benchmark["external"].to_dict() == pytest.approx(trapezoid, abs=1e-12)
    assert {name: round(value, 4) for name, value in trapezoid.items()} == {
        "a": 0.9179,
        "b": 0.6679,
        "baseline": 0.2109,
    }
    # a over the baseline: 11/33, 50/75, 100/250, 7/28, the geometric mean of which is (1/45)^(1/4).
    assert found.speedups["external", "a"] == pytest.approx(1 - (1 / 45) ** 0.25, abs=1e-12)
    assert found.speedups["external", "b"] == pytest.approx(1 - (22 / 33 * 25 / 75 * 7 / 28) ** (1 / 3), abs=1e-12)
    assert found.speedups["external", "baseline"] == pytest.approx(0, abs=1e-12)
    rho = found.profiles.loc[("external", "baseline")]
    assert list(rho.index[[0, 33, 99]]) == [1, 2, 4]
    assert list(rho.iloc[[0, 49, 50, 65, 66, 98, 99]]) == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75]


def test_ties_share_the_first_place():
    assert benchmark({"a": {"u": 5, "v": 9}, "b": {"u": 5, "v": 9}}) == {"a": 1, "b": 1}


def test_one_submission_alone_has_full_marks_for_what_it_reaches():
    assert benchmark({"a": {"u": 1234}}) == {"a": 1}
    assert benchmark({"a": {"u": 1234, "v": INF}}) == {"a": 0.5}


def test_a_workload_that_nobody_reaches_still_counts():
    found = ex.scores(table({"a": {"u": 1, "v": INF}, "b": {"u": 2, "v": INF}}))
    assert found.benchmark["external"].to_dict() == pytest.approx({"a": 0.5, "b": at(2) / 2})
    assert found.exact["external", "b"] == pytest.approx(1 / 3)
    assert np.isinf(found.ratios.v).all()


def test_exactly_four_times_counts_and_a_hair_more_does_not():
    hair = np.nextafter(12.0, 13)
    found = ex.scores(table({"a": {"u": 3.0}, "b": {"u": 12.0}, "c": {"u": hair}}))
    assert found.benchmark["external"].to_dict() == pytest.approx({"a": 1, "b": 0.5 * STEP, "c": 0})
    assert found.exact["external"].to_dict() == {"a": 1, "b": 0, "c": 0}
    assert list(found.profiles.loc[("external", "b")].iloc[-2:]) == [0, 1]


@pytest.mark.parametrize(
    ("studies", "median"),
    [([1, 2, 9], 2), ([1, 9], 9), ([1], INF), ([1, 2, INF], 2), ([1, INF, INF], INF)],
)
def test_a_missing_study_is_an_infinite_one(studies, median):
    """The other submission has three, so three are owed."""
    found = ex.scores(table({"a": {"u": studies}, "b": {"u": [4, 5, 6]}}))
    assert found.times.loc[("external", "a"), "u"] == median


def test_a_workload_owes_as_many_studies_as_anybody_has_there():
    """A held-out variant that everybody ran once is not missed by all."""
    rows = table({"a": {"u": [1, 2, 9], "u_noisy": 7}, "b": {"u": [4, 5, 6], "u_noisy": 8}}, held_out=("u_noisy",))
    found = ex.scores(rows)
    assert found.times.u_noisy.tolist() == [7, 8]
    assert found.benchmark["external"].to_dict() == pytest.approx({"a": 1, "b": at(2.5)})
    low, high = intervals(rows).loc[("external", "a")]
    assert 0 < low <= high == 1
    fewer = ex.scores(rows[~((rows.submission == "b") & (rows.study > 0))])
    assert fewer.times.u.tolist() == [2, INF]


def test_with_an_even_number_of_studies_the_median_is_the_middle():
    found = ex.scores(table({"a": {"u": [1, 2]}, "b": {"u": [1, INF]}}))
    assert list(found.times.u) == [1.5, INF]


def test_of_a_studys_trials_the_fastest_counts():
    rows = [table({"a": {"u": [time] * 3}, "b": {"u": [8, 8, 8]}}) for time in (9, 4, INF)]
    assert ex.scores(pd.concat(rows)).benchmark["external"].to_dict() == pytest.approx({"a": 1, "b": at(2)})


def test_a_workload_without_a_row_is_a_miss():
    assert benchmark({"a": {"u": 1, "v": 1}, "b": {"u": 1}}) == {"a": 1, "b": 0.5}


@pytest.mark.parametrize("variant", [{"u_noisy": INF}, {}, {"u_noisy": 41}])
def test_missing_a_variant_or_four_times_its_fastest_loses_the_base(variant):
    times = {"a": {"u": 10, "v": 10, "u_noisy": 10}, "b": {"u": 5, "v": 10} | variant}
    found = ex.scores(table(times, held_out=("u_noisy",)))
    # b was the fastest on u; once it has lost u, a is.
    assert found.benchmark["external"].to_dict() == {"a": 1, "b": 0.5}
    assert np.isinf(found.ratios.loc[("external", "b"), "u"])


def test_four_times_a_variants_fastest_is_still_enough():
    times = {"a": {"u": 10, "u_noisy": 10}, "b": {"u": 10, "u_noisy": 40}}
    assert benchmark(times, held_out=("u_noisy",)) == {"a": 1, "b": 1}


def test_four_times_is_measured_before_a_variant_is_missed():
    """As the competition's scorer has it: c is beyond 4 × the fastest, though that one loses the base afterwards."""
    times = {"a": {"u": 1, "u_noisy": INF}, "b": {"u": 4, "u_noisy": 1}, "c": {"u": 5, "u_noisy": 1}}
    assert benchmark(times, held_out=("u_noisy",)) == {"a": 0, "b": 1, "c": 0}


def test_who_misses_the_base_sets_no_pace_on_its_variant():
    """As the competition's scorer has it: a's time of 1 on the variant does not count, so 5 is the fastest."""
    times = {"a": {"u": INF, "u_noisy": 1}, "b": {"u": 10, "u_noisy": 5}}
    assert benchmark(times, held_out=("u_noisy",)) == {"a": 0, "b": 1}


def test_a_variant_belongs_to_the_longest_base_that_it_begins_with():
    """`tig_10_noise` begins with `tig_1` too."""
    times = {"a": {"tig_1": 1, "tig_10": 1, "tig_10_noise": 1}, "b": {"tig_1": 1, "tig_10": 1, "tig_10_noise": INF}}
    found = ex.scores(table(times, held_out=("tig_10_noise",)))
    assert found.ratios.loc[("external", "b")].to_dict() == {"tig_1": 1, "tig_10": INF}


def test_rulesets_are_scored_by_themselves():
    one = table({"a": {"u": 1}, "b": {"u": 2}})
    other = table({"a": {"v": 300}, "c": {"v": 100}}, ruleset="self_tuning")
    found = ex.scores(pd.concat([one, other]), baseline="b")
    assert found.benchmark.to_dict() == pytest.approx(
        {("external", "a"): 1, ("external", "b"): at(2), ("self_tuning", "a"): at(3), ("self_tuning", "c"): 1}
    )
    assert found.speedups["external", "a"] == pytest.approx(0.5)
    assert found.speedups["self_tuning"].isna().all()
    assert np.isnan(found.times.loc[("external", "a"), "v"])


def test_speedups_are_over_what_both_reach_before_any_rule_on_variants():
    times = {
        "a": {"u": 50, "v": 10, "w": INF, "u_noisy": INF},
        "baseline": {"u": 100, "v": 20, "w": 1, "u_noisy": 1},
        "c": {"u": INF, "v": INF, "w": INF, "u_noisy": 1},
    }
    found = ex.scores(table(times, held_out=("u_noisy",)))
    assert found.speedups["external", "a"] == pytest.approx(0.5)
    assert np.isnan(found.speedups["external", "c"])


def test_order_of_rows_and_further_columns_do_not_matter():
    rng = np.random.default_rng(0)
    times = {name: {load: list(rng.uniform(1, 5, 3)) for load in ("u", "v", "u_x")} for name in ("a", "b", "baseline")}
    rows = table(times, held_out=("u_x",))
    shuffled = rows.sample(frac=1, random_state=1).assign(note="x")
    shuffled["submission"] = shuffled.submission.astype("category")
    first, second = ex.scores(rows), ex.scores(shuffled)
    pd.testing.assert_series_equal(first.benchmark, second.benchmark)
    pd.testing.assert_series_equal(first.speedups, second.speedups)
    pd.testing.assert_frame_equal(first.profiles, second.profiles)


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("time_s", -1.0, r"time_s = -1\.0 is not allowed"),
        ("time_s", 0.0, r"time_s = 0\.0 is not allowed"),
        ("time_s", -INF, "time_s = -inf is not allowed"),
        ("time_s", "soon", "time_s = 'soon' is not allowed"),
        ("kind", "heldout", r"kind = 'heldout' is not allowed \(row 1\): it must be base or held_out"),
        ("kind", "held_out", "kind differs between rows of workload = 'u'"),
        ("workload", 7, r"workload = 7 is not allowed \(row 1\): it must be text"),
        ("submission", None, r"submission = None is not allowed \(row 1\): it must be text"),
        ("study", np.nan, r"study = nan is not allowed \(row 1\)"),
    ],
)
def test_bad_tables_are_refused_by_column_and_value(column, value, sentence):
    rows = table({"a": {"u": [1.0, 2.0]}, "b": {"u": [1.0, 2.0]}}).astype(object)
    rows.loc[1, column] = value
    with pytest.raises(ValueError, match=sentence):
        ex.scores(rows)


def test_what_is_no_table_is_refused():
    rows = table({"a": {"u": 1}})
    with pytest.raises(ValueError, match="kind is not a column of the table"):
        ex.scores(rows.drop(columns="kind"))
    with pytest.raises(ValueError, match="table has no rows"):
        ex.scores(rows.iloc[:0])
    with pytest.raises(ValueError, match="table is a list"):
        ex.scores([1])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"workload = 'w_noisy' is not allowed as held_out: .* u"):
        ex.scores(pd.concat([rows, table({"a": {"w_noisy": 1}}, held_out=("w_noisy",))]))


def test_a_missing_time_is_a_miss():
    rows = table({"a": {"u": 1.0}, "b": {"u": 1.0}})
    rows.loc[1, "time_s"] = np.nan
    assert ex.scores(rows).benchmark["external"].to_dict() == {"a": 1, "b": 0}


def test_intervals_hold_what_all_studies_agree_on_and_open_where_they_differ():
    sure = table({"a": {"u": [1, 1, 1]}, "b": {"u": [2, 2, 2]}})
    found = intervals(sure, resamples=50)
    assert found.loc[("external", "b")].tolist() == pytest.approx([at(2), at(2)])
    # b's median is 2 unless at least two of three draws are the slow study, 7 of 27 draws.
    unsure = table({"a": {"u": [1, 1, 1]}, "b": {"u": [2, 2, 8]}})
    half = intervals(unsure, level=2 * (0.5 - 0.20), resamples=400).loc[("external", "b")]
    assert half.tolist() == pytest.approx([0, at(2)])
    most = intervals(unsure, level=2 * (0.5 - 0.32), resamples=400).loc[("external", "b")]
    assert most.tolist() == pytest.approx([at(2), at(2)])


def test_the_example_is_right():
    assert doctest.testmod(scoring).failed == 0
