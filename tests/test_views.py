"""The loss view: its numbers computed another way, and its element without a server."""

from dataclasses import replace

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
from bokeh.models import Axis, Legend, Title
from bokeh.models.annotations.legends import BaseColorBar
from bokeh.models.glyph import Glyph

from explorer.records import FunctionSample, History, Instances, Phase, Run, Snapshot, Status
from explorer.views import floors, frontier, function, inside, landscape, losses, plane, race, style, sweep
from explorer.views.style import LINE_LOOKS, LOSS_LOOKS, number

hv.extension("bokeh", logo=False)


def history(values, status=None, epochs=None, best=None):
    """A history from losses `[3, R, E]`."""
    _, runs, count = values.shape
    grown = History([Run(seed, {}) for seed in range(runs)])
    status = status or [Status.RUNNING] * runs
    epochs = np.full(runs, count) if epochs is None else np.array(epochs)
    best = epochs if best is None else np.array(best)
    grown.append(Snapshot(1, Phase.RUNNING, 1, *values, tuple(status), epochs, best, 1.0, "CPU"))
    return grown


def instances(runs, readout=0.1):
    noise = np.linspace(0.04, 0.05, runs)
    return Instances(1, noise, noise * 1.02, noise, np.full(runs, readout))


def rendered(overlay):
    """The Bokeh figure and its sources by label."""
    plot = hv.renderer("bokeh").get_plot(overlay)
    subplots = {sub.current_frame.label: sub for sub in plot.subplots.values()}
    return plot.state, subplots


def test_one_run_is_drawn_as_it_is():
    values = np.random.default_rng(0).uniform(0.1, 1, (3, 1, 20))
    table = losses.columns(history(values))
    for index, name in enumerate(LOSS_LOOKS):
        assert table[name]["epoch"] == list(range(1, 21))
        assert table[name]["loss"] == values[index, 0].tolist()
        assert table[name]["low"] == table[name]["high"] == table[name]["loss"]


def test_several_runs_show_quartiles_with_ended_runs_held():
    values = np.random.default_rng(1).uniform(0.1, 1, (3, 5, 12))
    values[:, 2, 7:] = np.nan
    status = [Status.RUNNING] * 5
    status[2] = Status.EARLY_STOPPED
    grown = history(values, status, epochs=[12, 12, 7, 12, 12])
    held = values.copy()
    held[:, 2, 7:] = values[:, 2, 6:7]
    for start in (0, 5, 9):
        table = losses.columns(grown, start)
        for index, name in enumerate(LOSS_LOOKS):
            frame = pd.DataFrame(held[index, :, start:])
            for column, share in (("low", 0.25), ("loss", 0.5), ("high", 0.75)):
                np.testing.assert_allclose(table[name][column], frame.quantile(share), rtol=1e-12)


def test_a_diverged_run_counts_nowhere_after_its_end():
    values = np.ones((3, 3, 6)) * np.array([1.0, 2.0, 3.0])[None, :, None]
    values[:, 2, 2:] = np.nan
    status = [Status.RUNNING, Status.RUNNING, Status.DIVERGED]
    table = losses.columns(history(values, status, epochs=[6, 6, 3], best=[6, 6, 2]))
    assert table["test"]["loss"] == [2, 2, 1.5, 1.5, 1.5, 1.5]


def test_zero_negative_and_infinite_losses_are_left_out():
    values = np.ones((3, 1, 4))
    values[2, 0] = [0, -1, np.inf, 1e-38]
    shown = losses.columns(history(values))["test"]["loss"]
    assert np.isnan(shown[:3]).all()
    shown = losses.window(history(values), [], 1000, log=True)
    assert shown.low >= 1e-7
    assert shown.high > 1


def test_a_run_that_explodes_leaves_the_lines_in_sight():
    values = np.full((3, 2, 9), 0.3)
    values[:, 1] = 1e7
    drawn = [losses.Line("threshold", 0.32), losses.Line("noise", 0.04)]
    shown = losses.window(history(values), drawn, 1000, log=True)
    assert shown.low < 0.04
    assert shown.high > 1
    gone = [Status.RUNNING, Status.DIVERGED]
    assert losses.window(history(values, gone), drawn, 1000, log=False).high < 1
    assert losses.window(history(np.full((3, 1, 5), 1e30)), drawn, 1000, log=True).low < 0.32


def test_marks_stand_at_the_best_epoch_and_at_the_end():
    values = np.random.default_rng(2).uniform(0.1, 1, (3, 2, 10))
    status = [Status.EARLY_STOPPED, Status.RUNNING]
    marks = losses.mark_columns(history(values, status, epochs=[8, 10], best=[3, 9]))
    assert marks["best"] == {"epoch": [3, 9], "loss": [values[2, 0, 2], values[2, 1, 8]]}
    assert marks["stop"] == {"epoch": [8], "loss": [values[2, 0, 7]]}


def test_lines_are_medians_and_unknown_ones_are_left_out():
    known = instances(3)
    threshold = np.array([0.3, 0.1, 0.2])
    drawn = {line.name: line.value for line in losses.lines(known, threshold)}
    assert drawn["threshold"] == 0.2
    assert drawn["noise"] == pytest.approx(0.045)
    assert list(drawn) == list(LINE_LOOKS)
    assert "read-out floor" not in dict(losses.lines(instances(3, np.nan), threshold))
    assert losses.lines(None, threshold) == []


def test_labels_of_lines_too_close_together_share_one_text():
    drawn = [losses.Line("threshold", 0.3), losses.Line("kernel floor", 0.0405), losses.Line("noise", 0.04)]
    texts = losses.labels(drawn, losses.Window(100, 0.01, 1), log=True)
    assert texts == {0.3: "threshold 0.300", 0.0405: "kernel floor 0.0405\nnoise 0.0400"}


@pytest.mark.parametrize("log", [True, False])
def test_axes_hold_all_curves_and_move_rarely(log):
    rng = np.random.default_rng(3)
    seen = set()
    for count in range(1, 1000, 7):
        values = rng.uniform(0.05, 1, (3, 1, count))
        shown = losses.window(history(values), [losses.Line("noise", 0.04)], 1000, log)
        assert shown.end >= count
        assert shown.low < 0.04
        seen.add(shown.end)
    assert len(seen) <= len(losses.STEPS)


@pytest.mark.parametrize("runs", [1, 2, 256])
@pytest.mark.parametrize("epochs", [1, 1000])
@pytest.mark.parametrize("log", [True, False])
def test_the_element_draws_at_every_size(runs, epochs, log):
    values = np.random.default_rng(4).uniform(0.1, 1, (3, runs, epochs))
    values[:, 0, epochs // 2 :] = np.nan  # a run that is lost half-way
    grown = history(values)
    threshold = np.full(runs, 0.2)
    figure, plots = rendered(losses.losses(grown, losses.lines(instances(runs), threshold), 1000, log))
    np.testing.assert_array_equal(plots["test"].handles["cds"].data["loss"], losses.columns(grown)["test"]["loss"])
    assert list(plots["threshold"].handles["cds"].data["y"]) == [0.2]
    assert figure.x_range.end >= epochs
    assert figure.legend == []


def test_the_element_draws_an_empty_history():
    _, plots = rendered(losses.losses(None, [], 1000))
    assert set(LOSS_LOOKS) | set(LINE_LOOKS) <= set(plots)
    assert len(plots["test"].handles["cds"].data["epoch"]) == 0


def test_hooks_find_every_role():
    found = set()
    roles = [*LOSS_LOOKS, *LINE_LOOKS, "best", "stop", "figure"]
    hooks = {role: lambda plot, element, role=role: found.add(role) for role in roles}
    rendered(losses.losses(None, [], 1000, hooks=hooks))
    assert found == set(roles)


def test_floors_view_shows_the_runs_and_their_correlation():
    rng = np.random.default_rng(5)
    floor = rng.uniform(0.05, 0.5, 12)
    table = pd.DataFrame({"seed": range(12), "readout_floor": floor, "test_loss": floor * rng.uniform(0.9, 1.1, 12)})
    table.loc[3, "test_loss"] = np.nan
    kept = table.dropna()
    assert floors.correlation(table) == pytest.approx(kept.readout_floor.corr(kept.test_loss), rel=1e-12)
    assert f"{floors.correlation(table):.3f}" in floors.floors(table).opts.get("plot").kwargs["title"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.310755, "0.311"),
        (12.345, "12.3"),
        (181, "181"),
        (1e-5, "1.00e−5"),
        (-2.971, "−2.97"),
        (float("nan"), "–"),
        (float("inf"), "∞"),
        (None, "–"),
        (0, "0"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def sizes(figure):
    """Every font size and every fixed width and size of a glyph in a figure, in the order of the models."""
    found = {}
    for model in sorted(figure.references(), key=lambda model: model.id):
        for name in sorted(model.properties()):
            if name.endswith("font_size"):
                found[model.id, name] = float(getattr(model, name).removesuffix("px"))
            elif isinstance(model, Glyph) and name in ("line_width", "size"):
                value = getattr(model, name)
                found |= {(model.id, name): value} if isinstance(value, int | float) else {}
    return found


VIEWS = {
    "losses": lambda: losses.losses(None, [], 1000),
    "race": race.race,
    "sweep": lambda: sweep.curves(True),
    "heat": sweep.heat,
    "function": lambda: function.function(None, 0),
    "inside": lambda: inside.inside([], "cosine", 10),
    "landscape": lambda: landscape.landscape(None),
    "rates": frontier.rates,
}


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_can_be_drawn_larger_and_as_it_was(view):
    figure = hv.render(VIEWS[view]())
    figure.height = 400
    before = sizes(figure)
    # The page's theme and the page itself see to these.
    left = {model.id for model in figure.references() if isinstance(model, Axis | BaseColorBar | Legend | Title)}
    factor = {key: 2 if key[1] in ("line_width", "size") else 1 if key[0] in left else 1.5 for key in before}
    for _ in range(2):  # the second time changes nothing
        style.resize(figure, style.Scale(text=1.5, line=2, height=1.25))
        larger = sizes(figure)
        assert larger == {key: pytest.approx(size * factor[key], abs=0.01) for key, size in before.items()}
        assert figure.height == 500
    style.resize(figure, style.DESK)
    assert sizes(figure) == pytest.approx(before, abs=0.01)
    assert figure.height == 400


def sample(outputs=2, points=31, inputs=1):
    rng = np.random.default_rng(6)
    x, side = np.linspace(-1, 1, points), np.linspace(-1, 1, 5 if inputs > 1 else 0)
    truth, kept, current = rng.normal(size=(3, points, outputs))
    return FunctionSample(
        generation=1,
        run=0,
        axis=0,
        epoch=9,
        anchor=np.zeros(inputs),
        x=x,
        truth=truth,
        kept=kept,
        current=current,
        train_x=rng.uniform(-1, 1, 50),
        train_y=rng.normal(size=(50, outputs)),
        test_x=rng.uniform(-1, 1, 64),
        residuals=rng.normal(size=(64, outputs)),
        noise_std=0.2,
        distance=0.05,
        across=1 if inputs > 1 else None,
        plane=side,
        plane_truth=rng.normal(size=(len(side), len(side), outputs)),
        plane_kept=rng.normal(size=(len(side), len(side), outputs)),
    )


@pytest.mark.parametrize("outputs", [1, 2])
def test_the_function_view_shows_each_output(outputs):
    looked = sample(outputs)
    for output in range(outputs):
        figure, plots = rendered(function.function(looked, output))
        for name in function.CURVES:
            np.testing.assert_array_equal(plots[name].handles["cds"].data["y"], getattr(looked, name)[:, output])
        np.testing.assert_array_equal(plots["samples"].handles["cds"].data["y"], looked.train_y[:, output])
        table = function.columns(looked, output)["truth"]
        np.testing.assert_allclose(np.subtract(table["high"], table["low"]), 0.4, rtol=1e-12)
        assert figure.y_range.start <= looked.truth[:, output].min() - 0.6
        assert figure.y_range.end >= looked.truth[:, output].max() + 0.6


def test_the_function_view_draws_nothing_yet_and_an_output_that_is_not_there():
    for looked, output in ((None, 0), (sample(1), 1)):
        _, plots = rendered(function.function(looked, output))
        assert all(len(plots[name].handles["cds"].data["x"]) == 0 for name in [*function.CURVES, "samples"])


def test_residuals_are_drawn_with_their_root_mean_square_over_the_noise():
    looked = sample(2)
    _, plots = rendered(function.residuals(looked, 1))
    dots, above = plots["residuals"].handles["cds"].data, plots["above"].handles["cds"].data
    assert sorted(zip(dots["x"], dots["y"], strict=True)) == sorted(
        zip(looked.test_x, looked.residuals[:, 1], strict=True)
    )
    # 64 samples in 16 parts: four each, in their order along the input.
    first = looked.residuals[np.argsort(looked.test_x)[:4], 1]
    assert above["y"][0] == pytest.approx(np.sqrt(np.mean(first**2)))
    assert above["x"][0] == pytest.approx(np.sort(looked.test_x)[:4].mean())
    assert list(plots["below"].handles["cds"].data["y"]) == [-size for size in above["y"]]
    assert sorted(plots["floor"].handles["cds"].data["y"]) == [-0.2, 0.2]
    assert "noise" in function.caption(looked, 3, 0.04)


@pytest.mark.parametrize("picture", plane.PICTURES)
def test_a_plane_shows_truth_prediction_and_error(picture):
    looked = sample(2, inputs=3)
    expected = {"truth": looked.plane_truth, "prediction": looked.plane_kept}
    expected["error"] = looked.plane_kept - looked.plane_truth
    plot = hv.renderer("bokeh").get_plot(plane.plane(looked, 1, picture))
    source, mapper = plot.handles["cds"].data, plot.handles["color_mapper"]
    np.testing.assert_allclose(source["image"][0], expected[picture][..., 1], rtol=1e-6)
    assert (source["x"][0], source["dw"][0]) == (-1.25, 2.5)  # five pixels, whose centres are -1 … 1
    if picture == "error":
        assert mapper.low == -mapper.high
        assert mapper.high >= np.abs(expected["error"][..., 1]).max()
    else:
        assert mapper.low <= looked.plane_truth[..., 1].min()
        assert mapper.high >= looked.plane_truth[..., 1].max()


@pytest.mark.parametrize("looked", [None, sample(1), sample(1, inputs=2)])
def test_a_plane_and_residuals_draw_what_is_not_there(looked):
    for output in (0, 1):
        for picture in plane.PICTURES:
            hv.render(plane.plane(looked, output, picture))
        hv.render(function.residuals(looked, output))
    lost = (
        None
        if looked is None
        else replace(looked, plane_kept=np.nan * looked.plane_kept, residuals=np.nan * looked.residuals)
    )
    hv.render(plane.plane(lost, 0, "error"))
    hv.render(function.residuals(lost, 0))
