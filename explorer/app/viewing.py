"""The views of an experiment, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import panel as pn
import panel_material_ui as pmui

from explorer.app.frontier import FrontierPanel
from explorer.app.function import FunctionPanel
from explorer.app.inside import InsidePanel
from explorer.app.landscape import LandscapePanel
from explorer.app.losses import LossPanel
from explorer.app.race import RacePanel
from explorer.app.runs import RunInput
from explorer.app.session import Session
from explorer.app.sweep import SweepPanel
from explorer.app.widgets import Widgets
from explorer.challenge import Challenge


class View(Protocol):
    """One way to look at the experiment: a layout, and what brings it up to date.

    One that needs more of a fleet than its losses says what by a property `look`.
    """

    panel: Any

    def refresh(self, session: Session, challenge: Challenge) -> None:
        """Show the session as it is."""


@dataclass(frozen=True)
class Asked:
    """What views ask of the app.

    run: the run in hand.  show(): bring the page up to date.  turn(): sample what the views need now, too.
    race_value(lane, values): a lane of its own for a value out of a sweep.  map_loss(): compute the loss around the
    paths.  train_depths(depths): train every lane at each of them.
    """

    run: RunInput
    show: Callable[[], None]
    turn: Callable[[], None]
    race_value: Callable[[int, dict[str, Any]], None]
    map_loss: Callable[[], None]
    train_depths: Callable[[list[int]], None]


MAKERS: dict[str, Callable[[Asked], View]] = {
    "Losses": lambda asked: LossPanel(asked.show, asked.run),
    "Race": lambda asked: RacePanel(asked.show, asked.run),
    "Sweep": lambda asked: SweepPanel(asked.show, asked.race_value, asked.run),
    "Function": lambda asked: FunctionPanel(asked.turn, asked.run),
    "Inside": lambda asked: InsidePanel(asked.turn, asked.run),
    "Landscape": lambda asked: LandscapePanel(asked.show, asked.map_loss, asked.run),
    "Frontier": lambda asked: FrontierPanel(asked.show, asked.train_depths),
}
"""In the order in which the app has them."""

IN_ROWS = {"flexWrap": "wrap", "& .MuiToggleButton-root": {"width": "auto"}}
"""Buttons that go on in another row where a screen is narrower than all of them."""


def check(name: str) -> None:
    """`ValueError` where there is no view of this name."""
    if name not in MAKERS:
        raise ValueError(f"view = {name!r} is not known: it must be one of {', '.join(MAKERS)}.")


class Views:
    """Every view, made when it is first shown, since each costs the page's first second.

    choice: the buttons that choose one.  panel: the chosen one.  parts: those that stand by themselves in cells of a
    notebook.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._made: dict[str, View] = {}
        self.parts: dict[str, View] = {}
        self.choice = pmui.RadioButtonGroup(
            options=list(MAKERS),
            value="Losses",
            size="small",
            margin=(0, 10),
            sx=IN_ROWS,
            styles={"max-width": "calc(100vw - 20px)"},
        )
        self._widgets = Widgets()
        self._widgets.watch(self.choice, lambda name: asked.turn())
        # Bokeh's own column: a layout of pmui would build all views anew for each that is added.
        self.panel = pn.Column(sizing_mode="stretch_width", margin=0)

    @property
    def name(self) -> str:
        """Of the chosen view."""
        return self.choice.value

    @property
    def chosen(self) -> View:
        """The view that is shown."""
        return self._of(self._made)

    def part(self, name: str) -> View:
        """The view of this name by itself."""
        return self._of(self.parts, name)

    def choose(self, name: str) -> None:
        """Show the view of this name; `ValueError` where there is none."""
        check(name)
        if name != self.name:
            self._widgets.show(self.choice, value=name)
            self._asked.turn()

    def draw(self) -> View:
        """Have the chosen view in the page, and no other."""
        chosen = self.chosen
        if chosen.panel not in self.panel.objects:
            self.panel.append(chosen.panel)
        for view in self._made.values():
            view.panel.visible = view is chosen
        return chosen

    def looks(self, visible: bool) -> list[Any]:
        """What the views that are shown need to see of a fleet; visible: whether the chosen one is among them."""
        shown = [*([self.chosen] if visible else []), *self.parts.values()]
        return [view.look for view in shown if hasattr(view, "look")]  # pyright: ignore[reportAttributeAccessIssue]

    def _of(self, made: dict[str, View], name: str = "") -> View:
        name = name or self.name
        if name not in made:
            made[name] = MAKERS[name](self._asked)
        return made[name]
