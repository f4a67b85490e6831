"""Kill a training process at random moments: is everything there, and does every run go on to the same curve?

    python tests/load/kill.py --times 20 --seed 0

A process trains two fleets and keeps them in a store; it is ended with SIGKILL.  Then the store must be sound, the
experiment marked as interrupted and no epoch lost that had ended more than a second before.  Another process continues
it; half of those are killed, too.  In the end every curve must be the one that a fleet has which nobody interrupted, to
nine digits.  Checkpoints are taken every second here, not every five, so that more kills meet some.  The exit code is 1
if anything was not so, with a sentence for each.
"""

from __future__ import annotations

import argparse
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import explorer as ex
from explorer.records import LOSSES, Phase
from explorer.records.store import INTERRUPTED, Checkpoint, Recorder, Recording, Store
from explorer.training import continuation
from explorer.training.continuation import Checkpoints, new_lane, remake, thaw
from explorer.training.fleet import Fleet

CHALLENGE = ex.Challenge.preset("tig", width=16, train_size=256, max_epochs=300, patience=10_000)
OPTIMIZERS = [ex.optimizers.create("adam", ["cosine"], lr=[1e-3, 3e-3]), ex.optimizers.create("soap")]
SEEDS = [0, 1]
REPORT_EVERY = 0.1
LATEST = 1.0
"""Seconds before its end within which a process may have finished an epoch that is lost."""


def fleets_of(settings: list[dict]) -> list[Fleet]:
    """As the lanes' settings say, at their beginning."""
    return [Fleet(*remake(lane), SEEDS, "cpu", "float64") for lane in settings]


def train(url: str, id: str | None) -> None:
    """Begin an experiment, or go on with `id`; every epoch's end is told on standard output, with the time."""
    continuation.EVERY, continuation.BYTES_PER_SECOND = 1.0, 10**9
    recorder = Recorder(url)
    lanes = [new_lane(optimizer.key, CHALLENGE, optimizer, SEEDS) for optimizer in OPTIMIZERS]
    if id is None:
        fleets = fleets_of([lane.settings for lane in lanes])
        take = recorder.begin(lanes)
    else:
        store = Store(url)
        fleets = fleets_of([dict(lane.settings) for lane in store.get(id).lanes])
        for place, fleet in enumerate(fleets):
            if (kept := store.checkpoint(id, place)) is not None:
                thaw(kept[1], fleet)
        store.close()
        take = recorder.resume(id)
    print(f"id {take.id} {min(fleet.epoch for fleet in fleets)}", flush=True)
    reported, checkpoints = 0.0, Checkpoints()
    while any(fleet.epoch < CHALLENGE.max_epochs for fleet in fleets):
        for place, fleet in enumerate(fleets):
            if fleet.epoch < CHALLENGE.max_epochs:
                fleet.advance()
                print(f"{place} {fleet.epoch} {time.time()}", flush=True)
        if time.monotonic() - reported >= REPORT_EVERY:
            reported = time.monotonic()
            report(take, fleets, Phase.RUNNING)
            for place, data in enumerate(checkpoints.offer(fleets)):
                take(Checkpoint(0, fleets[place].epoch, data, place))
    report(take, fleets, Phase.FINISHED)
    recorder.close(timeout=60)


def report(take: Recording, fleets: list[Fleet], phase: Phase) -> None:
    """The epochs since the last time, as the worker tells them."""
    for place, fleet in enumerate(fleets):
        snapshot = fleet.snapshot(0, phase)
        take(type(snapshot)(**(vars(snapshot) | {"lane": place})))


class Victim:
    """A process that trains, and what it said: when each lane ended which epoch."""

    def __init__(self, url: str, id: str | None = None) -> None:
        command = [sys.executable, __file__, "--train", url, *([id] if id else [])]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        _, self.id, self.since = self._process.stdout.readline().split()
        self.told: list[tuple[int, int, float]] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            if line.endswith("\n"):
                lane, epoch, when = line.split()
                self.told.append((int(lane), int(epoch), float(when)))

    def kill_after(self, seconds: float) -> float | None:
        """Let it live so long; when it was killed, or None if it had ended before."""
        try:
            self._process.wait(seconds)
            when = None
        except subprocess.TimeoutExpired:
            when = time.time()
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
        self._listener.join()
        return when

    def finish(self) -> int:
        """Let it come to its end; its exit code."""
        self._process.wait(600)
        self._listener.join()
        return self._process.returncode


def lost(victim: Victim, store: Store, killed: float) -> list[float]:
    """How long before the end each epoch ended that is not in the store, in seconds."""
    kept = [lane.epoch for lane in store.get(victim.id).lanes] if store.knows(victim.id) else [0] * len(OPTIMIZERS)
    return [killed - when for lane, epoch, when in victim.told if epoch > kept[lane] and when < killed]


def sound(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with the file."""
    with sqlite3.connect(path) as raw:
        whole = raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return whole and raw.execute("PRAGMA foreign_key_check").fetchall() == []


def reference() -> list[np.ndarray]:
    """Each lane's losses `[3, R, E]`, trained in one go, without a store."""
    curves = []
    for optimizer in OPTIMIZERS:
        fleet = Fleet(CHALLENGE, optimizer, SEEDS, "cpu", "float64")
        for _ in range(CHALLENGE.max_epochs):
            fleet.advance()
        snapshot = fleet.snapshot()
        curves.append(np.array([getattr(snapshot, loss) for loss in LOSSES]))
    return curves


def main(times: int, seed: int, folder: str) -> int:
    """Kill `times` processes; how many things were not as they should be."""
    chance, path = random.Random(seed), Path(folder) / "store.db"
    url, wrong, ages, killed_at, thawed = f"sqlite:///{path}", [], [], [], 0
    curves = reference()
    whole = Victim(url)
    whole.finish()
    lasts = whole.told[-1][2] - whole.told[0][2]
    print(f"{CHALLENGE.max_epochs} epochs of {len(OPTIMIZERS)} lanes take {lasts:.1f} s here.", flush=True)

    def check(id: str) -> None:
        for place, curve in enumerate(curves):
            history = store.history(id, place)
            if history.losses.shape != curve.shape or not np.allclose(history.losses, curve, rtol=1e-9, atol=0):
                wrong.append(f"{id}: lane {place} has another curve than without an interruption.")

    store = Store(url)
    check(whole.id)
    number = 0
    while number < times:
        victim, again = Victim(url), chance.random() < 0.5
        while True:
            killed = victim.kill_after(chance.uniform(0, lasts)) if number < times else None
            if killed is None:
                victim.finish()
                break
            number += 1
            if not sound(path):
                wrong.append(f"{victim.id}: the store is damaged.")
            store.close()
            store = Store(url)
            missing = lost(victim, store, killed)
            ages += missing[:1]
            if missing and missing[0] > LATEST:
                wrong.append(f"{victim.id}: an epoch was lost that had ended {missing[0]:.2f} s before.")
            if not store.knows(victim.id):  # its first transaction was not done: there is nothing to continue
                killed_at.append(0)
                print(f"{number:3d}  {victim.id}  was killed before it was in the store", flush=True)
                break
            phase, epoch = store.get(victim.id).phase, max(lane.epoch for lane in store.get(victim.id).lanes)
            killed_at.append(epoch)
            if phase == "finished" and epoch == CHALLENGE.max_epochs:  # it was done, only the process was still there
                print(f"{number:3d}  {victim.id}  had finished", flush=True)
                break
            if phase != INTERRUPTED:
                wrong.append(f"{victim.id}: it is {phase}, not {INTERRUPTED}.")
            victim = Victim(url, victim.id)
            thawed += int(victim.since) > 0
            print(
                f"{number:3d}  {victim.id}  kept {epoch:4d} epochs, oldest lost {max(missing, default=0):.2f} s, "
                f"continued from epoch {victim.since}",
                flush=True,
            )
            if not again:
                victim.finish()
                break
            again = False
        if store.knows(victim.id):
            if store.get(victim.id).phase != "finished":
                wrong.append(f"{victim.id}: it was continued, but is {store.get(victim.id).phase}.")
            check(victim.id)
    if not sound(path):
        wrong.append("In the end the store is damaged.")
    middle = statistics.median(killed_at)
    print(
        f"{number} kills after {min(killed_at)} to {max(killed_at)} epochs (median {middle:.0f}); "
        f"{thawed} continued from a checkpoint, the others from the beginning; the oldest lost epoch had ended "
        f"{max(ages, default=0):.2f} s before (median {statistics.median(ages or [0]):.2f} s); {len(wrong)} faults."
    )
    for sentence in wrong:
        print(sentence)
    store.close()
    return len(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=20, help="how many kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--train", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train(given.train[0], given.train[1] if len(given.train) > 1 else None)
        sys.exit()
    with tempfile.TemporaryDirectory() as where:
        sys.exit(1 if main(given.times, given.seed, where) else 0)
