"""The frontier view: its numbers computed another way, its elements and its panel without a server."""

from types import SimpleNamespace

import holoviews as hv
import numpy as np
import pytest
from bokeh.models import ColumnDataSource

from explorer import Challenge, optimizers
from explorer.app.frontier import FrontierPanel, parse_depths
from explorer.challenge import scoring
from explorer.records import History, Instances, Phase, Run, Snapshot, Status
from explorer.training.result import outcomes
from explorer.views import frontier as view
from explorer.views.frontier import FLOORS, Cell, floor_frontier, frontier, pass_rate
from explorer.views.race import LOOKS, role

hv.extension("bokeh", logo=False)
NAN = float("nan")


def reached(alpha, challenge=None, status=None, kernel=1.03, readout=2.6, seed=0):
    """Outcomes of runs that would just pass at these `alpha [R]`, NaN where there is no model yet."""
    challenge = challenge or Challenge.preset("tig")
    alpha = np.array(alpha, float)
    noise = np.random.default_rng(seed).uniform(0.035, 0.045, len(alpha))
    known = np.isfinite(alpha).astype(int)
    losses = np.broadcast_to((alpha * challenge.output_dims * noise)[:, None], (3, len(alpha), 1))
    grown = History([Run(at, {}) for at in range(len(alpha))])
    status = status or [Status.RUNNING] * len(alpha)
    grown.append(Snapshot(1, Phase.RUNNING, 1, *losses, tuple(status), known, known, 1.0, "CPU"))
    return outcomes(challenge, grown, Instances(1, noise, noise * kernel, noise, noise * readout))


def by_trying(table, challenge, factors):
    """How many runs pass, each accuracy factor set in turn and scored as the challenge scores."""
    counts, harder = [], challenge.replace()
    for factor in factors:
        harder.accuracy_factor = int(factor)
        counts.append(int(scoring.passed(harder, table.noise_mse.to_numpy(), table.test_loss.to_numpy()).sum()))
    return counts


@pytest.mark.parametrize("preset", ["tig", "brief"])
@pytest.mark.parametrize("runs", [1, 2, 7, 256])
def test_pass_rates_and_frontier_are_what_trying_every_accuracy_factor_gives(preset, runs):
    challenge = Challenge.preset(preset)
    alpha = np.random.default_rng(runs).uniform(0.2, 5, runs)
    alpha[3::5] = NAN
    table = reached(alpha, challenge, seed=runs)
    factors = np.arange(0, 4000, 37)
    np.testing.assert_allclose(pass_rate(table, factors) * runs, by_trying(table, challenge, factors), rtol=1e-12)
    found = frontier(table)
    if np.isnan(found):
        assert by_trying(table, challenge, [0])[0] < runs / 2
    else:
        at, beyond = by_trying(table, challenge, [found, found + 1])
        assert at >= runs / 2 > beyond


@pytest.mark.parametrize(
    ("alpha", "factor"),
    [
        ([4.0], 0),
        ([4.0001], NAN),
        ([NAN], NAN),
        ([1.0, 3.0], 3000),
        ([1.0, 3.0, NAN], 1000),
        ([1.0, NAN, NAN], NAN),
        ([1.0, 9.0, NAN, 2.0], 2000),
        ([0.0005], 3999),
        ([0.0], 3999),
        ([3.995], 5),  # 1000 (4 − 3.995) is a little under 5 in floating point
    ],
)
def test_the_frontier_at_its_corners(alpha, factor):
    table = reached([1.0] * len(alpha)).assign(alpha=alpha)
    np.testing.assert_equal(frontier(table), factor)


@pytest.mark.parametrize("preset", ["tig", "brief"])
def test_a_floors_frontier_is_that_of_runs_that_end_there(preset):
    challenge = Challenge.preset(preset)
    table = reached([2.0, 3.0, NAN, 1.0, 2.5], challenge, kernel=1.30371, readout=2.61)
    table["readout_floor"] *= np.linspace(0.51, 2.03, 5)
    for floor, column in FLOORS.items():
        found = floor_frontier(table, floor)
        at, beyond = by_trying(table.assign(test_loss=table[column]), challenge, [found, found + 1])
        assert at >= 2.5 > beyond
    assert np.isnan(floor_frontier(table.assign(kernel_floor=27 * table.noise_mse), "kernel floor"))
    assert np.isnan(floor_frontier(table.assign(readout_floor=NAN), "read-out floor"))
    assert np.isnan(floor_frontier(reached([NAN, NAN], challenge), "kernel floor"))


def cells():
    rng = np.random.default_rng(5)
    made = [
        Cell(name, depth, reached(rng.uniform(0.5, 5, 9) * hard, seed=depth))
        for name, hard in (("adam", 1.0), ("lion lr=0.01", 0.8))
        for depth in (7, 2, 4)
    ]
    return [*made, Cell("sgd", 4, reached([9.0] * 9)), Cell("lars", 10, reached([NAN] * 9))]


def test_the_map_shows_the_rate_of_every_accuracy_factor():
    given = cells()
    columns = view.rate_columns(given, "adam")["cells"]
    assert sorted(set(columns["depth"])) == [2, 4, 7]
    assert np.subtract(columns["right"], columns["left"]) == pytest.approx(1.8)  # depths are 2 apart at least
    for depth in (2, 4, 7):
        (cell,) = [cell for cell in given if cell[:2] == ("adam", depth)]
        rows = [i for i, at in enumerate(columns["depth"]) if at == depth]
        assert [columns["bottom"][i] for i in rows] == [0, *(columns["top"][i] for i in rows[:-1])]
        assert columns["top"][rows[-1]] == 4000
        counts = by_trying(cell.outcomes, Challenge.preset("tig"), range(25, 4000, 50))
        for i in rows:
            for count in counts[columns["bottom"][i] // 50 : columns["top"][i] // 50]:
                assert columns["color"][i] == pytest.approx(count / 9)
                assert columns["passes"][i] == f"{count} of 9"
            assert columns["factors"][i] == f"{columns['bottom'][i]} to {columns['top'][i]}"
    assert len(rows) <= 10
    assert view.rate_columns(given, "nobody")["cells"]["left"] == []
    alone = view.rate_columns(given[:1], "adam")["cells"]
    assert np.subtract(alone["right"], alone["left"]) == pytest.approx(0.9)


def test_frontiers_are_drawn_by_depth_with_a_cross_where_nothing_passes():
    given = cells()
    columns = view.line_columns(given)
    assert view.optimizers(given) == ["adam", "lion lr=0.01", "sgd", "lars"]
    for index, name in enumerate(("adam", "lion lr=0.01")):
        mine = {cell.depth: frontier(cell.outcomes) for cell in given if cell.optimizer == name}
        assert columns[role(index)]["x"] == [2, 4, 7]
        np.testing.assert_equal(columns[role(index)]["y"], [mine[depth] for depth in (2, 4, 7)])
    assert np.isnan(columns["lane 2"]["y"]).all()
    assert columns["lane 4"] == {"x": [], "y": []}
    points = columns["points"]
    assert list(zip(points["optimizer"], points["marker"], points["y"], strict=True))[-1] == ("sgd", "x", 0)
    assert points["optimizer"].count("adam") == 3
    assert "lars" not in points["optimizer"]  # it has not finished an epoch, and may still
    assert columns["kernel floor"]["x"] == [2, 4, 7, 10]
    ended = [Cell("lars", 10, reached([NAN] * 3, status=[Status.DIVERGED] * 3))]
    assert view.line_columns(ended)["points"]["marker"] == ["x"]


def test_more_optimizers_than_looks_are_cut_off():
    many = [Cell(f"optimizer {at}", 4, reached([1.0])) for at in range(len(LOOKS) + 3)]
    assert len(view.optimizers(many)) == len(LOOKS)
    assert len(view.line_columns(many)["points"]["x"]) == len(LOOKS)


@pytest.mark.parametrize(
    ("text", "depths"), [("2, 4, 7, 10", [2, 4, 7, 10]), (" 10,2 ,", [2, 10]), ("3,3", [3]), ("20", [20])]
)
def test_depths_are_read(text, depths):
    assert parse_depths(text, Challenge.preset("tig")) == depths


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must list numbers of hidden layers"),
        (" , ", "must list numbers of hidden layers"),
        ("2, x", "'x' is not allowed: it must be an integer from 1 to 20"),
        ("2.5", "'2.5' is not allowed"),
        ("4, 21", "21 is not allowed: it must be an integer from 1 to 20"),
        ("1, 4", "would freeze everything: it must be an integer from 2 to 20"),
    ],
)
def test_depths_that_cannot_be_trained_are_named(text, said):
    with pytest.raises(ValueError, match="must") as raised:
        parse_depths(text, Challenge.preset("tig"))
    assert said in str(raised.value)
    if text.startswith("1"):
        assert parse_depths(text, Challenge.preset("brief")) == [1, 4]


class Shown:
    """A panel with its figures rendered, as a browser would have it."""

    def __init__(self):
        self.asked, self.started = 0, []
        self.panel = FrontierPanel(self.ask, self.started.append)
        self.root = self.panel.panel.get_root()

    def ask(self):
        self.asked += 1

    def refresh(self, *lanes, preset="tig"):
        """lanes: (optimizer, depth, outcomes)."""
        stands = [
            SimpleNamespace(
                name=name,
                optimizer=optimizer,
                challenge=Challenge.preset(preset, num_hidden_layers=depth),
                outcomes=table,
                history=None,
            )
            for name, (optimizer, depth, table) in enumerate(lanes)
        ]
        self.panel.refresh(SimpleNamespace(lanes=stands), Challenge.preset(preset))

    def source(self, name):
        return self.root.select_one({"name": f"frontier {name}"})


ADAM, LION = optimizers.create("adam"), optimizers.create("lion", lr=1e-3)


def test_the_panel_fills_in_what_the_lanes_have_reached():
    shown = Shown()
    shown.refresh()
    assert "Nothing is trained yet" in shown.panel._said.object
    shown.refresh((ADAM, 4, None))
    assert shown.panel._table.object == ""
    deep, flat = reached([3.0, 3.5, 2.0]), reached([1.5, 1.0, 5.0], status=[Status.EARLY_STOPPED] * 3)
    shown.refresh((ADAM, 10, deep), (ADAM, 2, flat), (LION, 2, reached([5.0] * 3)), (LION, 4, None))
    assert shown.source("lines lane 0").data["x"] == [2, 10]
    assert shown.source("lines lane 0").data["y"] == [frontier(flat), frontier(deep)] == [2500, 1000]
    assert shown.source("rates frontier").data["y"] == [2500, 1000]
    assert shown.source("lines points").data["marker"] == ["circle", "circle", "x"]
    assert "up to an accuracy factor of 2500 at 2 hidden layers, and of 1000 at 10." in shown.panel._said.object
    assert "6 of 9 runs are still training" in shown.panel._said.object
    assert "ends at its read-out floor passes in half of the instances up to 2700" in shown.panel._said.object
    assert "adam</td><td>2500</td><td>1000</td>" in shown.panel._table.object
    assert "lion lr=0.001</td><td>none</td><td>–</td>" in shown.panel._table.object
    assert shown.panel._optimizer.options == ["adam", "lion lr=0.001"]
    shown.panel._optimizer.value = "lion lr=0.001"
    assert shown.asked >= 1
    shown.refresh((ADAM, 10, deep), (ADAM, 2, flat), (LION, 2, reached([5.0] * 3)))
    assert set(shown.source("rates cells").data["depth"]) == {2}
    assert "fail even accuracy factor 0" in shown.panel._said.object
    shown.refresh((ADAM, 4, deep), (ADAM, 4, flat))  # two lanes alike: the last counts
    assert shown.source("lines lane 0").data["y"] == [2500]


def test_nothing_can_pass_the_brief_as_written():
    shown = Shown()
    challenge = Challenge.preset("brief")
    table = reached([30.0, 29.0], challenge, kernel=27, readout=NAN)
    shown.refresh((ADAM, 4, table), preset="brief")
    assert "Even at the kernel floor more than half of the instances fail" in shown.panel._said.object
    assert "read-out" not in shown.panel._said.object + shown.panel._table.object
    assert np.isnan(shown.source("lines kernel floor").data["y"]).all()


def test_the_button_starts_the_depths_that_are_asked_for():
    shown = Shown()
    shown.refresh()
    shown.panel._start.clicks += 1
    assert shown.started == [[2, 4, 7, 10]]
    shown.panel._depths.value = "4, 1"
    assert "it must be an integer from 2 to 20" in shown.panel._depths.helper_text
    assert shown.panel._depths.error_state
    shown.panel._start.clicks += 1
    assert len(shown.started) == 1
    shown.refresh(preset="brief")
    shown.panel._start.clicks += 1
    assert shown.started[1:] == [[1, 4]]
    assert not shown.panel._depths.error_state


@pytest.fixture(scope="module")
def rendered():
    return Shown()


@pytest.mark.parametrize("runs", [1, 256])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_panel_survives_every_size_and_runs_that_are_gone(rendered, runs, share):
    shown = rendered
    rng = np.random.default_rng(runs)
    alpha = np.where(rng.uniform(size=runs) < share, NAN, rng.uniform(0.5, 5, runs))
    status = [Status.DIVERGED if np.isnan(value) else Status.RUNNING for value in alpha]
    lanes = [(ADAM, depth, reached(alpha, status=status)) for depth in (2, 4, 7, 10)]
    shown.refresh(*lanes)
    held = {source.name: source.data for source in shown.root.select({"type": ColumnDataSource}) if source.name}
    shown.refresh(*lanes)
    again = {source.name: source.data for source in shown.root.select({"type": ColumnDataSource}) if source.name}
    assert len(held) > 10
    assert all(again[name] is data for name, data in held.items())  # what has not changed is not sent
    assert all(type(values) is list for values in shown.source("rates cells").data.values())
    assert len(shown.source("rates cells").data["left"]) <= 4 * 80


def test_the_elements_draw_empty():
    for element, roles in (
        (view.rates, ["cells", "edge", "frontier", "figure"]),
        (view.lines, [*map(role, range(len(LOOKS))), *FLOORS, "points", "figure"]),
    ):
        found = {}
        hooks = {name: lambda plot, drawn, name=name, found=found: found.update({name: plot}) for name in roles}
        figure = hv.renderer("bokeh").get_plot(element(hooks)).state
        assert set(found) == set(roles)
        assert figure.legend == []
        if "points" in found:  # an empty array of numbers is no array of colours to a browser
            assert type(found["points"].handles["cds"].data["color"]) is list
        assert not any(type(tool).__name__ == "ResetTool" for tool in figure.tools)
