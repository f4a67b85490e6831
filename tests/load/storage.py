"""What the store costs: epochs as rows of blobs or as a row for each run and epoch, and many experiments at once.

    python tests/load/storage.py

Times are of the processor, medians of several turns taken alternately; sizes are of the file and its log.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import Column, Double, Integer, MetaData, Table, create_engine, insert, select

from explorer.records import Instances, Phase, Run, Snapshot, Status
from explorer.records.store import NewLane, Store, changes

EPOCHS, A_SNAPSHOT, A_TRANSACTION, ROUNDS = 1000, 10, 5, 3


def snapshots(runs: int, epochs: int, lane: int = 0) -> list[Snapshot]:
    """A training in which nothing ends."""
    losses = np.random.default_rng(lane).lognormal(size=(3, runs, epochs))
    return [
        Snapshot(
            1, Phase.RUNNING, first + 1, *losses[:, :, first : first + A_SNAPSHOT], (Status.RUNNING,) * runs,
            np.full(runs, first + A_SNAPSHOT), np.full(runs, first + 1), first / 100, "CPU", lane=lane,
        )
        for first in range(0, epochs, A_SNAPSHOT)
    ]  # fmt: skip


def blobs(folder: Path, told: list[Snapshot]) -> tuple[float, float, float]:
    """As the store has it: seconds to write and to read, megabytes."""
    store = Store(f"sqlite:///{folder}/blobs.db")
    runs = told[0].train_loss.shape[0]
    id = store.begin([NewLane("x", {}, tuple(Run(run, {}) for run in range(runs)))])
    wrote = timed(lambda: [
        store.write([changes.Append(id, 0, snapshot) for snapshot in told[at : at + A_TRANSACTION]])
        for at in range(0, len(told), A_TRANSACTION)
    ])  # fmt: skip
    read = timed(lambda: store.history(id, 0))
    store.close()
    return wrote, read, size(folder / "blobs.db")


def rows(folder: Path, told: list[Snapshot]) -> tuple[float, float, float]:
    """The alternative: a row for each run and epoch."""
    engine = create_engine(f"sqlite:///{folder}/rows.db")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    metadata = MetaData()
    losses = [Column(name, Double) for name in ("train_loss", "val_loss", "test_loss")]
    key = [Column(name, Integer, primary_key=True) for name in ("lane", "epoch", "run")]
    table = Table("epochs", metadata, *key, *losses, sqlite_with_rowid=False)
    metadata.create_all(engine)

    def write() -> None:
        for at in range(0, len(told), A_TRANSACTION):
            with engine.begin() as connection:
                for snapshot in told[at : at + A_TRANSACTION]:
                    columns = [getattr(snapshot, loss.name).tolist() for loss in losses]
                    connection.execute(insert(table), [
                        {"lane": 1, "epoch": snapshot.first_epoch + index, "run": run, **{
                            loss.name: column[run][index] for loss, column in zip(losses, columns, strict=True)}}
                        for run in range(len(snapshot.status)) for index in range(A_SNAPSHOT)
                    ])  # fmt: skip

    def read() -> np.ndarray:
        with engine.connect() as connection:
            found = connection.execute(select(*losses).order_by(table.c.run, table.c.epoch)).all()
        return np.array(found).T.reshape(3, len(told[0].status), -1)

    took = timed(write), timed(read)
    engine.dispose()
    return *took, size(folder / "rows.db")


def timed(what: Callable[[], object]) -> float:
    """Seconds of processor time, which other programs on the machine change little."""
    began = time.process_time()
    what()
    return time.process_time() - began


def size(path: Path) -> float:
    """Megabytes of the file and its log."""
    return sum(found.stat().st_size for found in path.parent.glob(path.name + "*")) / 1e6


def compare() -> None:
    """Blobs beside rows."""
    print(f"{EPOCHS} epochs, {A_SNAPSHOT} a snapshot, {A_TRANSACTION} snapshots a transaction")
    print(f"{'runs':>5}  {'':6} {'write, s':>9} {'read, s':>9} {'MB':>7}")
    for runs in (1, 16, 64):
        told = snapshots(runs, EPOCHS)
        found: dict[str, list[tuple[float, float, float]]] = {"blobs": [], "rows": []}
        for _ in range(ROUNDS):
            for name, way in (("blobs", blobs), ("rows", rows)):
                with tempfile.TemporaryDirectory() as folder:
                    found[name].append(way(Path(folder), told))
        for name, turns in found.items():
            wrote, read, megabytes = (statistics.median(column) for column in zip(*turns, strict=True))
            print(f"{runs:>5}  {name:6} {wrote:>9.3f} {read:>9.3f} {megabytes:>7.2f}")


def classroom(sessions: int = 50, seconds: int = 10) -> None:
    """Everybody trains: ten snapshots a second each, a transaction each half second."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/store.db")
        ids = [store.begin([NewLane("x", {}, (Run(0, {"lr": 0.1}),))]) for _ in range(sessions)]
        told = snapshots(1, 10 * seconds * A_SNAPSHOT)
        took = []
        for at in range(0, len(told), A_TRANSACTION):
            batch = [changes.Append(id, 0, snapshot) for snapshot in told[at : at + A_TRANSACTION] for id in ids]
            began = time.process_time()
            store.write(batch)
            took.append(time.process_time() - began)
        share = sum(took) / seconds
        middle = statistics.median(took) * 1e3
        print(f"{sessions} sessions of one run: {middle:.0f} ms a transaction, {share:.1%} of one processor")
        store.close()


def history(experiments: int = 2000) -> None:
    """Looking through a long history."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/store.db")
        runs = tuple(Run(run, {"lr": 0.1}) for run in range(16))
        told, facts = snapshots(16, 100), Instances(1, *np.ones((4, 16)))
        for number in range(experiments):
            id = store.begin([NewLane(f"adam {number}", {"width": 256, "depth": 4}, runs)])
            store.write([*(changes.Append(id, 0, snapshot) for snapshot in told), changes.Learn(id, 0, facts)])
        for how in ({}, {"search": "adam 1999"}, {"limit": experiments}):
            took = statistics.median(timed(lambda how=how: store.find(**how)) for _ in range(5))
            print(f"{experiments} experiments of 16 runs: find({how}) takes {took * 1e3:.0f} ms")
        print(f"opening takes {timed(lambda: Store(f'sqlite:///{folder}/store.db').close()) * 1e3:.0f} ms; "
              f"{size(Path(folder) / 'store.db'):.0f} MB")  # fmt: skip
        store.close()


if __name__ == "__main__":
    compare()
    classroom()
    history()
