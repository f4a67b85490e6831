"""Keeping what a command trains in the run store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from explorer.records.store import Recorder, Recording
from explorer.training import continuation
from explorer.training.plan import Plan


@contextmanager
def kept(plan: Plan, console: Console) -> Iterator[Recording]:
    """Keep the training of `plan`: what takes its records.  At the end of this, whatever ends it, all of them are
    written, and what has not ended is marked as interrupted; what is wrong with the store is told, and harms nothing
    else."""
    recorder = Recorder()
    try:
        yield continuation.record(recorder, plan)
    finally:
        written = recorder.close()
        if recorder.trouble or not written:
            said = recorder.trouble or "The store did not answer in time."
            console.print(f"Not everything was kept: {said}", markup=False, soft_wrap=True)
