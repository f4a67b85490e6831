"""The way from the server to the page."""

from __future__ import annotations

import logging
from typing import Any

from panel.io import document as sending

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


def send_left_behind(document: Any) -> None:
    """Send what Panel has put aside for this document's page and forgotten.

    What changes while another message is on its way is put aside; if that happens once more while the first of it is
    being sent, the end of the first takes the mark away without which the second is not sent: it would wait for the
    next change, and whoever waits for an answer makes none.  (`panel.io.document._dispatch_msgs`, Panel 1.9.)
    """
    if document in sending._WRITE_MSGS and document not in sending._WRITE_BLOCK:
        sending._WRITE_BLOCK[document] = True
        sending._dispatch_write_task(document, sending._dispatch_msgs, document)
