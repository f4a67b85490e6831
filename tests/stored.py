"""What the store's tests put in, and how they compare what comes out.  No pytest: other processes import this."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from explorer.records import History, Phase, Run, Snapshot, Status
from explorer.records.store import NewLane

RUNS = (Run(3, {"lr": 1e-3, "flag": True}), Run(2**61, {"lr": 1e-2, "flag": False}))
LANES = [NewLane("adam", {"optimizer": "adam", "challenge": {"width": 8}}, RUNS), NewLane("soap", {}, RUNS[:1])]


class Training:
    """Snapshots as a worker reports them: random losses, run 1 ends early after `ends` epochs."""

    def __init__(self, lane=0, runs=2, ends=25, seed=0):
        self.rng = np.random.default_rng([seed, lane])
        self.lane, self.runs, self.ends, self.epoch = lane, runs, ends, 0
        self.history = History(RUNS[:runs])
        self.val = np.full(runs, np.inf)
        self.best = np.zeros(runs, dtype=int)

    def snapshot(self, epochs, phase=Phase.RUNNING, status=Status.RUNNING, message=""):
        losses = self.rng.lognormal(size=(3, self.runs, epochs))
        numbers = self.epoch + 1 + np.arange(epochs)
        if self.runs > 1:
            losses[:, 1, numbers > self.ends] = np.nan
        for number, column in zip(numbers, losses[1].T, strict=True):
            better = column < self.val
            self.val, self.best = np.where(better, column, self.val), np.where(better, number, self.best)
        first, self.epoch = self.epoch + 1, self.epoch + epochs
        status = [status] * self.runs
        trained = np.full(self.runs, self.epoch)
        if self.runs > 1 and self.epoch >= self.ends:
            status[1], trained[1] = Status.EARLY_STOPPED, self.ends
        found = Snapshot(
            1, phase, first, *losses, tuple(status), trained, self.best.copy(), 0.25 * self.epoch, "CPU", message,
            lane=self.lane,
        )  # fmt: skip
        self.history.append(found)
        return found


def same(found, history):
    np.testing.assert_array_equal(found.losses, history.losses)
    np.testing.assert_array_equal(found.seconds, history.seconds)
    np.testing.assert_array_equal(found.at_best, history.at_best)
    np.testing.assert_array_equal(found.epochs, history.epochs)
    np.testing.assert_array_equal(found.best_epoch, history.best_epoch)
    assert (found.status, found.runs, found.epoch) == (history.status, history.runs, history.epoch)


def until(condition, timeout=10.0):
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout, "waited in vain"
        time.sleep(0.01)
    return time.monotonic() - began


def files(store):
    return sqlite3.connect(store.where)


def another(code, url, arguments=(), **how):
    """Run `code` in another process, with all of this and the store at hand."""
    prelude = f"import os, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    prelude += "from stored import *\nfrom explorer.records.store import *\n"
    return subprocess.Popen(
        [sys.executable, "-c", prelude + code, *arguments],
        env=os.environ | {"EXPLORER_STORE": url},
        stdout=subprocess.PIPE,
        text=True,
        **how,
    )
