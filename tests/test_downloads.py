"""What can be taken away is what is shown."""

import io
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from test_replay import CHALLENGE, session, trained  # noqa: F401  (a fixture)
from test_views import sample

import explorer as ex
from explorer.app import downloads
from explorer.app.session import Session
from explorer.training.probes import FunctionLook


def test_the_losses_as_csv_and_parquet_are_the_library_s(session):  # noqa: F811
    trained(session, "adam", "sgd", epochs=4)
    alone = ex.train(CHALLENGE, ex.optimizers.create("sgd"), seeds=(0, 1), device="cpu", max_epochs=4).history
    text = pd.read_csv(downloads.csv(session, "Race"))
    mine = text[(text.lane == "sgd") & (text.run == 1)].sort_values("epoch")
    np.testing.assert_allclose(mine.val_loss, alone.val_loss.values[1], rtol=1e-12)
    assert set(text.lane) == {"adam", "sgd"}
    columns = ["lane", "run", "epoch", "lr", "train_loss", "test_loss"]
    packed = pd.read_parquet(downloads.parquet(session, "Race"))
    pd.testing.assert_frame_equal(packed[columns], downloads.table(session, "Race")[columns])
    assert set(downloads.table(session, "Losses").lane) == {"adam"}
    assert len(downloads.table(session, "Sweep")) == 4
    session.replay(2)
    assert downloads.table(session, "Losses").epoch.max() == 2


def test_what_was_learnt_is_a_table(session):  # noqa: F811
    trained(session, "adam", epochs=1)
    session.look(FunctionLook(run=1))
    while session.learnt is None:
        session.drain()
    table, learnt = downloads.table(session, "Function"), session.learnt
    second = table[(table.output == 2) & (table.part == "curve")]
    np.testing.assert_array_equal(second.kept, learnt.kept[:, 1])
    np.testing.assert_array_equal(second.x, learnt.x)
    second = table[(table.output == 2) & (table.part == "residual")]
    np.testing.assert_array_equal(second.residual, learnt.residuals[:, 1])
    np.testing.assert_array_equal(second.x, learnt.test_x)
    assert set(table.part) == {"curve", "residual"}


def test_what_was_learnt_of_two_inputs_has_the_plane():
    looked = sample(2, inputs=3)
    table = downloads.function(looked)
    plane = table[(table.part == "plane") & (table.output == 2)]
    np.testing.assert_array_equal(plane.kept, looked.plane_kept[..., 1].ravel())
    at = plane[(plane.x == looked.plane[1]) & (plane.x2 == looked.plane[3])]
    assert at.truth.item() == looked.plane_truth[3, 1, 1]  # rows along the second input


def test_the_whole_experiment_as_netcdf(session, tmp_path):  # noqa: F811
    trained(session, "adam", "sgd", epochs=3)
    session.lanes[1].learnt = sample(2)
    file = tmp_path / "experiment.nc"
    file.write_bytes(downloads.netcdf(session).getvalue())
    with xr.open_datatree(file, engine="h5netcdf") as tree:
        lane = tree["lane 2"]
        np.testing.assert_array_equal(lane["test_loss"], session.lanes[1].history.losses[2])
        np.testing.assert_array_equal(lane["alpha"], session.lanes[1].outcomes.alpha)
        settings = json.loads(lane.attrs["settings"])
        table = downloads.function(session.lanes[1].learnt)
        np.testing.assert_array_equal(lane["function/residual"], table.residual)
        assert lane["function/part"].values.tolist() == table.part.tolist()
    assert settings["optimizer"] == "sgd"
    assert ex.Challenge(**settings["challenge"]).values == CHALLENGE.values


@pytest.mark.parametrize("view", ["Losses", "Race", "Sweep", "Function", "Inside", "Landscape", "Frontier"])
def test_nothing_to_download_is_said(view):
    with pytest.raises(ValueError, match="nothing to download yet: press Start"):
        downloads.csv(Session(), view)
    with pytest.raises(ValueError, match="nothing to download yet"):
        downloads.netcdf(Session())


def test_a_table_is_text_without_an_index(session):  # noqa: F811
    trained(session, "adam", epochs=1)
    assert isinstance(downloads.csv(session, "Losses"), io.StringIO)
    assert downloads.csv(session, "Losses").getvalue().startswith("lane,num_hidden_layers,run,epoch,")
