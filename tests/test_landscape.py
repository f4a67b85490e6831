"""The loss around the paths: plane, losses and surface computed another way, and the view without a server."""

from dataclasses import replace
from types import SimpleNamespace

import holoviews as hv
import numpy as np
import pytest
import torch
from puppets import TINY, Descent, puppet

import explorer as ex
from explorer.app.landscape import LandscapePanel
from explorer.app.runs import RunInput
from explorer.records import LandscapeSample
from explorer.training import Fleet
from explorer.training.film import Film
from explorer.training.landscape import WITNESSES, Landscape, LandscapeLook
from explorer.views import landscape as view
from explorer.views.race import LOOKS

hv.extension("bokeh", logo=False)

CHALLENGE = ex.Challenge.preset("tig", num_hidden_layers=3, width=12, train_size=300, val_size=40, test_size=30)


def lane(optimizer, epochs=9, seeds=(4, 5), run=1, challenge=CHALLENGE):
    fleet = Fleet(challenge, optimizer, seeds, "cpu", "float64")
    film = Film(run)
    film.offer(fleet)
    for _ in range(epochs):
        fleet.advance()
        film.offer(fleet)
    film.close(fleet)
    return fleet, film


@pytest.fixture(scope="module")
def lanes():
    optimizers = {"adam": ex.optimizers.create("adam", lr=3e-3), "muon": ex.optimizers.create("muon")}
    made = {name: lane(optimizer) for name, optimizer in optimizers.items()}
    made["descent"] = lane(Descent(lr=1e-4), epochs=5)
    return made


def computed(lanes, selected=0, grid=6, **look):
    films = [(name, film) for name, (_, film) in lanes.items()]
    errand = Landscape(films, list(lanes.values())[selected][0], selected, LandscapeLook(1, **look), 7, grid)
    while not errand.done:
        errand.advance()
    return errand.record


def trained(film, frame):
    """The trainable weights of a frame, one after the other."""
    model = film.tensors(frame.params)
    return np.concatenate([w.numpy().ravel() for w, moves in zip(model, model.trainable, strict=True) if moves])


def offsets(lanes, selected):
    """Every frame's offset from the selected path's end, `[N, T]`, and that end."""
    films = [film for _, film in lanes.values()]
    end = trained(films[selected], films[selected].frames[-1])
    return np.array([trained(film, frame) - end for film in films for frame in film.frames]), end


def plane(lanes, sample, selected=0):
    """Directions `[2, T]` from an SVD of the explicit matrix, with the signs that the sample has; singular values."""
    matrix, _ = offsets(lanes, selected)
    _, values, directions = np.linalg.svd(matrix, full_matrices=False)
    places = np.concatenate(sample.paths)
    directions = directions[:2] * np.sign((matrix @ directions[:2].T * places).sum(axis=0))[:, None]
    return directions, values


def literal(challenge, model, x, y, own=None):
    """The loss by torch.nn.functional.  own: the model whose running statistics are its own, for one that has none."""
    names = dict(zip(model.names, model, strict=True))
    theirs = None if own is None else dict(zip(own.names, own, strict=True))
    h, seen, seen_own = x
    for layer in range(challenge.num_hidden_layers + 1):
        weights = f"linears.{layer}.weight", f"linears.{layer}.bias"
        h, seen = (torch.nn.functional.linear(a, names[weights[0]][0], names[weights[1]][0]) for a in (h, seen))
        if theirs is not None:
            seen_own = torch.nn.functional.linear(seen_own, theirs[weights[0]][0], theirs[weights[1]][0])
        if layer == challenge.num_hidden_layers:
            return torch.nn.functional.mse_loss(h, y).item()
        h, seen, seen_own = (torch.relu(a) for a in (h, seen, seen_own))
        norm = [f"norms.{layer}.{kind}" for kind in ("running_mean", "running_var", "weight", "bias")]
        mean, variance, gamma, beta = (names[name][0] for name in norm)
        if theirs is not None:
            own_mean, own_variance, own_gamma, own_beta = (theirs[name][0] for name in norm)
            deviation, own_deviation = (torch.sqrt(a.var(dim=0) + 1e-5) for a in (seen, seen_own))
            mean = seen.mean(dim=0) + (own_mean - seen_own.mean(dim=0)) / own_deviation * deviation
            variance = (own_variance + 1e-5) * (deviation / own_deviation) ** 2 - 1e-5
            seen_own = own_gamma * (seen_own - own_mean) / torch.sqrt(own_variance + 1e-5) + own_beta
        h, seen = (gamma * (a - mean) / torch.sqrt(variance + 1e-5) + beta for a in (h, seen))
    raise AssertionError


def samples(fleet, part):
    data = fleet.datasets[5]
    witnesses = torch.as_tensor(data.train.inputs[:WITNESSES])
    judged = getattr(data, part)
    return (torch.as_tensor(judged.inputs), witnesses, witnesses), torch.as_tensor(judged.targets)


@pytest.mark.parametrize("selected", [0, 2])
def test_the_plane_is_that_of_the_leading_singular_vectors(lanes, selected):
    sample = computed(lanes, selected)
    matrix, _ = offsets(lanes, selected)
    directions, values = plane(lanes, sample, selected)
    np.testing.assert_allclose(np.concatenate(sample.paths), matrix @ directions.T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(sample.shares, values[:2] ** 2 / (values**2).sum(), rtol=1e-9)
    # What the plane does not hold, measured as distance from it.
    rest = matrix - matrix @ directions.T @ directions
    assert 1 - sample.explained == pytest.approx((rest**2).sum() / (matrix**2).sum(), rel=1e-6)
    np.testing.assert_allclose(sample.paths[selected][-1], 0, atol=1e-12)
    assert (sample.paths[selected][0] < 0).all()  # from below and from the left


def test_losses_along_the_paths_are_those_of_the_training_itself(lanes):
    for index, (loss, part) in enumerate({"train": "train", "validation": "val", "test": "test"}.items()):
        sample = computed(lanes, grid=2, loss=loss)
        assert sample.names == tuple(lanes)
        for (fleet, film), epochs, losses in zip(lanes.values(), sample.epochs, sample.losses, strict=True):
            assert epochs.tolist() == list(range(len(film.frames)))
            if index:
                np.testing.assert_allclose(losses[1:], fleet._history[index, 1, 1 : fleet.epoch + 1], rtol=1e-12)
            direct = [literal(CHALLENGE, film.tensors(frame.params), *samples(fleet, part)) for frame in film.frames]
            np.testing.assert_allclose(losses, direct, rtol=1e-10)


@pytest.mark.parametrize(("loss", "part"), [("validation", "val"), ("train", "train"), ("test", "test")])
def test_the_surface_is_the_loss_at_its_nodes(lanes, loss, part):
    selected = 1
    sample = computed(lanes, selected, loss=loss)
    fleet, film = lanes["muon"]
    end = film.tensors(film.frames[-1].params)
    directions, _ = plane(lanes, sample, selected)
    for row, y in enumerate(sample.y):
        for column, x in enumerate(sample.x):
            model, moved, at = end.clone(), x * directions[0] + y * directions[1], 0
            for tensor, moves in zip(model, model.trainable, strict=True):
                if moves:
                    tensor += torch.as_tensor(moved[at : at + tensor.numel()]).view(tensor.shape)
                    at += tensor.numel()
            expected = literal(CHALLENGE, model, *samples(fleet, part), own=end)
            assert sample.surface[row, column] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("selected", [0, 1, 2])
def test_at_the_end_of_the_path_the_surface_is_the_run_s_loss(lanes, selected):
    sample = computed(lanes, selected, grid=5)
    (row,), (column,) = np.flatnonzero(sample.y == 0), np.flatnonzero(sample.x == 0)
    fleet = list(lanes.values())[selected][0]
    loss = float(fleet._history[1, 1, fleet.epoch])
    assert sample.surface[row, column] == pytest.approx(loss, rel=1e-9)
    assert sample.losses[selected][-1] == pytest.approx(loss, rel=1e-12)


def test_the_surface_is_a_square_around_all_paths(lanes):
    sample = computed(lanes, grid=9)
    places = np.concatenate(sample.paths)
    steps = np.diff([sample.x, sample.y])
    np.testing.assert_allclose(steps, steps[0, 0], rtol=1e-12)
    for axis, nodes in enumerate((sample.x, sample.y)):
        margin = 0.2 * np.ptp(places, axis=0).max() - steps[0, 0] / 2  # one node was moved onto the end
        assert nodes[0] <= places[:, axis].min() - margin
        assert nodes[-1] >= places[:, axis].max() + margin


def test_the_order_of_lanes_changes_nothing(lanes):
    sample = computed(lanes, 0)
    order = [2, 0, 1]
    names = list(lanes)
    other = computed({names[place]: lanes[names[place]] for place in order}, 1)
    for place, original in enumerate(order):
        np.testing.assert_allclose(other.paths[place], sample.paths[original], atol=1e-9)
        np.testing.assert_allclose(other.losses[place], sample.losses[original], rtol=1e-12)
    np.testing.assert_allclose(other.surface, sample.surface, rtol=1e-6)
    np.testing.assert_allclose(other.shares, sample.shares, rtol=1e-9)


def test_pieces_are_small_and_tell_what_is_there(lanes, monkeypatch):
    monkeypatch.setattr("explorer.training.landscape.CHUNK_PRODUCTS", 2e6)
    monkeypatch.setattr("explorer.training.landscape.CHUNK_BYTES", 1 << 16)
    films = [(name, film) for name, (_, film) in lanes.items()]
    errand = Landscape(films, lanes["adam"][0], 0, LandscapeLook(1), 7, 6)
    known, pieces = [], 0
    assert np.isnan(errand.record.explained)
    while not errand.done:
        before = errand.record
        errand.advance()
        known.append(int(np.isfinite(before.surface).sum()))
        pieces += 1
    assert pieces > 10
    assert sorted(known) == known
    assert 0 < known[len(known) - 2] < 36  # the last but one is not complete, and was not changed afterwards
    np.testing.assert_allclose(errand.record.surface, computed(lanes).surface, rtol=1e-9)
    assert errand.record.generation == 7


def test_a_lane_of_another_instance_is_left_out(lanes):
    stranger = lane(Descent(lr=1e-4), epochs=3, run=0)
    sample = computed({"stranger": stranger, **lanes}, 1)
    assert [len(epochs) for epochs in sample.epochs] == [0, 10, 10, 6]
    np.testing.assert_allclose(sample.surface, computed(lanes).surface, rtol=1e-9)
    assert "Left out (another start or loss, or not filmed): stranger." in view.caption(sample, 5)


@pytest.mark.parametrize("last", [1e5, np.nan])
def test_a_run_that_diverged_has_no_place(last):
    challenge = TINY.replace(patience=1000)
    fine = lane(puppet([1.0, 2.0, 3.0, 2.0]), epochs=4, seeds=(5,), run=0, challenge=challenge)
    lost = lane(puppet([1.0, 2.0, 3.0, last]), epochs=4, seeds=(5,), run=0, challenge=challenge)
    sample = computed({"fine": fine, "lost": lost})
    assert np.isfinite(sample.paths[0]).all()
    np.testing.assert_allclose(sample.paths[1][:4], sample.paths[0][:4], atol=1e-9)
    assert np.isnan(sample.paths[1][4]).all()
    assert not sample.losses[1][4] < 1e8
    assert np.isfinite(sample.surface).all()
    # Seen from the run that is lost, the origin is where it was last seen.
    np.testing.assert_allclose(computed({"lost": lost}).paths[0][3], 0, atol=1e-12)


def test_without_movement_there_is_no_surface():
    sample = computed({"still": lane(Descent(lr=1e-4), epochs=0)})
    assert sample.epochs[0].tolist() == [0]
    assert np.isfinite(sample.losses[0]).all()
    assert sample.explained == 0
    assert np.isnan(sample.surface).all()
    assert "nothing moved" in view.caption(sample, 5)


def test_a_run_that_was_not_filmed_has_no_landscape(lanes):
    fleet, film = lanes["adam"]
    late = Film(1)
    late.offer(fleet)
    late._spaced.clear()
    sample = computed({"late": (fleet, late), "adam": (fleet, film)})
    assert [len(epochs) for epochs in sample.epochs] == [0, 10]
    assert np.isnan(sample.surface).all()
    alone = computed({"late": (fleet, late)})
    assert "nothing of it was filmed" in view.caption(alone, 5)


def test_one_step_spans_one_direction():
    sample = computed({"step": lane(Descent(lr=1e-3), epochs=1)}, grid=4)
    np.testing.assert_allclose(sample.shares, [1, 0], atol=1e-12)
    np.testing.assert_allclose(sample.surface, sample.surface[:1].repeat(4, axis=0), rtol=1e-9)
    np.testing.assert_allclose(sample.paths[0][:, 1], 0)


def test_batch_norms_that_never_saw_a_unit_alive_do_no_harm():
    """A network that a puppet has silenced: every deviation is zero."""
    challenge = TINY.replace(patience=1000)
    sample = computed({"puppet": lane(puppet([1.0, 2.0, 3.0]), epochs=3, seeds=(5,), run=0, challenge=challenge)})
    assert np.isfinite(sample.surface).all()


# The view


def made(counts=(5, 3), grid=7):
    """A sample of made-up paths over the surface exp((x² + y²)/4)."""
    rng = np.random.default_rng(8)
    x = y = np.linspace(-3, 3, grid)
    paths = tuple(rng.uniform(-2, 2, (count, 2)) for count in counts)
    names = tuple(f"optimizer {index}" for index in range(len(counts)))
    epochs = tuple(2 * np.arange(count) for count in counts)
    losses = tuple(rng.uniform(0.1, 1, count) for count in counts)
    surface = np.exp((x**2 + y[:, None] ** 2) / 4)
    return LandscapeSample(1, names, epochs, paths, losses, x, y, surface, np.array([0.61, 0.32]), "validation", 0, 0)


def rendered(overlay):
    """The Bokeh figure and its plots by label."""
    plot = hv.renderer("bokeh").get_plot(overlay)
    return plot.state, {sub.current_frame.label: sub for sub in plot.subplots.values()}


def test_the_paths_are_drawn_with_their_losses_and_ends():
    sample = made()
    table = view.columns(sample)
    for index, role in enumerate(view.LANES[:2]):
        np.testing.assert_array_equal(np.transpose([table[role]["x"], table[role]["y"]]), sample.paths[index])
        assert table[role]["epoch"] == sample.epochs[index].tolist()
        assert table[role]["loss"] == sample.losses[index].tolist()
        assert set(table[role]["name"]) == {sample.names[index]}
    assert all(not table[role]["x"] for role in view.LANES[2:])
    assert table["ends"]["x"] == [path[-1, 0] for path in sample.paths]
    assert table["ends"]["color"] == [look.color for look in LOOKS[:2]]
    assert len(table["start"]["x"]) == 1
    assert table["start"]["epoch"] == [0]
    along = view.along_columns(sample)
    assert along[view.LANES[1]]["loss"] == sample.losses[1].tolist()


def test_the_image_is_the_surface_at_the_nodes_and_linear_in_the_logarithm_between():
    sample = made()
    area = view.image(sample)
    (pixels,) = area["image"]
    count, fine = len(sample.x), view.FINE
    assert pixels.shape == ((count - 1) * fine + 1,) * 2
    np.testing.assert_allclose(pixels[::fine, ::fine], sample.surface, rtol=1e-6)
    middle = pixels[0, fine // 2]
    assert middle == pytest.approx(np.sqrt(sample.surface[0, 0] * sample.surface[0, 1]), rel=1e-6)
    pixel = area["dw"][0] / pixels.shape[1]
    assert area["x"][0] + pixel / 2 == pytest.approx(sample.x[0])
    assert area["x"][0] + area["dw"][0] - pixel / 2 == pytest.approx(sample.x[-1])
    uneven = replace(sample, y=sample.y[:4] + 1, surface=sample.surface[:4] * np.arange(1, 5)[:, None])
    (pixels,) = view.image(uneven)["image"]
    np.testing.assert_allclose(pixels[::fine, ::fine], uneven.surface, rtol=1e-6)


def test_contours_lie_where_the_loss_is_equal():
    sample = made(grid=41)
    x, y = (np.array(view.columns(sample)["contours"][axis]) for axis in "xy")
    low, high = view.colours(sample)
    known = np.isfinite(x)
    levels = np.linspace(np.log(low), np.log(high), view.LEVELS)[1:-1]
    squares = (x[known] ** 2 + y[known] ** 2) / 4
    assert np.abs(squares[:, None] - levels).min(axis=1).max() < 0.02
    assert known.sum() > 100


def test_what_is_missing_is_clear():
    sample = made()
    surface = sample.surface.copy()
    surface[3:] = np.nan
    surface[0, 0], surface[0, 1], surface[0, 2] = np.inf, 0, -1
    sample = replace(sample, surface=surface)
    low, high = view.colours(sample)
    (pixels,) = view.image(sample)["image"]
    assert (pixels[3 * view.FINE :] == 0).all()
    np.testing.assert_array_equal(pixels[:: view.FINE, :: view.FINE] > 0, np.isfinite(surface) & (surface > 0))
    assert ((pixels == 0) | (pixels >= low)).all()
    assert np.isfinite([low, high]).all()
    assert "18 of 49 points" in view.caption(replace(sample, surface=np.where(surface > 0, surface, np.nan)), 5)


def test_colours_span_four_decades_from_the_least_loss_on():
    sample = replace(made(), surface=np.full((7, 7), 0.5))
    sample.surface[0, 0] = 1e12
    low, high = view.colours(sample)
    assert low < min(losses.min() for losses in sample.losses)
    assert high == pytest.approx(1e4 * low)


def test_a_replay_cuts_the_paths_and_nothing_else():
    sample = made()
    then = view.upto(sample, 5)
    assert [epochs.tolist() for epochs in then.epochs] == [[0, 2, 4], [0, 2, 4]]
    assert [len(path) for path in then.paths] == [len(losses) for losses in then.losses] == [3, 3]
    assert view.axis_labels(then) == view.axis_labels(sample)
    np.testing.assert_array_equal(view.columns(then)["ends"]["x"][0], sample.paths[0][2, 0])
    assert view.columns(view.upto(sample, 0))["ends"]["epoch"] == [0, 0]


def test_axes_and_caption_say_how_much_is_seen():
    sample = made()
    assert view.axis_labels(sample) == ("direction 1 (61 % of the movement)", "direction 2 (32 % of the movement)")
    assert view.axis_labels(None) == ("direction 1", "direction 2")
    said = view.caption(sample, 3)
    assert "93.0 % of the movement" in said
    assert "seed 3" in said
    assert f"{sample.losses[0][-1]:.3f}" in said


def nowhere(sample):
    """The same before anything is computed, or with nothing but NaN."""
    nothing = {name: tuple(values * np.nan for values in getattr(sample, name)) for name in ("paths", "losses")}
    return replace(sample, surface=sample.surface * np.nan, shares=np.full(2, np.nan), **nothing)


@pytest.mark.parametrize(
    "sample",
    [None, made((1,)), made((0, 1), grid=2), made((200,) * 8), nowhere(made())],
    ids=["nothing", "one frame", "an empty lane", "many frames", "all NaN"],
)
def test_the_elements_draw(sample):
    figure, plots = rendered(view.landscape(sample))
    for role, data in view.columns(sample).items():
        source = plots[role].handles["cds"]
        assert set(data) <= set(source.data)
        np.testing.assert_array_equal(source.data["x"], data["x"])
    assert figure.match_aspect
    assert isinstance(plots["ends"].handles["cds"].data["color"], list)  # a browser refuses an empty array of numbers
    assert figure.legend == []
    np.testing.assert_array_equal(plots["surface"].handles["cds"].data["image"][0], view.image(sample)["image"][0])
    for column, values in view.image(sample).items():
        if column != "image":
            assert plots["surface"].handles["cds"].data[column] == pytest.approx(values)
    _, plots = rendered(view.along(sample))
    for role, data in view.along_columns(sample).items():
        np.testing.assert_array_equal(plots[role].handles["cds"].data["loss"], data["loss"])


def test_hooks_find_every_role():
    found = set()
    rendered(view.landscape(None, {role: lambda plot, element, role=role: found.add(role) for role in view.ROLES}))
    assert found == set(view.ROLES)


# The panel


def test_the_panel_shows_the_session_s_landscape_and_asks_for_one():
    asked, sample = [], made()
    history = SimpleNamespace(runs=[SimpleNamespace(seed=seed) for seed in (3, 4)])
    session = SimpleNamespace(landscape=None, history=None, replayed=None, lanes=[SimpleNamespace(history=history)] * 2)
    panel = LandscapePanel(lambda: None, lambda: asked.append(panel.look), RunInput(lambda: None))
    panel.panel.get_root()
    panel.refresh(session, CHALLENGE)
    assert panel._button.disabled
    session.history, session.landscape = history, sample
    panel.refresh(session, CHALLENGE)
    (plots,) = panel._planes.values()
    (along,) = panel._alongs.values()
    assert plots[view.LANES[0]].handles["cds"].data["x"] == sample.paths[0][:, 0].tolist()
    assert plots["surface"].handles["cds"].data["dw"] == view.image(sample)["dw"]
    assert plots["figure"].handles["xaxis"].axis_label == "direction 1 (61 % of the movement)"
    assert plots["surface"].handles["color_mapper"].high == view.colours(sample)[1]
    assert along["figure"].handles["x_range"].end == 8
    assert "seed 3" in panel._said.object
    assert "optimizer 1" in panel._legend.object
    held = plots["surface"].handles["cds"].data
    panel.refresh(session, CHALLENGE)
    assert plots["surface"].handles["cds"].data is held  # nothing new, nothing sent
    session.replayed = 4
    panel.refresh(session, CHALLENGE)
    assert plots[view.LANES[0]].handles["cds"].data["epoch"] == [0, 2, 4]
    assert along[view.LANES[0]].handles["cds"].data["epoch"] == [0, 2, 4]
    session.replayed = session.landscape = None
    panel.refresh(session, CHALLENGE)
    assert plots[view.LANES[0]].handles["cds"].data["x"] == []
    panel._loss.value = "test"
    panel._button.clicks += 1
    assert asked == [LandscapeLook(0, "test")]
