"""What a plug-in with `while True: pass` costs those beside it: when it is ended, their epochs per second meanwhile.

    python tests/load/hanging.py

One session trains Adam on the tig challenge throughout.  In turns it is alone, and beside a session whose plug-in
hangs.  Best on an idle machine.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from pathlib import Path

import explorer as ex
from explorer.records import Fault, Snapshot
from explorer.training import separate
from explorer.training.plan import Plan
from explorer.training.worker import Worker

ROUNDS, LIMIT = 10, 3.0
HANGS = '''"""Hangs in its first step."""


def optimizer_init_state(seed, param_sizes, model_params):
    return None


def optimizer_step(state, model_params, gradients, epoch, train_loss, val_loss):
    while True:
        pass
'''


def watch(worker: Worker, seconds: float) -> float:
    """Epochs per second of a session for so long."""
    worker.drain()
    began, epochs = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        for record in worker.drain():
            epochs += record.train_loss.shape[1] if isinstance(record, Snapshot) else 0
        time.sleep(0.02)
    return epochs / (time.monotonic() - began)


def main() -> None:
    logging.disable()
    steady, hanging = Worker(), Worker()
    challenge = ex.Challenge.preset("tig", max_epochs=10_000, patience=10_000)
    steady.start(Plan.of(challenge, ex.optimizers.create("adam"), (0,), device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hangs.py"
        file.write_text(HANGS, encoding="utf-8")
        watch(steady, 3)
        ratios = []
        for _ in range(ROUNDS):
            plugin = separate.load(file, limits=separate.Limits(seconds=LIMIT))
            before = watch(steady, LIMIT)
            hanging.drain()
            hanging.start(Plan.of(challenge, plugin, (0,), device="cpu"))
            began = time.monotonic()
            beside = watch(steady, LIMIT - 0.5)
            while not (faults := [record for record in hanging.drain() if isinstance(record, Fault)]):
                time.sleep(0.01)
            ended = time.monotonic() - began
            after = watch(steady, LIMIT)
            ratios.append(beside / statistics.mean((before, after)))
            print(
                f"ended after {ended:.1f} s (limit {LIMIT:g} s): {faults[0].message}  Beside it {beside:.1f} epochs/s; "
                f"before {before:.1f}, after {after:.1f}: {ratios[-1]:.0%}"
            )
            assert ended < LIMIT + 5
    print(f"epochs per second beside it, of those without: median {statistics.median(ratios):.0%}")
    steady.close()
    hanging.close()


if __name__ == "__main__":
    main()
