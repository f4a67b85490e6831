"""Keyboard shortcuts, and the dialog that lists them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import panel_material_ui as pmui
import param
from panel.custom import JSComponent

from explorer.app import html
from explorer.app.explorer import Explorer
from explorer.app.viewing import MAKERS

SHORTCUTS = {
    "Space": "Start, or pause and go on",
    "→": "Train one epoch",
    "R": "Reset to epoch 0",
    f"1–{len(MAKERS)}": f"Show a view: {', '.join(f'{place} {name}' for place, name in enumerate(MAKERS, 1))}",
    "?": "Show this help",
}
HINTS = (
    "They do what the buttons do, on the page Explore, and never while you type, move a slider or have chosen a "
    "button with Tab: there, Space presses that button.  Tab reaches every control, the arrows move sliders and Esc "
    "closes what has opened."
)


class Keyboard(JSComponent):
    """The page's end: hears keys, and sets how large all type is.

    keys: those that count, as browsers name them.  shortcuts: whether they count now; `?` always does.
    presenting: whether type is as large as a lecture hall needs.
    """

    keys = param.List(item_type=str)
    shortcuts = param.Boolean(default=True)
    presenting = param.Boolean(default=False)

    _esm = Path(__file__).with_name("keyboard.js")

    def __init__(self, actions: dict[str, Callable[[], None]], **options: Any) -> None:
        super().__init__(keys=list(actions), width=0, height=0, margin=0, **options)
        self._actions = actions

    def _handle_msg(self, data: Any) -> None:
        if data in self._actions:
            self._actions[data]()


class Mending(JSComponent):
    """Gives the page's parts the roles, names and keys that they lack."""

    _esm = Path(__file__).with_name("mend.js")


class Help:
    """button: opens the dialog.  dialog: lists the shortcuts, and has the switch that turns them off.

    keyboard: is to be in the page, too."""

    def __init__(self, explorer: Explorer, sx: dict[str, Any]) -> None:
        rows = "".join(
            f'<tr><th scope="row"><kbd>{keys}</kbd></th><td class="text">{what}</td></tr>'
            for keys, what in SHORTCUTS.items()
        )
        switch = pmui.Switch(label="Single-key shortcuts", value=True, margin=10)
        table = html.pane(f"<table><tbody>{rows}</tbody></table><p class='below'>{HINTS}</p>")
        self._content = [table, switch]
        self.dialog = pmui.Dialog(
            title="Keyboard shortcuts",
            title_variant="h2",
            close_on_click=True,
            show_close_button=True,
            width_option="sm",
            sx={"& .MuiDialogTitle-root": {"fontSize": "1.25rem"}},
        )
        self.button = pmui.Button(
            label="Help", icon="keyboard", variant="outlined", size="small", margin=(0, 6), align="center", sx=sx
        )
        self.button.on_click(lambda event: self._open())
        self.keyboard = Keyboard(_actions(explorer) | {"?": self._open})
        self.keyboard.link(switch, shortcuts="value", bidirectional=True)
        presenting = explorer.presentation.switch
        self.keyboard.presenting = presenting.value
        presenting.link(self.keyboard, value="presenting")

    def _open(self) -> None:
        self.dialog.objects = self._content  # not before: what is in the page costs its first second
        self.dialog.open = True


def _actions(explorer: Explorer) -> dict[str, Callable[[], None]]:
    """What each key does while the explorer is shown: what its buttons do."""
    press = explorer.display.transport.press
    does: dict[str, Callable[[], None]] = {
        " ": lambda: press("Pause", "Start"),
        "ArrowRight": lambda: press("Step"),
        "r": lambda: press("Reset"),
    }
    does |= {str(place): partial(explorer.views.choose, name) for place, name in enumerate(MAKERS, 1)}

    def shown(action: Callable[[], None]) -> None:
        if explorer.main.visible:
            action()

    return {key: partial(shown, action) for key, action in does.items()}
