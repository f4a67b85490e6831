"""The list of lanes: which optimizers start together, and which one the side panel sets."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from explorer.app.entrants import Entrant
from explorer.app.widgets import Widgets
from explorer.views.race import LOOKS

AT_MOST = len(LOOKS)


class LaneList:
    """The entrants, one of them in hand.

    `chosen()` is called when another one is taken in hand, `changed()` when the list itself changed.  While there is
    one lane, there is nothing but a button for a second.
    """

    def __init__(self, chosen: Callable[[], None], changed: Callable[[], None]) -> None:
        self._chosen, self._changed = chosen, changed
        self.entrants = [Entrant()]
        self.current = self.entrants[0]
        self._widgets = Widgets()
        self._choice = pmui.RadioButtonGroup(
            label="Lane",
            orientation="vertical",
            size="small",
            sizing_mode="stretch_width",
            margin=(4, 10),
            sx={"& .MuiToggleButton-root": {"textTransform": "none", "justifyContent": "flex-start"}},
        )
        self._name = pmui.TextInput(label="Lane's name", size="small", sizing_mode="stretch_width", margin=(10, 10))
        self._shown = pmui.Switch(label="Compare this lane", margin=(4, 10))
        self._add = pmui.Button(label="Add lane", icon="add", variant="outlined", size="small", margin=(6, 10))
        self._remove = pmui.Button(label="Remove lane", icon="remove", variant="text", size="small", margin=(6, 4))
        self._widgets.watch(self._choice, self._take)
        self._widgets.watch(self._name, self._rename)
        self._widgets.watch(self._shown, lambda shown: self._hide(not shown))
        self._add.on_click(lambda _: self.add(self.current.copy()))
        self._remove.on_click(lambda _: self.remove())
        self._several = pmui.Column(self._choice, self._name, self._shown, sizing_mode="stretch_width", margin=0)
        # Bokeh's own column: what several lanes need is in the page from the second one on.
        self.panel = pn.Column(pmui.FlexBox(self._add, self._remove), sizing_mode="stretch_width", margin=0)
        self.show()

    def add(self, entrant: Entrant) -> None:
        """One more lane, taken in hand."""
        if len(self.entrants) < AT_MOST:
            self.entrants.append(entrant)
            self.select(entrant)
            self._changed()

    def remove(self) -> None:
        """Take the lane in hand off the list."""
        if len(self.entrants) > 1:
            place = self.entrants.index(self.current)
            self.entrants.remove(self.current)
            self.select(self.entrants[max(0, place - 1)])
            self._changed()

    def restart(self) -> None:
        """One lane, as when the app opens."""
        self.entrants = [Entrant()]
        self.select(self.entrants[0])

    def select(self, entrant: Entrant) -> None:
        """Take a lane in hand."""
        self.current = entrant
        self.show()
        self._chosen()

    def show(self) -> None:
        """Bring the widgets up to date."""
        several = len(self.entrants) > 1
        self._several.visible = self._remove.visible = several
        self._add.disabled = len(self.entrants) >= AT_MOST
        if not several:
            return
        if self._several not in self.panel:
            self.panel.insert(0, self._several)
        options = {f"{place}  {entrant.label}": entrant.key for place, entrant in enumerate(self.entrants, 1)}
        self._widgets.show(self._choice, options=options, value=self.current.key)
        self._widgets.show(self._name, value=self.current.name, placeholder=self.current.built.described)
        self._widgets.show(self._shown, value=not self.current.hidden)

    def _take(self, key: int) -> None:
        found = [entrant for entrant in self.entrants if entrant.key == key]
        if found and found[0] is not self.current:
            self.select(found[0])

    def _rename(self, name: str) -> None:
        self.current.name = name.strip()[:60]
        self.show()
        self._changed()

    def _hide(self, hidden: bool) -> None:
        self.current.hidden = hidden
        self._changed()
