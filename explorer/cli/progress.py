"""How training goes: a bar with live losses on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from explorer.records import Snapshot
from explorer.training.progress import words

LINE_EVERY = 1.0
"""Seconds between two plain lines."""


class Progress:
    """Shows the losses' medians over the runs that still train, the speed, and how many of how many runs those are."""

    def __init__(self, console: Console, epochs: int) -> None:
        self._console = console
        self._bar = Bar(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=max(4, min(40, console.width - 80))),  # the losses come first
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=epochs)
        self._printed = -LINE_EVERY

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, snapshot: Snapshot) -> None:
        """Show the epoch that `snapshot` tells of."""
        if self._console.is_terminal:
            self._bar.update(self._task, completed=snapshot.epoch, description=words(snapshot))
        elif snapshot.finished or time.monotonic() - self._printed >= LINE_EVERY:
            self._printed = time.monotonic()
            self._console.print(f"epoch {snapshot.epoch:5}  {words(snapshot)}", markup=False, soft_wrap=True)
