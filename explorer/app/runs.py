"""The run in hand: one choice for every view."""

from __future__ import annotations

from collections.abc import Callable

import panel_material_ui as pmui

from explorer.app.session import Session


class RunInput:
    """Which run the views of one run show, and which stands out where there are many; each view has the same input.

    `changed` is called when another run is taken in hand.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.panel = pmui.IntInput(label="Run", value=0, start=0, width=110, size="small", visible=False)
        self.panel.param.watch(lambda event: changed(), "value")

    @property
    def value(self) -> int:
        """The run's place in its fleet, from 0."""
        return max(0, self.panel.value or 0)

    def take(self, run: int) -> None:
        """Take this run in hand."""
        self.panel.value = run

    def refresh(self, session: Session) -> None:
        """Offer the runs of the lane in hand; hidden where there is one."""
        last = 0 if session.history is None else len(session.history.runs) - 1
        self.panel.param.update(end=last, visible=last > 0, value=min(self.value, last) if last else self.value)
