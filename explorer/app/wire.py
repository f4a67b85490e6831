"""The way from the server to the page."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)


def send_at_once(document: Any) -> None:
    """Send each message of this document's page when it is written.

    A message of Bokeh's is several small writes, and a socket's default (Nagle's algorithm) keeps the second back until
    the browser has acknowledged the first: 40 ms for every answer.  Bokeh 3.9 has no setting for it; without the
    attributes that this relies on, the page is as slow as Bokeh makes it.
    """
    session = getattr(getattr(document, "session_context", None), "session", None)
    for connection in getattr(session, "_subscribed_connections", ()):
        try:
            connection._socket.set_nodelay(True)
        except Exception:
            log.warning("The page's answers go out late: its socket could not be set to send at once.", exc_info=True)
