"""Where the app says what a person should know."""

from __future__ import annotations

from html import escape

import panel_material_ui as pmui

from explorer.app import html


class Notice:
    """A sentence above the figures, until it is closed or no longer true."""

    def __init__(self) -> None:
        # The alert's own text would be taken for HTML, tags from the address included: a pane with escaped text is not.
        self._text = html.pane()
        self.panel = pmui.Alert(
            self._text, severity="warning", closeable=True, visible=False, sizing_mode="stretch_width", margin=10
        )

    @property
    def text(self) -> str:
        """What is said, as HTML."""
        return self._text.object

    def say(self, sentence: str) -> None:
        """Show this sentence in the place of the last one."""
        self._text.object = f"<p>{escape(sentence)}</p>"
        self.panel.param.update(closed=False, visible=True)

    def hide(self) -> None:
        """Nothing to say any more."""
        self.panel.visible = False
