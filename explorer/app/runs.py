"""The run in hand: one choice for every view."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui

from explorer.app.session import Session


class RunInput:
    """Which run the views of one run show, and which stands out where there are many; each view has an input of it.

    `changed` is called when another run is taken in hand.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._shown: dict[str, Any] = {"value": 0, "start": 0, "end": 0, "visible": False}
        self._inputs: list[pmui.IntInput] = []
        self.value = 0
        """The run's place in its fleet, from 0."""

    def input(self) -> pmui.IntInput:
        """One more input: the page draws a widget that stands in two places in the first of them only."""
        made = pmui.IntInput(label="Run", width=110, size="small", **self._shown)
        made.param.watch(lambda event: self.take(max(0, event.new or 0)), "value")
        self._inputs.append(made)
        return made

    @property
    def visible(self) -> bool:
        """Whether there is a choice."""
        return self._shown["visible"]

    def take(self, run: int) -> None:
        """Take this run in hand."""
        if run != self.value:
            self.value = run
            self._show(value=run)
            self._changed()

    def refresh(self, session: Session) -> None:
        """Offer the runs of the lane in hand; hidden where there is one."""
        last = 0 if session.history is None else len(session.history.runs) - 1
        self.value = min(self.value, last) if last else self.value
        self._show(end=last, visible=last > 0, value=self.value)

    def _show(self, **parameters: Any) -> None:
        self._shown |= parameters
        for made in self._inputs:
            made.param.update(**parameters)
