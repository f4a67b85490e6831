"""The pages of one document, and the switch between them in its header.

A page is an object with a `sidebar` and a `main`, two Panel objects.  Its maker stands in `MAKERS`, takes the `Pages`
and imports what it needs itself: a page is made when it is first shown, and hidden by its objects' `visible`, not made
anew, when another one is.  Who must know when that happens watches `main.param.visible`.  The address says which page
is shown (`page=history`), and the explorer, from which the other pages take what is being trained, is always made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import panel as pn
import panel_material_ui as pmui

from explorer.app.address import Linked
from explorer.app.explorer import Explorer
from explorer.app.keyboard import Help, Mending
from explorer.lessons import Lesson


class Page(Protocol):
    """What `Pages` shows: settings at the side, everything else in the middle."""

    sidebar: Any
    main: Any


def _explore(pages: Pages) -> Page:
    return pages.explorer


def _tournament(pages: Pages) -> Page:
    from explorer.app.tournament import TournamentPage

    return TournamentPage(pages.explorer.presentation)


def _history(pages: Pages) -> Page:
    from explorer.app.history import HistoryPage

    return HistoryPage(pages)


MAKERS: dict[str, Callable[[Pages], Page]] = {"Explore": _explore, "Tournament": _tournament, "History": _history}
"""In the order in which the header has them."""


ON_THE_HEADER = {
    "& .MuiToggleButton-root": {"color": "#fff", "borderColor": "rgba(255, 255, 255, 0.6)"},
    "& .MuiToggleButton-root.Mui-selected": {"color": "#0b4f86", "backgroundColor": "#fff"},
    "& .MuiToggleButton-root.Mui-selected:hover": {"backgroundColor": "#e8f1f8"},
}
"""White on the header's colour, in both themes: what a theme gives a button is made for a page's own background."""
NOT_ON_A_PHONE = {
    "color": "#fff",
    "borderColor": "rgba(255, 255, 255, 0.6)",
    "textTransform": "none",
    "gap": "6px",
    "padding": "3px 10px",
    "fontSize": "0.8125rem",
    "lineHeight": 1.75,
    "&.Mui-selected": {"color": "#0b4f86", "backgroundColor": "#fff"},
    "&.Mui-selected:hover": {"backgroundColor": "#e8f1f8"},
    "@media (max-width: 900px)": {"display": "none"},
}
"""The same for single buttons that a phone has neither room nor use for."""


class Pages:
    """Every page's `sidebar`, `main` and, for the header, `header`; `navigation` is the switch in it."""

    def __init__(self, lessons: Mapping[str, Lesson] | None = None) -> None:
        # Bokeh's own columns: a layout of pmui would build all pages anew for each that is added.
        self.sidebar = pn.Column(sizing_mode="stretch_width", margin=0)
        self.main = pn.Column(sizing_mode="stretch_width", margin=0)
        first = next(iter(MAKERS))
        self.navigation = pmui.RadioButtonGroup(
            options=list(MAKERS), value=first, size="small", margin=(0, 10), align="center", sx=ON_THE_HEADER
        )
        self._made: dict[str, Page] = {}
        self.explorer = Explorer(linked={"page": Linked(self._load, self._value)}, lessons=lessons)
        presenting = self.explorer.presentation.switch
        presenting.sx = NOT_ON_A_PHONE
        self.help = Help(self.explorer, NOT_ON_A_PHONE)
        gap = pn.Spacer(sizing_mode="stretch_width", margin=0)
        unseen = [self.help.keyboard, Mending(width=0, height=0, margin=0)]
        self.header = [self.navigation, gap, presenting, self.help.button, *unseen]
        self._turn()
        self.navigation.param.watch(self._turn, "value")

    def show(self, name: str) -> None:
        """Turn to the page of this name."""
        self.navigation.value = name

    def _turn(self, _=None) -> None:
        """Show the chosen page, and no other."""
        name = self.navigation.value
        shown = self._made.get(name)
        if shown is None:
            shown = self._made[name] = MAKERS[name](self)
            self.sidebar.append(shown.sidebar)
            self.main.append(shown.main)
        for page in self._made.values():
            page.sidebar.visible = page.main.visible = page is shown
        self.explorer.display.show()  # from one of the others to another, nothing else has the address written

    def _load(self, text: str) -> None:
        """Take the page that the address names."""
        for name in MAKERS:
            if text == name.lower():
                self.show(name)
                return
        allowed = ", ".join(name.lower() for name in MAKERS)
        raise ValueError(f"page = {text!r} is not known: it must be one of {allowed}.")

    def _value(self) -> str | None:
        """The page, as the address has it; None for the first."""
        name = self.navigation.value
        return None if name == next(iter(MAKERS)) else name.lower()
