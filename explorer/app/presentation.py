"""Presentation mode: the app as it can be read from the back row of a lecture hall."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from explorer.app.address import Linked
from explorer.views.style import DESK, HALL, resize


class Presentation:
    """A switch: larger type and figures, thicker lines, and away with what a lecture does not need.

    `changed()` is called when it is turned.  linked: its entry of the address.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.switch = pmui.Toggle(
            label="Presentation", icon="co_present", size="small", icon_size="1.1rem", margin=(0, 6), align="center"
        )
        self.switch.param.watch(lambda event: changed(), "value")
        self.linked = Linked(self._load, lambda: 1 if self.on else None)

    @property
    def on(self) -> bool:
        """Whether it is on."""
        return self.switch.value

    def fit(self, panel: pn.viewable.Viewable) -> None:
        """Draw every figure in `panel` at the scale of the mode, those that were rendered since the last call, too."""
        for pane in panel.select(pn.pane.HoloViews):
            # What it has rendered, which Panel tells nobody.
            for plot, _ in pane._plots.values():  # pyright: ignore[reportAttributeAccessIssue]
                resize(plot.state, HALL if self.on else DESK)

    def _load(self, text: str) -> None:
        if text not in ("0", "1"):
            raise ValueError(f"presentation = {text!r} is not allowed: it must be 0 or 1.")
        self.switch.value = text == "1"
