"""Every view's panel without a server: it draws what a session holds, however little or much that is."""

import corners
import numpy as np
import pytest

import explorer as ex
from explorer.app import figures
from explorer.app.frontier import FrontierPanel
from explorer.app.function import FunctionPanel
from explorer.app.inside import InsidePanel
from explorer.app.landscape import LandscapePanel
from explorer.app.losses import LossPanel
from explorer.app.race import RacePanel
from explorer.app.runs import RunInput
from explorer.app.session import Lane, Session
from explorer.app.sweep import SweepPanel
from explorer.records import History, Phase
from explorer.views.losses import single
from explorer.views.race import LOOKS

CHALLENGE = ex.Challenge.preset("tig")
PANELS = {
    "Losses": lambda run: LossPanel(lambda: None, run),
    "Race": lambda run: RacePanel(lambda: None, run),
    "Sweep": lambda run: SweepPanel(lambda: None, lambda lane, values: None, run),
    "Function": lambda run: FunctionPanel(lambda: None, run),
    "Inside": lambda run: InsidePanel(lambda: None, run),
    "Landscape": lambda run: LandscapePanel(lambda: None, lambda: None, run),
    "Frontier": lambda run: FrontierPanel(lambda: None, lambda depths: None),
}
SIZES = [(runs, epochs, lost) for runs in (1, 256) for epochs in (0, 1, 1000) for lost in (False, True)]


def lane(key, runs, epochs, lost, inputs=1):
    """A lane of `runs` runs after `epochs` epochs; lost: its first run's losses are NaN, from the first epoch on."""
    optimizer = ex.optimizers.create("adam", lr=list(corners.VALUES[:runs]))
    grown = Lane(key, f"lane {key}", CHALLENGE.replace(), optimizer)
    grown.history = History(corners.runs(runs))
    grown.history.append(corners.snapshot(runs, epochs, lost, key))
    grown.instances = corners.instances(runs, key)
    if epochs:
        grown.learnt = corners.learnt(epochs, lost, inputs, key)
        for sample in corners.looks(epochs, lost, key):
            grown.keep(sample)
    return grown


def session_of(*lanes, epochs):
    held = Session()
    held.lanes = list(lanes)
    held.phase = Phase.RUNNING
    if epochs:
        held.landscape = corners.landscape([lane.name for lane in lanes], epochs)
    return held


def held(root):
    """How much each named data source under a model holds."""
    sources = [model for model in root.references() if type(model).__name__ == "ColumnDataSource" and model.name]
    return {model.name: len(next(iter(model.data.values()))) for model in sources}


@pytest.mark.parametrize("view", PANELS)
def test_a_view_survives_every_size(view):
    run = RunInput(lambda: None)
    panel = PANELS[view](run)  # one for all sizes, as in the app: to make it is what takes long
    root = panel.panel.get_root()
    for runs, epochs, lost in SIZES:
        panel.refresh(Session(), CHALLENGE)
        session = session_of(*(lane(key, runs, epochs, lost, inputs=1 + key) for key in range(2)), epochs=epochs)
        session.selected = 1
        run.refresh(session)
        panel.refresh(session, CHALLENGE)
        drawn, (_, second) = held(root), session.lanes
        if view in ("Losses", "Race"):
            name = {"Losses": "log test", "Race": "race lane 1"}[view]
            assert drawn[name] == second.history.epoch
        if view == "Function":
            assert drawn["output 1 kept"] == (21 if epochs else 0)
            assert epochs == 0 or drawn["output 1 error image"] == 1
        if view == "Landscape":
            assert drawn["landscape path 1"] == min(epochs, 60)
        if view == "Inside" and epochs and not lost:
            assert drawn["inside cosine"] == 3 * len(second.inside)
        if view == "Sweep" and runs > 1 and epochs:
            assert drawn["sweep log lane 1"] == 2
        if view == "Frontier" and epochs and not (lost and runs == 1):
            assert drawn["frontier rates cells"] > 0


def test_the_run_in_hand_stands_out_in_every_view():
    asked = []
    run = RunInput(lambda: asked.append(run.value))
    session = session_of(lane(0, 4, 20, False), lane(1, 4, 20, False), epochs=20)
    run.refresh(session)
    losses, race = PANELS["Losses"](run), PANELS["Race"](run)
    looks = [PANELS[view](run) for view in ("Function", "Inside", "Landscape")]
    roots = [panel.panel.get_root() for panel in (losses, race)]
    losses._singles.value = race._alone.value = True
    losses.refresh(session, CHALLENGE)
    (plots,) = losses._figure._axes[True]._rendered.values()
    curves = plots["singles"]
    curves[single(2)].data_source.selected.line_indices = [5]  # as a tap does
    assert asked == [2]
    assert [panel.look.run for panel in looks] == [2, 2, 2]
    losses.refresh(session, CHALLENGE)
    race.refresh(session, CHALLENGE)
    widths = [curves[single(place)].glyph.line_width for place in range(4)]
    assert widths == [1, 1, 3, 1]
    sources = {model.name: model for model in roots[1].references() if type(model).__name__ == "ColumnDataSource"}
    for place in range(2):
        own = session.lanes[place].history.losses[2, 2]
        np.testing.assert_array_equal(sources[f"race lane {place}"].data["loss"], own)
    assert "run 2 alone" in race._legend.object
    table = figures.runs(session.outcomes, [], run.value)
    assert table.count("▶") == 1
    assert "<td>▶ 2</td>" in table
    one = session_of(lane(0, 1, 20, False), epochs=20)
    run.refresh(one)
    assert not run.visible


def test_a_view_shows_the_run_in_hand_when_it_is_shown_itself():
    run = RunInput(lambda: None)
    session = session_of(lane(0, 4, 20, False), epochs=20)
    panels = [PANELS[view](run) for view in ("Losses", "Race", "Function", "Inside", "Landscape")]
    run.refresh(session)
    for panel in panels:
        panel.refresh(session, CHALLENGE)
        assert (panel._input.value, panel._input.end, panel._input.visible) == (run.value, 3, True)
        panel._input.value += 1 if run.value < 3 else -1  # as a person does
        assert run.value == panel._input.value
    assert [panel._input.value for panel in panels] == [1, 2, 3, 2, 3]  # those that are not shown stay as they were
    panels[0].refresh(session, CHALLENGE)
    assert panels[0]._input.value == 3


def test_the_leaderboard_has_a_row_a_lane_and_says_whom_the_wins_are_against():
    run = RunInput(lambda: None)
    panel = PANELS["Race"](run)
    panel.refresh(Session(), CHALLENGE)
    assert not panel._board._table.visible
    session = session_of(*(lane(key, 4, 20, False) for key in range(3)), epochs=20)
    session.phase = Phase.STOPPED
    panel.refresh(session, CHALLENGE)
    shown = panel._board._table.value
    best = sorted(session.lanes, key=lambda lane: lane.outcomes.alpha.median())
    assert shown.optimizer.tolist() == [lane.name for lane in best]
    for row in shown.itertuples():
        assert LOOKS[int(row.optimizer[-1])].color in row.line
    assert "that of lane 0." in panel._board._said.object
