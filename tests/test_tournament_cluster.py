"""The same tournament on a Dask cluster of processes: the same table, also when one of them is killed."""

import logging
import os
import signal

import dask
import distributed
import pandas as pd
import pytest
from tournament_tiny import TINY, spec, unit

from explorer.tournament import Entry, Store, Tournament, cluster, here, parse

EXACT = ["ruleset", "submission", "study", "workload", "kind", "trial", "hyperparameters", "epochs", "evaluations"]
"""What does not hang on the machine's pace."""


def slower():
    """Fleets of some tenths of a second, so that a worker that is killed has one in hand."""
    settings = TINY | {"width": 64, "train_size": 512}
    workloads = [{"name": "u", "settings": settings, "instances": [1, 2, 3], "targets": [1e-3] * 3}]
    return parse(spec(workloads=workloads, external={"studies": 4, "trials": 2}))


def held(told, path, player):
    tournament = Tournament(told, Store(path))
    for _ in tournament.play(player):
        pass
    return tournament


@pytest.mark.timeout(240)
def test_a_worker_that_is_killed_changes_nothing(tmp_path):
    alone = held(slower(), tmp_path / "alone.sqlite", here("cpu"))
    quiet = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    with distributed.LocalCluster(2, threads_per_worker=1, **quiet) as processes:
        with pytest.raises(ValueError, match="device = 'cuda:7' is not"):
            list(cluster.remote(processes.scheduler_address, "cuda:7")([unit()]))
        killed = processes.workers[0].pid
        tournament = Tournament(slower(), Store(tmp_path / "together.sqlite"))
        seen = []
        for one, _ in tournament.play(cluster.remote(processes.scheduler_address, "cpu")):
            seen.append(one.key)
            if len(seen) == 2:
                os.kill(killed, signal.SIGKILL)
    assert sorted(seen) == sorted(one.key for one in tournament.units)
    assert len(Store(tmp_path / "together.sqlite").get(tournament.units)) == len(tournament.units) == 8
    pd.testing.assert_frame_equal(tournament.table()[EXACT], alone.table()[EXACT])
    assert [held.losses for held in whole(tournament, tmp_path / "together.sqlite")] == [
        held.losses for held in whole(alone, tmp_path / "alone.sqlite")
    ]


def whole(tournament, path):
    store = Store(path)
    return [store.whole(one) for one in tournament.units]


DEADLY = """
import os
import signal

def optimizer_init_state(seed, param_sizes, model_params):
    return None

def optimizer_step(state, model_params, gradients, epoch, train_loss, val_loss):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.timeout(60)
def test_a_fleet_that_ends_every_worker_is_given_up_with_a_sentence(tmp_path):
    (tmp_path / "deadly.py").write_text(DEADLY)
    units = [unit(seeds=(4, 5, 6)), unit(entry=Entry("", str(tmp_path / "deadly.py")))]
    found = []

    def collect():
        for one, _ in cluster.local(1, "cpu")(units):
            found.append(one.seeds)

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(ValueError, match="adam on u, external, study 0: each worker that trained it died"),
    ):
        collect()
    assert found == [(4, 5, 6)]


@pytest.mark.timeout(240)
def test_a_cluster_made_for_the_occasion(tmp_path):
    together = held(parse(spec()), tmp_path / "together.sqlite", cluster.local(2, "cpu"))
    alone = held(parse(spec()), tmp_path / "alone.sqlite", here("cpu"))
    pd.testing.assert_frame_equal(together.table()[EXACT], alone.table()[EXACT])


def test_what_is_no_cluster_is_a_sentence():
    impatient = dask.config.set({"distributed.comm.timeouts.connect": "100ms"})
    with impatient, pytest.raises(ValueError, match=r"scheduler = 'tcp://127.0.0.1:1' does not answer"):
        list(cluster.remote("tcp://127.0.0.1:1")([unit()]))
    with pytest.raises(ValueError, match="workers = 0 is not allowed"):
        cluster.local(0)


def test_several_gpus_are_shared_out(monkeypatch):
    class Worker:
        name = 5

    monkeypatch.setattr(distributed, "get_worker", lambda: Worker)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert [cluster.own_device(name) for name in ("auto", "cuda", "cuda:0", "cpu")] == [
        "cuda:1",
        "cuda:1",
        "cuda:0",
        "cpu",
    ]
    assert cluster.gpus() == 4
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert cluster.own_device("auto") == "auto"
    Worker.name = "tcp://10.0.0.1:4000"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert cluster.own_device("auto") == "auto"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="this machine has no CUDA device"):
        cluster.gpus()
