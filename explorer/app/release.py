"""Letting go of a page that is closed, so that a server which ran for a term holds no more than on its first day."""

from __future__ import annotations

import gc
from typing import Any

import holoviews as hv
import panel as pn
from bokeh.document import Document

from explorer.training import heap


def release(document: Document | None, shown: pn.viewable.Viewable) -> None:
    """Break what holds the views in `shown`, and all that they know, after their session's end.

    HoloViews keeps each element's options until the element is gone, and these hold our hooks, which hold what was
    drawn, which holds the element: it would never go.  Panel keeps where a session's notifications are shown.
    """
    options: Any = hv.Store.custom_options(backend="bokeh")
    plots: Any = shown.select(pn.pane.HoloViews)
    for plot in plots:
        for element in plot.object.traverse(lambda each: each):
            options.pop(element.id, None)
    hv.Store.options(val=hv.Store.options(backend="bokeh"), backend="bokeh")  # empties the memory of what was looked up
    views: dict[str, Any] = pn.state._views
    for name in [name for name, (_, _, whose, _) in views.items() if whose is document]:
        del views[name]


def tidy() -> None:
    """Give back the memory of sessions that have ended: they go in circles, and glibc keeps what is freed."""
    gc.collect()
    heap.give_back()
