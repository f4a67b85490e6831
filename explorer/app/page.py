"""The page around the app."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import panel as pn
import panel_material_ui as pmui
from panel.io.resources import LOCAL_DIST, use_cdn
from panel.util.parameters import edit_readonly

from explorer.app.pages import Pages
from explorer.app.release import release
from explorer.lessons import Lesson

log = logging.getLogger(__name__)

TITLE = "Optimizer Explorer"


def page(lessons: Mapping[str, Lesson] | None = None) -> pmui.Page:
    """The app as a page of its own; a sentence instead, should it fail to start.

    lessons: by key, those of the package if not given.
    """
    _use_this_server(pn.state.curdoc)
    pn.extension("katex", "tabulator", notifications=True, exception_handler=_report)
    try:
        pages = Pages(lessons)
    except Exception:
        log.exception("The explorer could not start.")
        return pmui.Page(
            title=TITLE, main=[pmui.Alert("The explorer could not start; the log says why.", severity="error")]
        )
    document = pn.state.curdoc
    if document is not None:
        pn.state.on_session_destroyed(lambda context: release(document, pages.main))
    # On a phone the drawer lies over everything, so there it starts closed.
    phone = "Mobi" in pn.state.headers.get("User-Agent", "")
    whole = pmui.Page(
        title=TITLE,
        header=pages.header,
        sidebar=[pages.sidebar],
        main=[pages.main, pages.help.dialog],
        busy_indicator=None,
        sx={"@media (max-width: 600px)": {"& .header .title": {"display": "none"}}},  # the pages' names need the room
    )
    presenting = pages.explorer.presentation.switch

    def arrange(_: Any = None) -> None:
        """In a lecture the settings make room, but a lesson in hand stays."""
        reading = pages.explorer.lesson.step is not None
        whole.sidebar_open = not phone and (reading or not presenting.value)
        whole.sidebar_width = 460 if presenting.value else 340

    presenting.param.watch(arrange, "value")
    arrange()
    # The page follows every event of the session with its `busy`, and each change of that walks through all models of
    # the document: half of the server's time, and most of the delay between a click and its effect.
    with edit_readonly(whole):
        whole.busy = False
    _stop_following(whole)
    return whole


def _stop_following(whole: pmui.Page) -> None:
    """The process would hold the page for ever, as one that follows whether anything is busy."""
    following = pn.state.param.watchers.get("busy", {}).get("value", [])
    for watcher in list(following):
        if getattr(getattr(watcher.fn, "__self__", None), "self", None) is whole:
            pn.state.param.unwatch(watcher)


def _use_this_server(document: Any) -> None:
    """Take style sheets from this server from the first model on.

    Panel writes its CDN's address into every model that is made before the page's HTML, and mends that in those that it
    finds by then; the others would ask a network that a classroom may not have.
    """
    if document is not None and not use_cdn():
        at = f"{pn.state.rel_path}/{LOCAL_DIST}" if pn.state.rel_path else LOCAL_DIST
        document.template_variables.setdefault("dist_url", at)


def _report(error: Exception) -> None:
    """A callback failed: a sentence for the person, the traceback for the log."""
    log.error("A callback failed.", exc_info=error)
    if pn.state.notifications is not None:
        pn.state.notifications.error("Something failed; the log says what.")
