"""What a notebook is given, without a page: results, guests of the race, pictures of objects, a bar."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import explorer as ex
from explorer.records import History, Phase, Run, Snapshot, Status
from explorer.training import progress
from explorer.training.result import Results

TINY = {"width": 8, "max_epochs": 4}


@pytest.fixture(scope="module")
def challenge():
    return ex.Challenge.preset("tig", **TINY)


@pytest.fixture(scope="module")
def swept(challenge):
    return ex.train(challenge, ex.optimizers.create("adam", lr=[1e-3, 1e-2]), seeds=range(2))


@pytest.fixture
def explorer(challenge):
    made = ex.Explorer(challenge, [ex.optimizers.create("adam", lr=[1e-3, 1e-2]), "sgd"], seeds=2)
    yield made
    made.close()


def test_what_the_app_trains_is_what_the_library_trains(explorer, challenge, swept):
    assert len(explorer.results) == 0
    assert explorer.results.outcomes.empty
    explorer.start()
    explorer.wait(60)
    results = explorer.results
    assert results.names == ["adam lr=[0.001, 0.01]", "sgd"]
    assert results["sgd"].optimizer.key == "sgd"
    xr.testing.assert_allclose(results[0].history.drop_vars("seconds"), swept.history.drop_vars("seconds"), rtol=1e-5)
    pd.testing.assert_frame_equal(
        results[0].outcomes.drop(columns="seconds"), swept.outcomes.drop(columns="seconds"), rtol=1e-5
    )
    assert list(results.outcomes.lane) == ["adam lr=[0.001, 0.01]"] * 4 + ["sgd"] * 2
    assert results.history.test_loss.shape == (6, 4)
    assert results[0].challenge.values == challenge.values


def test_a_result_joins_the_race_and_stays(explorer, challenge, swept):
    explorer.add(swept)
    explorer.add(swept, "again")
    explorer.start()
    explorer.wait(60)
    compared = explorer.session.compared
    assert [lane.name for lane in compared] == ["adam lr=[0.001, 0.01]", "sgd", "adam lr=[0.001, 0.01] #2", "again"]
    assert compared[-1].outcomes.test_loss.tolist() == swept.outcomes.test_loss.tolist()
    assert [len(result.outcomes) for result in explorer.results] == [4, 2]
    for _ in range(4):
        explorer.add(swept)
    with pytest.raises(ValueError, match="room for 8 lanes"):
        explorer.add(swept)


def test_a_history_comes_back_from_its_result(swept):
    back = History.of(swept.history, swept.outcomes)
    xr.testing.assert_identical(back.to_xarray(), swept.history)
    assert back.runs[3] == Run(1, swept.optimizer.grid()[1])
    assert [str(status) for status in back.status] == list(swept.outcomes.status)
    assert back.best_epoch.tolist() == list(swept.outcomes.best_epoch)


def test_epochs_after_the_last_run_s_end_are_nobody_s():
    history, end = History([Run(0, {})]), np.array([2])
    for first in (1, 4):
        losses = [np.ones((1, 3))] * 3
        history.append(Snapshot(1, Phase.RUNNING, first, *losses, (Status.EARLY_STOPPED,), end, end, 1.0, "CPU"))
    assert history.epoch == 2


def test_an_explorer_begins_as_it_is_told():
    challenge = ex.Challenge.preset("brief", num_hidden_layers=1, input_dims=2)
    made = ex.Explorer(challenge, ["muon", ex.optimizers.create("adam", "clip", lr=0.1)], seeds=3, first_seed=5)
    try:
        controls = made.controls
        assert controls.setup.preset == "brief"
        assert controls.challenge.values == challenge.values
        assert [entrant.built.described for entrant in controls.lanes.entrants] == ["muon", "adam+clip lr=0.1"]
        assert controls.setup.seed_list == (5, 6, 7)
        assert controls._challenge["input_dims"].widget.value == "2"
        assert controls._setup["optimizer"].widget.value == "muon"
    finally:
        made.close()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"optimizers": ["nobody"]}, "optimizer = 'nobody' is not known"),
        ({"optimizers": ["adam"] * 9}, "There is room for 8 optimizers, not for 9"),
        ({"seeds": 0}, "seeds = 0 is not allowed"),
        ({"colour": "red"}, "colour is not a setting"),
    ],
)
def test_what_an_explorer_cannot_be_told_is_refused(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        ex.Explorer(**given)


def test_objects_show_themselves(challenge, swept):
    shown = challenge._repr_html_()
    assert "<th>width</th><td><b>8</b></td>" in shown
    assert "<th>batch_size</th><td>128</td>" in shown
    shown = ex.optimizers.create("adam", lr=[1e-3, 1e-2])._repr_html_()
    assert "adam lr=[0.001, 0.01]" in shown
    assert "<b>0.001, 0.01</b>" in shown
    shown = swept._repr_html_()
    assert "4 runs on cpu" in shown
    assert "<td>max_epochs</td>" in shown
    assert Results({"<b>": swept})._repr_html_().startswith("<h4>&lt;b&gt;</h4>")


def test_a_bar_is_drawn_in_a_notebook_alone(challenge, monkeypatch, capsys):
    ex.train(challenge, ex.optimizers.create("sgd"))
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(progress, "kernel", lambda: "a kernel")
    monkeypatch.setattr(progress, "UPDATE_EVERY", 0.0)
    drawn = []

    class Handle:
        def update(self, bar):
            drawn.append(bar._repr_html_())

    monkeypatch.setattr("IPython.display.display", lambda bar, display_id: drawn.append(bar._repr_html_()) or Handle())
    ex.train(challenge, ex.optimizers.create("sgd"))
    assert [text.partition(" max")[0] for text in drawn] == [f'<progress value="{epoch}"' for epoch in range(5)]
    assert "epoch 4 of 4  train " in drawn[-1]
