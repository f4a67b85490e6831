"""The sweep view: its numbers computed another way, its elements and its panel without a server."""

from itertools import product
from types import SimpleNamespace

import holoviews as hv
import numpy as np
import pytest
from bokeh.models import ColumnDataSource

from explorer import Challenge, optimizers
from explorer.app.runs import RunInput
from explorer.app.sweep import SweepPanel
from explorer.records import History, Instances, Phase, Run, Snapshot, Status
from explorer.training.result import outcomes
from explorer.views import sweep
from explorer.views.race import LOOKS, Lane, role
from explorer.views.sensitivity import SCORES, Point, best, bound, choices, points, swept, tolerance
from explorer.views.sweep_axes import frame, scale

hv.extension("bokeh", logo=False)
NAN = float("nan")


def lane(values, seeds=4, test=None, status=None, name="adam", challenge=None, seed=0):
    """A lane whose runs are `values` (by hyperparameter) × seeds; test: final test losses `[R]`, NaN where none."""
    challenge = challenge or Challenge.preset("tig")
    grid = [dict(zip(values, point, strict=True)) for point in product(*values.values())]
    runs = [Run(at, {"eps": 1e-8, **point}) for point in grid for at in range(seeds)]
    rng = np.random.default_rng(seed)
    noise = np.tile(rng.uniform(0.035, 0.045, seeds), len(grid))
    test = rng.uniform(0.05, 0.9, len(runs)) if test is None else np.array(test, float)
    known = np.isfinite(test).astype(int)
    losses = np.broadcast_to(test[:, None], (3, len(runs), 1)) * np.array([0.8, 0.9, 1.0])[:, None, None]
    status = status or [Status.RUNNING] * len(runs)
    grown = History(runs)
    grown.append(Snapshot(1, Phase.RUNNING, 1, *losses, tuple(status), known, known, 1.0, "CPU"))
    return Lane(name, grown, outcomes(challenge, grown, Instances(1, noise, noise * 1.03, noise, noise * 2.6)))


@pytest.mark.parametrize("score", SCORES)
def test_each_value_shows_its_runs_quartiles_and_passes(score):
    values = [1e-2, 1e-4, 1e-3]
    shown = lane({"lr": values, "beta1": [0.9, 0.8]}, seeds=5)
    column = SCORES[score].column
    found = points(shown, ("lr",), score)
    assert [point.values for point in found] == [(value,) for value in sorted(values)]
    for point in found:
        mine = [i for i, run in enumerate(shown.history.runs) if run.hyperparameters["lr"] == point.values[0]]
        reached = sorted(shown.outcomes[column].iloc[i] for i in mine)
        assert len(reached) == 10
        assert point.median == pytest.approx((reached[4] + reached[5]) / 2, rel=1e-12)
        assert (point.low, point.high) == pytest.approx(np.quantile(reached, [0.25, 0.75]), rel=1e-12)
        assert (point.runs, point.passed) == (10, sum(bool(shown.outcomes.passed.iloc[i]) for i in mine))
        assert point.lost == 0


def test_two_hyperparameters_pool_nothing_but_seeds():
    shown = lane({"lr": [1e-3, 1e-2], "beta1": [0.8, 0.9, 0.95]}, seeds=3)
    found = {point.values: point for point in points(shown, ("beta1", "lr"), "test loss")}
    assert len(found) == 6
    for (beta1, lr), point in found.items():
        mine = shown.outcomes[(shown.outcomes.lr == lr) & (shown.outcomes.beta1 == beta1)]
        assert sorted(mine.test_loss)[1] == point.median
        assert point.runs == 3


def test_a_run_that_was_lost_is_the_worst_and_one_before_its_first_epoch_is_left_out():
    lost, going, early = Status.DIVERGED, Status.RUNNING, Status.EARLY_STOPPED
    status = [early, early, lost, lost, early, going, lost, going, lost, lost, lost, lost, going, going, going, going]
    test = [0.1, 0.2, 0.3, NAN, 0.4, 0.5, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN]
    shown = lane({"lr": [1e-4, 1e-3, 1e-2, 1e-1]}, test=test, status=status)
    first, second, third, fourth = points(shown, ("lr",), "test loss")
    assert first.median == pytest.approx(
        0.25
    )  # 0.1, 0.2, 0.3, ∞: the third run keeps the model from before it diverged
    assert first.high == np.inf
    assert first.lost == 2
    assert (second.median, second.low, second.lost) == (0.5, pytest.approx(0.45), 1)  # 0.4, 0.5, ∞
    assert (third.low, third.median, third.high, third.lost) == (np.inf, np.inf, np.inf, 4)
    assert np.isnan(fourth.median)
    assert fourth.lost == 0
    assert best([first, second, third, fourth], "test loss") is first
    (_, _, worst, _) = points(shown, ("lr",), "quality")
    assert (worst.low, worst.median) == (-np.inf, -np.inf)
    assert best([third, fourth], "test loss") is None
    assert tolerance([third, fourth], "test loss") is None


def table(*medians):
    return [Point((10.0**at,), median, median, median, 4, 2, 0) for at, median in enumerate(medians, -4)]


def test_tolerance_is_what_stays_within_twice_the_best_around_it():
    losses = table(0.3, 0.5, 0.2, 0.36, 0.19)
    assert tolerance(losses, "test loss") == (1e-2, 1.0)
    assert tolerance(table(0.3, 0.2, np.inf, 0.25), "test loss") == (1e-4, 1e-3)
    # Qualities 0.8, 0.9, 0.85 are losses 0.2, 0.1, 0.15 of the reference.
    assert tolerance(table(0.79, 0.81, 0.9, 0.85), "quality") == (1e-3, 0.1)
    assert best(table(0.79, 0.81, 0.9, 0.85), "quality").median == 0.9


@pytest.mark.parametrize("preset", ["tig", "brief"])
def test_the_bound_is_where_a_run_at_its_threshold_would_be(preset):
    challenge = Challenge.preset(preset, accuracy_factor=1500)
    shown = lane({"lr": [1e-4, 1e-3]}, challenge=challenge)
    passed = shown.outcomes.threshold.to_numpy()
    at = lane({"lr": [1e-4, 1e-3]}, test=passed, challenge=challenge).outcomes
    for score in ("test loss", "α", "quality"):
        expected = at[SCORES[score].column].median()
        assert bound([shown, shown], score) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert bound([shown], "α") == pytest.approx(2.5)
    awful = lane({"lr": [1e-4, 1e-3]}, test=[0.1, *[90.0] * 7], challenge=challenge)  # TIG's qualities end at −10
    assert bound([awful], "α") == pytest.approx(2.5)
    assert bound([awful], "quality") == pytest.approx(bound([shown], "quality"))
    assert np.isnan(bound([shown], "validation loss"))
    assert np.isnan(bound([], "test loss"))


def test_what_can_be_looked_at():
    both, one = lane({"lr": [1e-3, 1e-2], "beta1": [0.8, 0.9]}), lane({"beta1": [0.8, 0.9]})
    assert swept(both) == ["lr", "beta1"]
    assert choices([lane({"lr": [1e-3]})]) == []
    assert choices([both, one]) == [("lr",), ("beta1",), ("lr", "beta1")]
    assert choices([one, lane({"lr": [1e-3, 1e-2]})]) == [("beta1",), ("lr",)]


@pytest.mark.parametrize(
    ("values", "log", "places"),
    [
        ([1e-4, 1e-3, 1e-2], True, [-4, -3, -2]),
        ([1e-3, 1e-2], True, [-3, -2]),
        ([1e-3, 9e-3], False, [1e-3, 9e-3]),
        ([0.0, 1e-3, 1e-1], True, [-4, -3, -1]),
        ([-1.0, 1e-3, 1.0], False, [-1, 1e-3, 1]),
        ([0.0], False, [0]),
    ],
)
def test_values_over_a_decade_stand_on_a_log_axis_with_zero_beside_it(values, log, places):
    axis = scale(values)
    assert axis.log is log
    assert [axis.at(value) for value in values] == pytest.approx(places)


def test_axes_hold_every_median_and_what_is_far_worse_goes_to_the_edge():
    axes = frame([table(0.3, 0.05, np.inf), table(1e9)], 0.32, "test loss")
    assert axes.low < 0.05
    assert 0.32 < axes.edge < axes.high < 1e4
    assert axes.within(1e9) == axes.within(np.inf) == axes.edge
    assert axes.within(0.3) == 0.3
    assert np.isnan(axes.within(NAN))
    assert axes.ticks == {-4.0: "0.0001", -3.0: "0.001", -2.0: "0.01"}
    tight = frame([table(0.3, 0.2)], 1e-5, "test loss")  # a threshold that nothing comes near
    assert tight.within(0.3) == 0.3
    axes = frame([table(0.7, 0.2, -np.inf, -50.0)], 0.5, "quality")
    assert axes.low < axes.edge < 0.2
    assert axes.high > 0.7
    assert axes.within(-np.inf) == axes.within(-50) == axes.edge


def test_columns_mark_the_best_the_picked_and_the_lost():
    first = [Point((1e-4,), 0.3, 0.2, 0.4, 4, 4, 0), Point((1e-3,), 0.1, 0.1, np.inf, 4, 2, 1)]
    second = [Point((1e-2,), np.inf, np.inf, np.inf, 4, 0, 4), Point((1e-1,), NAN, NAN, NAN, 4, 0, 0)]
    tables = [first, second]
    axes = frame(tables, 0.32, "test loss")
    curves = sweep.curve_columns(tables, axes)
    assert list(curves) == [role(index) for index in range(len(LOOKS))]
    assert curves["lane 0"] == {"x": [-4, -3], "y": [0.3, 0.1], "low": [0.2, 0.1], "high": [0.4, axes.edge]}
    assert curves["lane 2"]["x"] == []
    marks, picks = sweep.point_columns(tables, axes)
    assert picks == [(0, (1e-4,)), (0, (1e-3,)), (0, (1e-3,)), (1, (1e-2,))]
    assert marks["marker"] == ["circle", "circle", "x", "x"]
    assert marks["y"] == [0.3, 0.1, axes.edge, axes.edge]
    assert marks["diverged"] == ["0 of 4", "1 of 4", "1 of 4", "4 of 4"]
    assert marks["median"] == ["0.300", "0.100", "0.100", "∞"]
    rings = sweep.ring_columns(tables, axes, "test loss", (0, (1e-4,)))
    assert sorted(zip(rings["marker"], rings["x"], strict=True)) == [("circle", -3), ("square", -4)]


def test_cells_stand_in_the_order_of_their_values_in_the_colours_of_their_medians():
    shown = lane({"lr": [1e-2, 1e-3], "beta1": [0.9, 0.8, 0.95]}, seeds=3)
    found = points(shown, ("lr", "beta1"), "test loss")
    cells, shades = sweep.heat_columns(found, 0, "test loss", (0, (1e-3, 0.9)))
    assert (shades.x, shades.y) == ({0: "0.001", 1: "0.01"}, {0: "0.8", 1: "0.9", 2: "0.95"})
    for left, bottom, color, value in zip(cells["left"], cells["bottom"], cells["color"], cells["value"], strict=True):
        lr, beta1 = map(float, value.split(", "))
        mine = shown.outcomes[(shown.outcomes.lr == lr) & (shown.outcomes.beta1 == beta1)]
        assert color == pytest.approx(np.log10(mine.test_loss.median()), rel=1e-12)
        assert (left, bottom) == ([1e-3, 1e-2].index(lr) - 0.5, [0.8, 0.9, 0.95].index(beta1) - 0.5)
    assert shades.low == pytest.approx(min(cells["color"]))
    assert shades.high == pytest.approx(max(cells["color"]))
    (at_best,) = [i for i, mark in enumerate(cells["best"]) if np.isfinite(mark)]
    assert cells["color"][at_best] == min(cells["color"])
    assert [cells["value"][i] for i, mark in enumerate(cells["picked"]) if np.isfinite(mark)] == ["0.001, 0.9"]


def test_cells_without_a_model_have_no_colour_and_lost_ones_the_worst():
    found = [Point((1.0, 1.0), NAN, NAN, NAN, 2, 0, 0), Point((1.0, 2.0), np.inf, np.inf, np.inf, 2, 0, 2)]
    found += [Point((2.0, 1.0), 0.1, 0.1, 0.1, 2, 2, 0), Point((2.0, 2.0), 0.4, 0.4, 0.4, 2, 0, 0)]
    cells, shades = sweep.heat_columns(found, 0, "test loss")
    assert np.isnan(cells["color"][0])
    assert cells["color"][1:] == pytest.approx([shades.high, -1, np.log10(0.4)])
    cells, shades = sweep.heat_columns([found[2]], 0, "quality")
    assert shades.low < shades.high
    for empty in ([], found[:2]):
        _, shades = sweep.heat_columns(empty, 0, "test loss")
        assert np.isfinite([shades.low, shades.high]).all()


def stand_in(reached, optimizer="adam"):
    """What a session's lane is to the views."""
    challenge = Challenge.preset("tig")
    history, table = (None, None) if reached is None else (reached.history, reached.outcomes)
    return SimpleNamespace(
        name=reached.name if reached else optimizer,
        optimizer=optimizers.create(optimizer),
        challenge=challenge,
        history=history,
        shown=history,
        instances=None,
        threshold=None,
        outcomes=table,
        race_lane=lambda: reached,
    )


class Shown:
    """A panel with its figures rendered, as a browser would have it."""

    def __init__(self):
        self.asked, self.picked = 0, []
        self.run = RunInput(self.ask)
        self.panel = SweepPanel(self.ask, lambda index, values: self.picked.append((index, values)), self.run)
        self.root = self.panel.panel.get_root()
        self.session = SimpleNamespace(lanes=[])

    def ask(self):
        self.asked += 1

    def refresh(self, *lanes):
        self.session.lanes = [stand_in(lane) for lane in lanes]
        self.panel.refresh(self.session, Challenge.preset("tig"))

    def source(self, name):
        return self.root.select_one({"name": f"sweep {name}"})

    def visible(self):
        return [kind for kind, box in self.panel._figure._boxes.items() if box.visible]


def test_a_session_without_a_sweep_is_told_how_to_make_one():
    shown = Shown()
    for lanes in ([], [None], [lane({"lr": [1e-3]})], [lane({"lr": [1e-3]}, seeds=1)]):
        shown.refresh(*lanes)
        assert "separated by commas" in shown.panel._how.object
        assert not shown.panel._box.visible
    shown.panel._race.clicks += 1
    assert shown.picked == []


def test_the_panel_shows_a_curve_for_each_lane_that_sweeps():
    shown = Shown()
    first = lane({"lr": [1e-4, 1e-3, 1e-2]})
    third = lane({"lr": [1e-3, 1e-2], "eps": [1e-8, 1e-6]}, name="<b>lion</b>", seed=3)
    shown.refresh(first, lane({"beta1": [0.8, 0.9]}), third)
    assert shown.panel._how.object == ""
    assert shown.visible() == ["log"]
    np.testing.assert_allclose(shown.source("log lane 0").data["y"], first.outcomes.groupby("lr").test_loss.median())
    assert len(shown.source("log lane 1").data["x"]) == 0
    np.testing.assert_allclose(shown.source("log lane 2").data["y"], third.outcomes.groupby("lr").test_loss.median())
    assert list(shown.source("log points").data["lane"]) == ["1"] * 3 + ["3"] * 2
    assert shown.panel._name.options == ["Learning rate η", "β₁", "ε", "ε × Learning rate η"]
    assert shown.panel._lane.options == ["1  adam", "3  <b>lion</b>"]
    assert "<b>lion" not in shown.panel._table.object + shown.panel._legend.object + shown.panel._said.object
    assert all(type(values) is list for values in shown.source("log points").data.values())
    threshold = np.median(np.concatenate([first.outcomes.threshold, third.outcomes.threshold]))
    assert shown.source("log threshold").data["y"] == [pytest.approx(threshold)]
    shown.panel._lane.value = "3  <b>lion</b>"
    shown.refresh(first, lane({"beta1": [0.8, 0.9]}), third)
    assert "&lt;b&gt;lion&lt;/b&gt; with" in shown.panel._said.object
    assert "Pooled over the values of ε" in shown.panel._said.object


def test_the_score_and_the_hyperparameter_can_be_chosen():
    shown = Shown()
    reached = lane({"lr": [1e-4, 1e-3], "beta1": [0.8, 0.9]})
    shown.refresh(reached)
    shown.panel._score.value = "quality"
    assert shown.asked >= 1
    shown.refresh(reached)
    assert shown.visible() == ["linear"]
    np.testing.assert_allclose(shown.source("linear lane 0").data["y"], reached.outcomes.groupby("lr").quality.median())
    shown.panel._name.value = "β₁"
    shown.panel._score.value = "validation loss"
    shown.refresh(reached)
    assert shown.visible() == ["log"]
    assert shown.source("log threshold").data["y"] == []
    np.testing.assert_allclose(
        shown.source("log lane 0").data["y"], reached.outcomes.groupby("beta1").val_loss.median()
    )
    shown.panel._name.value = "Learning rate η × β₁"
    shown.refresh(reached)
    assert shown.visible() == ["heat"]
    medians = reached.outcomes.groupby(["lr", "beta1"]).val_loss.median()
    np.testing.assert_allclose(shown.source("heat cells").data["color"], np.log10(medians))
    shown.panel._race.clicks += 1
    lr, beta1 = medians.idxmin()
    assert shown.picked == [(0, {"lr": lr, "beta1": beta1})]


def test_a_tap_or_the_select_picks_a_value_and_the_button_races_it():
    shown = Shown()
    losses = np.repeat([0.5, 0.1, 0.2], 4)
    lanes = [None, lane({"lr": [1e-4, 1e-3, 1e-2]}, test=losses), lane({"lr": [1e-4, 1e-3]}, name="lion")]
    shown.refresh(*lanes)
    assert shown.panel._value.options == ["best value", "0.0001", "0.001", "0.01"]
    assert shown.panel._value.value == "best value"  # until a person picks one
    assert "η = 0.001:" in shown.panel._said.object
    assert "best of this sweep." in shown.panel._said.object
    asked = shown.asked
    shown.source("log points").selected.indices = [0]
    assert shown.asked == asked + 1
    assert shown.source("log points").selected.indices == []
    shown.refresh(*lanes)
    assert (shown.panel._value.value, shown.panel._lane.value) == ("0.0001", "2  adam")
    assert "0 of 4 runs pass" in shown.panel._said.object
    shown.panel._race.clicks += 1
    shown.panel._value.value = "best value"
    shown.refresh(*lanes)
    assert "best of this sweep." in shown.panel._said.object
    shown.panel._race.clicks += 1
    shown.panel._value.value = "0.01"
    shown.refresh(*lanes)
    shown.panel._race.clicks += 1
    shown.source("log points").selected.indices = [4]
    shown.refresh(*lanes)
    assert shown.panel._lane.value == "3  lion"
    shown.panel._race.clicks += 1
    values = [(1, 1e-4), (1, 1e-3), (1, 1e-2), (2, 1e-3)]
    assert shown.picked == [(index, {"lr": value}) for index, value in values]
    assert all(type(value) is float for _, values in shown.picked for value in values.values())
    shown.refresh(lane({"beta1": [0.8, 0.9]}))  # another experiment: nothing of the old pick stays
    shown.panel._race.clicks += 1
    assert set(shown.picked[-1][1]) == {"beta1"}


def test_while_the_best_value_changes_the_choice_stays_as_it_is():
    shown, values = Shown(), []
    shown.panel._value.param.watch(lambda event: values.append(event.new), "value")
    for losses in ([0.1, 0.5], [0.5, 0.1]):
        shown.refresh(lane({"lr": [1e-4, 1e-3]}, test=np.repeat(losses, 4)))
        shown.panel._race.clicks += 1
    assert shown.picked == [(0, {"lr": 1e-4}), (0, {"lr": 1e-3})]
    assert values == []


def test_a_tap_shows_the_curves_of_the_runs_and_the_run_in_hand_among_them():
    shown = Shown()
    reached = lane({"lr": [1e-4, 1e-3, 1e-2]}, seeds=3)
    shown.refresh(reached)
    assert not shown.panel._curves.panel.visible
    shown.source("log points").selected.indices = [1]
    shown.run.take(4)
    shown.refresh(reached)
    assert shown.panel._curves.panel.visible
    test = reached.history.losses[2, 3:6]
    np.testing.assert_allclose(shown.root.select_one({"name": "picked log test"}).data["loss"], np.median(test, axis=0))
    for place in range(3):
        source = shown.root.select_one({"name": f"picked log run {place}"})
        np.testing.assert_array_equal(source.data["loss"], test[place])
    (plots,) = shown.panel._curves._figure._axes[True]._rendered.values()
    assert [plots["singles"][f"run {place}"].glyph.line_width for place in range(3)] == [1, 3, 1]
    shown.root.select_one({"name": "picked log run 2"}).selected.line_indices = [0]  # as a tap does
    assert shown.run.value == 5
    assert "lr" not in shown.panel._curves._legend.object  # hyperparameters have names for people
    assert "Learning rate η = 0.001" in shown.panel._curves._legend.object
    shown.refresh(lane({"beta1": [0.8, 0.9]}))
    assert not shown.panel._curves.panel.visible


def test_the_table_says_how_far_from_the_best_one_may_be():
    shown = Shown()
    shown.refresh(lane({"lr": [1e-5, 1e-4, 1e-3, 1e-2]}, seeds=1, test=[0.9, 0.11, 0.1, 0.3]))
    assert "<td>0.0001 to 0.001</td><td>1.00</td>" in shown.panel._table.object
    shown.refresh(lane({"lr": [1e-5, 1e-4, 1e-3, 1e-2]}, seeds=1, test=[0.9, 0.15, 0.16, 0.1]))
    assert "<td>0.0001 to 0.01</td><td>≥ 2.00</td>" in shown.panel._table.object
    assert "at the end of what was tried for Learning rate η: widen it." in shown.panel._said.object
    assert not shown.panel._race.disabled
    shown.refresh(lane({"lr": [1e-4, 1e-3]}, seeds=2, test=[NAN] * 4))
    assert "No value of adam has reached a test loss so far." in shown.panel._said.object
    assert "still training" in shown.panel._said.object
    assert shown.panel._race.disabled
    shown.panel._race.clicks += 1
    assert shown.picked == []


@pytest.fixture(scope="module")
def rendered():
    return Shown()


@pytest.mark.parametrize("seeds", [1, 64])
@pytest.mark.parametrize("gone", [False, True])
def test_the_panel_survives_every_size_and_runs_that_are_gone(rendered, seeds, gone):
    shown = rendered
    status = [Status.DIVERGED] * 4 * seeds if gone else None
    reached = lane({"lr": [1e-4, 1e-3], "beta1": [0.8, 0.9]}, seeds, [NAN] * 4 * seeds if gone else None, status)
    for score in SCORES:
        for name in ("Learning rate η", "Learning rate η × β₁"):
            shown.panel._score.value = score
            shown.refresh(reached)
            shown.panel._name.value = name
            shown.refresh(reached)
            assert shown.visible() == ["heat" if "×" in name else "log" if SCORES[score].loss else "linear"]


@pytest.mark.parametrize("name", ["Learning rate η", "Learning rate η × β₁"])
def test_an_unchanged_session_sends_nothing(name):
    shown = Shown()
    test = [0.3, 0.2, NAN, NAN, 0.5, NAN, NAN, NAN]
    status = [Status.DIVERGED] * 4 + [Status.RUNNING] * 4
    reached = lane({"lr": [1e-4, 1e-3], "beta1": [0.8, 0.9]}, 2, test, status)
    shown.refresh(reached)
    shown.panel._name.value = name
    shown.refresh(reached)
    held = {source.name: source.data for source in shown.root.select({"type": ColumnDataSource}) if source.name}
    shown.refresh(reached)
    again = {source.name: source.data for source in shown.root.select({"type": ColumnDataSource}) if source.name}
    assert len(held) > 10
    assert all(again[name] is data for name, data in held.items())


@pytest.mark.parametrize("log", [True, False])
def test_the_elements_draw_empty_and_can_be_tapped(log):
    found = {}
    roles = ["threshold", "points", "rings", "figure", *map(role, range(len(LOOKS)))]
    hooks = {name: lambda plot, element, name=name: found.update({name: plot}) for name in roles}
    figure = hv.renderer("bokeh").get_plot(sweep.curves(log, hooks)).state
    assert set(found) == set(roles)
    (tap,) = (tool for tool in figure.tools if type(tool).__name__ == "TapTool")
    (hover,) = (tool for tool in figure.tools if type(tool).__name__ == "HoverTool")
    assert tap.renderers == hover.renderers == [found["points"].handles["glyph_renderer"]]
    assert figure.legend == []
    for name in ("points", "rings"):  # an empty array of numbers is no array of colours to a browser
        assert type(found[name].handles["cds"].data["color"]) is list
    assert not any(type(tool).__name__ == "ResetTool" for tool in figure.tools)
