"""What the app writes into widgets, told from what a person chooses there."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

LATE = 0.5
"""Seconds after a value was overtaken in which the page may still send it back; hardly anybody chooses as fast."""


@dataclass
class _Written:
    """The value that the app wrote last, in a list while nobody has chosen since, and those before, with when each was
    overtaken."""

    last: list[Any] = field(default_factory=list)
    before: deque[tuple[Any, float]] = field(default_factory=lambda: deque(maxlen=16))


class Widgets:
    """The widgets of one panel: `watch` says who is told of a person's choice, `show` writes without telling them.

    Once panel-material-ui has drawn a value, the page writes it into its model.  If the app has written another one
    meanwhile, the former comes back as if a person had chosen it.  So a value that was written, and overtaken a moment
    ago, is no choice: the present one is written again.
    """

    def __init__(self) -> None:
        self._written: dict[Any, _Written] = {}
        self._showing = False

    def watch(self, widget: Any, chosen: Callable[[Any], None]) -> None:
        """Have `chosen(value)` called when a person chooses a value of this widget."""
        self._written[widget] = _Written()

        def changed(event: Any) -> None:
            if self._showing:
                return
            before = self._written[widget].before
            if any(event.new == value and time.monotonic() - when < LATE for value, when in before):
                self.show(widget, value=event.old)
                return
            self._written[widget] = _Written()
            chosen(event.new)

        widget.param.watch(changed, "value")

    def show(self, widget: Any, **parameters: Any) -> None:
        """Write parameters of a widget, its value among them, that nobody has chosen."""
        former = widget.value
        self._showing = True
        try:
            widget.param.update(**parameters)
        finally:
            self._showing = False
        if widget.value != former:
            written = self._written[widget]
            written.before.extend((value, time.monotonic()) for value in written.last)
            written.last = [widget.value]
