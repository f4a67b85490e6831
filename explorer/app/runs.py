"""The run in hand: one choice for every view."""

from __future__ import annotations

from collections.abc import Callable

import panel_material_ui as pmui

from explorer.app.session import Session
from explorer.app.widgets import Widgets


class RunInput:
    """Which run the views of one run show, and which stands out where there are many; each view has an input of it.

    `changed` is called when another run is taken in hand.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._widgets = Widgets()
        self._last = 0
        self.value = 0
        """The run's place in its fleet, from 0."""

    def input(self) -> pmui.IntInput:
        """One more input: the page draws a widget that stands in two places in the first of them only."""
        made = pmui.IntInput(label="Run", start=0, width=110, size="small")
        self._widgets.watch(made, lambda run: self.take(max(0, run or 0)))
        self.show(made)
        return made

    @property
    def visible(self) -> bool:
        """Whether there is a choice."""
        return self._last > 0

    def take(self, run: int) -> None:
        """Take this run in hand."""
        if run != self.value:
            self.value = run
            self._changed()

    def refresh(self, session: Session) -> None:
        """Offer the runs of the lane in hand."""
        self._last = 0 if session.history is None else len(session.history.runs) - 1
        self.value = min(self.value, self._last) if self._last else self.value

    def show(self, made: pmui.IntInput) -> None:
        """Bring the input of a view that is shown up to date; hidden where there is no choice.

        The others are brought up to date when their views are: each write costs a message.
        """
        self._widgets.show(made, end=self._last, visible=self.visible, value=self.value)
