"""The page around the app."""

from __future__ import annotations

import logging

import panel as pn
import panel_material_ui as pmui

from explorer.app.explorer import Explorer

log = logging.getLogger(__name__)

TITLE = "Optimizer Explorer"


def page() -> pmui.Page:
    """The app as a page of its own; a sentence instead, should it fail to start."""
    pn.extension(notifications=True, exception_handler=_report)
    try:
        app = Explorer()
    except Exception:
        log.exception("The explorer could not start.")
        return pmui.Page(
            title=TITLE, main=[pmui.Alert("The explorer could not start; the log says why.", severity="error")]
        )
    wide, narrow = pn.Spacer(width=0, height=0), pn.Spacer(width=0, height=0)
    screen = pmui.BreakpointSwitcher(breakpoint="sm", small=narrow, large=wide, width=0, height=0)
    whole = pmui.Page(title=TITLE, header=[screen], sidebar=[app.sidebar], main=[app.main], sidebar_width=340)

    def fit(*_) -> None:
        whole.sidebar_open = screen.current is not narrow

    def watch() -> None:
        screen.param.watch(fit, "current")
        fit()

    # On a phone the drawer lies over everything, so there it starts closed.  Not before the page has loaded: what is
    # set between the document's first transfer and that moment gets lost.
    pn.state.onload(watch)
    return whole


def _report(error: Exception) -> None:
    """A callback failed: a sentence for the person, the traceback for the log."""
    log.error("A callback failed.", exc_info=error)
    if pn.state.notifications is not None:
        pn.state.notifications.error(
            str(error) if isinstance(error, ValueError) else "Something failed; the log says what."
        )
