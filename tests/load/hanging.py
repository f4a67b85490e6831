"""What a plug-in with `while True: pass` costs those beside it: when it is ended, their epochs per second meanwhile.

    python tests/load/hanging.py

One session trains Adam on the tig challenge throughout.  A few times another one starts whose plug-in hangs and is
ended.  Then one may hang for longer, and in turns of a second its process is held (SIGSTOP) and let go again: whatever
else the machine does falls on both kinds of turns.  The exit code is 1 if it is ended too late, or if the first session
loses more than a tenth.
"""

from __future__ import annotations

import logging
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

import explorer as ex
from explorer.records import Fault, Snapshot
from explorer.training import separate
from explorer.training.plan import Plan
from explorer.training.worker import Worker

ENDS, LIMIT = 3, 3.0
PAIRS, TURN = 30, 1.0
IN_TIME, LEFT = 5.0, 0.9
"""Seconds over its limit by which it must be ended; the share of their speed that the others must keep."""
HANGS = '''"""Hangs in its first step."""


def optimizer_init_state(seed, param_sizes, model_params):
    return None


def optimizer_step(state, model_params, gradients, epoch, train_loss, val_loss):
    while True:
        pass
'''

CHALLENGE = ex.Challenge.preset("tig", max_epochs=10_000, patience=10_000)


def watch(worker: Worker, seconds: float) -> float:
    """Epochs per second of a session for so long."""
    worker.drain()
    began, epochs = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        for record in worker.drain():
            epochs += record.train_loss.shape[1] if isinstance(record, Snapshot) else 0
        time.sleep(0.02)
    return epochs / (time.monotonic() - began)


def hang(worker: Worker, file: Path, limit: float) -> float:
    """Start a plug-in that hangs; when."""
    plugin = separate.load(file, limits=separate.Limits(seconds=limit))
    worker.drain()
    worker.start(Plan.of(CHALLENGE, plugin, (0,), device="cpu"))
    return time.monotonic()


def ended(worker: Worker) -> str:
    """Wait until it was ended; what was said of that."""
    while not (faults := [record for record in worker.drain() if isinstance(record, Fault)]):
        time.sleep(0.01)
    return faults[0].message


def main() -> bool:
    logging.disable()
    steady, hanging = Worker(), Worker()
    steady.start(Plan.of(CHALLENGE, ex.optimizers.create("adam"), (0,), device="cpu"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hangs.py"
        file.write_text(HANGS, encoding="utf-8")
        watch(steady, 3)
        took = []
        for _ in range(ENDS):
            began = hang(hanging, file, LIMIT)
            said = ended(hanging)
            took.append(time.monotonic() - began)
            print(f"ended after {took[-1]:.1f} s (limit {LIMIT:g} s): {said}", flush=True)
        hang(hanging, file, 3 * PAIRS * TURN)
        watch(steady, 2)
        (child,) = psutil.Process().children()
        speeds: dict[int, list[float]] = {signal.SIGSTOP: [], signal.SIGCONT: []}
        for pair in range(PAIRS):
            for what in (signal.SIGSTOP, signal.SIGCONT)[:: 1 if pair % 2 else -1]:
                child.send_signal(what)
                speeds[what].append(watch(steady, TURN))
        hanging.stop()
        child.send_signal(signal.SIGCONT)
        child.kill()
    held, free = (statistics.mean(each) for each in speeds.values())
    print(f"epochs per second beside it {free:.1f}, while it is held {held:.1f}: {free / held:.0%}")
    steady.close()
    hanging.close()
    return max(took) < LIMIT + IN_TIME and free / held >= LEFT


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
