"""What keeping an experiment in the store costs, as a share of training time, all in one process and in turns.

    python tests/load/recording.py [turns]

A worker trains the same experiment with a recorder and without one, alternately; the time is the processor's, of all
threads together: the recorder's own, and what the training thread does for checkpoints.  Aim: less than 2 %.
"""

from __future__ import annotations

import logging
import statistics
import sys
import tempfile
import time

import torch

import explorer as ex
from explorer.records import Phase, Snapshot
from explorer.records.store import Recorder
from explorer.training.plan import Plan
from explorer.training.worker import Worker

SECONDS = 8.0
"""About how long a training takes, so that checkpoints are among what is paid for."""


def trained(plan: Plan, recorder: Recorder | None) -> float:
    """Seconds of processor time that an experiment takes, with all that is written of it."""
    worker, began, done = Worker(recorder=recorder), time.process_time(), False
    worker.start(plan)
    while not done:
        done = any(isinstance(record, Snapshot) and record.phase is Phase.FINISHED for record in worker.drain())
        time.sleep(0.05)
    if recorder is not None:
        recorder.flush()
    took = time.process_time() - began
    worker.close()
    return took


def main(turns: int) -> None:
    logging.disable()
    torch.set_num_threads(1)  # threads that wait for each other would count, too
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(f"sqlite:///{folder}/store.db")
        for seeds, layers, width in ((1, 4, 256), (8, 4, 256), (1, 2, 32), (32, 2, 32)):
            challenge = ex.Challenge.preset(
                "tig", num_hidden_layers=layers, width=width, max_epochs=20, patience=10_000
            )

            def plan(epochs: int, challenge=challenge, seeds=seeds) -> Plan:
                asked = challenge.replace(max_epochs=epochs)
                return Plan.of(asked, ex.optimizers.create("adam"), range(seeds), device="cpu")

            trained(plan(20), None)  # what is made once
            epochs = min(10_000, max(50, int(20 * SECONDS / trained(plan(20), None))))
            ratios = []
            for turn in range(turns):
                order = (None, recorder) if turn % 2 else (recorder, None)
                took = {with_it is not None: trained(plan(epochs), with_it) for with_it in order}
                ratios.append(took[True] / took[False] - 1)
            print(
                f"R = {seeds}, {layers} layers of {width}: {epochs} epochs, recording costs "
                f"{statistics.median(ratios):.1%} (turns: {', '.join(f'{ratio:.1%}' for ratio in ratios)})",
                flush=True,
            )
        recorder.close(60)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
