"""The server around the page: who comes in, what every answer carries, and what can be watched from outside."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import panel as pn
import panel_material_ui as pmui
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from tornado.httputil import HTTPHeaders
from tornado.web import OutputTransform, RequestHandler

import explorer
from explorer.training import line, tally

log = logging.getLogger(__name__)

HEADERS = {
    # Bokeh compiles its templates and places scripts and styles in the page: more than this it cannot do without.
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guarded(OutputTransform):
    """Puts the headers on every answer."""

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        headers.update(HEADERS)
        headers.pop("Server", None)
        return status_code, headers, chunk


class Entrance:
    """Lets at most so many sessions in at once; the others are shown a sentence instead of `page`."""

    def __init__(self, page: Callable[[], Any], at_most: int | None) -> None:
        self._page, self._at_most = page, at_most
        self._inside: set[str] = set()

    def admit(self) -> Any:
        """The page for a new session, or the sentence."""
        document = pn.state.curdoc
        session = "" if document is None or document.session_context is None else document.session_context.id
        if self._at_most is not None and len(self._inside) >= self._at_most:
            log.warning("session refused", extra={"facts": {"sessions": len(self._inside)}})
            tally.add("sessions_refused")
            return full(self._at_most)
        self._inside.add(session)
        pn.state.on_session_destroyed(lambda context: self._leave(session))
        log.info("session opened", extra={"facts": {"sessions": len(self._inside)}})
        return self._page()

    @property
    def sessions(self) -> int:
        """How many are inside."""
        return len(self._inside)

    def _leave(self, session: str) -> None:
        self._inside.discard(session)
        log.info("session closed", extra={"facts": {"sessions": len(self._inside)}})


def full(at_most: int) -> pmui.Page:
    """What is shown to those who do not find room."""
    said = f"This server takes {at_most} sessions at a time, and all are taken.  Close a tab, or come back in a while."
    return pmui.Page(title="Optimizer Explorer", main=[pmui.Alert(said, severity="warning", margin=20)])


class Watched:
    """The process in numbers, in Prometheus' format; nothing in it says who does what."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self.registry = CollectorRegistry()
        self.registry.register(self)  # pyright: ignore[reportArgumentType]
        ProcessCollector(registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("explorer_sessions", "Sessions of the page.", self._entrance.sessions)
        fleets = GaugeMetricFamily("explorer_fleets", "Experiments that train, or wait to.", labels=["device", "state"])
        for device, (training, waiting) in line.lengths().items():
            fleets.add_metric([device, "training"], training)
            fleets.add_metric([device, "waiting"], waiting)
        yield fleets
        for name, number in tally.counts().items():
            yield CounterMetricFamily(f"explorer_{name}", f"{name.replace('_', ' ').capitalize()} so far.", number)


class Health(RequestHandler):
    """Whether the server answers, and how much there is to do."""

    def initialize(self, entrance: Entrance) -> None:
        self._entrance = entrance

    def get(self) -> None:
        lengths = list(line.lengths().values())
        told = {"status": "ok", "version": explorer.__version__, "sessions": self._entrance.sessions}
        self.write(told | {"training": sum(n for n, _ in lengths), "waiting": sum(n for _, n in lengths)})


class Metrics(RequestHandler):
    """The numbers of `Watched`."""

    def initialize(self, watched: Watched) -> None:
        self._watched = watched

    def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(generate_latest(self._watched.registry))


def patterns(entrance: Entrance) -> list[Any]:
    """What is served beside the page."""
    return [(r"/healthz", Health, {"entrance": entrance}), (r"/metrics", Metrics, {"watched": Watched(entrance)})]


class Lines(logging.Formatter):
    """One line of JSON a record: when, how bad, what happened, its facts, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname.lower(), "from": record.name, "event": record.getMessage()}
        line |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[0] is not None:
            line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=str)


def log_lines() -> None:
    """From now on, write what happens to standard error, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.WARNING)
    logging.getLogger("explorer").setLevel(logging.INFO)
    logging.captureWarnings(True)
