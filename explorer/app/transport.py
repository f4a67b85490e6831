"""The buttons that start, hold and end training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import panel_material_ui as pmui

from explorer.app.session import Session
from explorer.records import Phase

ICONS = {
    "Start": "play_arrow",
    "Pause": "pause",
    "Step": "skip_next",
    "Stop": "stop",
    "Reset": "replay",
    "Reseed": "casino",
}


class Transport:
    """One button for each of `ICONS`; `actions` says what it does."""

    def __init__(self, actions: Mapping[str, Callable[[], None]]) -> None:
        self._actions = actions
        # No `description`: it would take the place of the accessible name.
        self._buttons = {name: self._button(name, actions[name]) for name in ICONS}
        self.panel = pmui.FlexBox(*self._buttons.values(), gap="6px", align_items="center", sizing_mode="stretch_width")

    def refresh(self, session: Session) -> None:
        """Enable what can be done now."""
        phase = session.phase
        for name, enabled in {
            "Start": phase not in (Phase.RUNNING, Phase.PREPARING),
            "Pause": phase is Phase.RUNNING,
            "Step": phase in (Phase.IDLE, Phase.PAUSED, Phase.FAILED),
            "Stop": session.busy,
        }.items():
            self._buttons[name].disabled = not enabled

    def press(self, *names: str) -> None:
        """Do what the first of these buttons does that can be pressed now."""
        name = next((name for name in names if not self._buttons[name].disabled), None)
        if name is not None:
            self._actions[name]()

    def _button(self, name: str, action: Callable[[], None]) -> Any:
        variant = "contained" if name == "Start" else "outlined"
        return pmui.Button(
            label=name, icon=ICONS[name], variant=variant, margin=(6, 4), on_click=lambda event: action()
        )
