"""What keeping an experiment in the store costs, as a share of training time.

    python tests/load/recording.py

A worker trains with a recorder.  Counted is the time of the processor, thread by thread: all that the recorder's own
takes, what the training thread takes for checkpoints, and what that takes in all.  Transactions come by the clock, two
a second: where training does not have its processor to itself, it pays more for them.  Aim: less than 2 %.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

import explorer as ex
from explorer.records import Phase, Snapshot
from explorer.records.store import Recorder
from explorer.training.continuation import Checkpoints
from explorer.training.plan import Plan
from explorer.training.worker import Worker

SECONDS = 12.0
"""Of the processor that a training takes at least, so that checkpoints are among what is paid for."""


def spent(thread: threading.Thread) -> float:
    """Seconds of processor time that a thread has taken."""
    assert thread.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))


def timed(work: Callable[..., Any], times: list[float]) -> Callable[..., Any]:
    """The same, and every call's processor time is added to the list."""

    def working(*arguments: Any) -> Any:
        began = time.thread_time()
        found = work(*arguments)
        times.append(time.thread_time() - began)
        return found

    return working


def main() -> None:
    logging.disable()
    torch.set_num_threads(1)  # a thread's clock knows nothing of its helpers
    offer, checkpoints = Checkpoints.offer, []
    Checkpoints.offer = timed(offer, checkpoints)
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(f"sqlite:///{folder}/store.db")
        for seeds, layers, width in ((1, 4, 256), (8, 4, 256), (1, 2, 32), (32, 2, 32)):
            challenge = ex.Challenge.preset(
                "tig", num_hidden_layers=layers, width=width, max_epochs=10_000, patience=10_000
            )
            worker = Worker(recorder=recorder)
            recorder.flush()
            checkpoints.clear()
            before, began, since = spent(recorder._thread), spent(worker._thread), time.monotonic()
            worker.start(Plan.of(challenge, ex.optimizers.create("adam"), range(seeds), device="cpu"))
            while spent(worker._thread) - began < SECONDS:
                time.sleep(0.1)
            worker.stop()
            while not any(isinstance(told, Snapshot) and told.phase is Phase.STOPPED for told in worker.drain()):
                time.sleep(0.01)
            recorder.flush()
            took, wrote = spent(worker._thread) - began, spent(recorder._thread) - before
            seconds = time.monotonic() - since
            froze = sum(checkpoints)
            worker.close()
            training = took - froze
            print(
                f"R = {seeds}, {layers} layers of {width}: recording costs {(wrote + froze) / training:.2%}: "
                f"{wrote / training:.2%} to write ({1e3 * wrote / seconds:.1f} ms a second, in which training had "
                f"{1e3 * training / seconds:.0f} ms), {froze / training:.2%} for checkpoints",
                flush=True,
            )
        recorder.close(60)


if __name__ == "__main__":
    main()
