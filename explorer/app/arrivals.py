"""Who comes to the door of a server: a crowd's pages are made one after another, and closed tabs are noticed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from bokeh.application.handlers import Handler
from bokeh.document import Document
from bokeh.server.session import ServerSession

from explorer.app import release

BREATH = 0.05
"""Seconds between two pages, at least: once the server has kept them without being late, everybody has been heard."""
PATIENCE = 3.0
"""Times what the last page took, after which the next one is made all the same."""
LEFT_AFTER = 1500
"""Milliseconds after its tab has closed at which a session may be ended, its thread and memory with it."""
UNSEEN_AFTER = 60_000
"""Milliseconds in which a browser must come back for the page that it got: it loads megabytes of scripts first, and
finds a new session, without the link's settings, where its own has ended."""
TIDY_AFTER = 5.0
"""Seconds for which nobody has been inside, before the server takes half a second to tidy up."""


class Arrivals(Handler):
    """Stands beside the app in Bokeh's application, and is told of each session before and after its page is made.

    Making a page holds the server for a good part of a second.  Bokeh makes all that are asked for at once in one go,
    and meanwhile answers nobody; here the next one waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self._one = asyncio.Lock()
        self._began = self._took = 0.0
        self._seen: set[str] = set()
        self._left: float | None = None

    async def on_session_created(self, session_context: Any) -> None:
        """Wait for one's turn; the page is made as soon as this returns, before anybody else is heard."""
        async with self._one:
            until = time.monotonic() + PATIENCE * self._took
            while (now := time.monotonic()) < until:
                await asyncio.sleep(BREATH)
                if time.monotonic() - now < 2 * BREATH:
                    break
            self._began = time.monotonic()

    def modify_document(self, doc: Document) -> None:
        """The page is made."""
        self._took = time.monotonic() - self._began
        if doc.session_context is not None:
            session = doc.session_context.id
            doc.on_event("document_ready", lambda _: self._seen.add(session))

    async def on_session_destroyed(self, session_context: Any) -> None:
        """Forget it."""
        self._seen.discard(session_context.id)
        self._left = time.monotonic()

    def sweep(self, sessions: Sequence[ServerSession]) -> None:
        """Have those ended that were in a tab which is closed now; tidy up once nobody is inside any more."""
        if not sessions and self._left is not None and time.monotonic() - self._left > TIDY_AFTER:
            self._left = None
            release.tidy()
        for session in sessions:
            gone = session.connection_count == 0 and session.milliseconds_since_last_unsubscribe > LEFT_AFTER
            if gone and session.id in self._seen:
                session.request_expiration()
