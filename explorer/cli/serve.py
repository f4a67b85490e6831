"""`explorer serve`: the app, for this machine's browser or for others'."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets

from explorer.cli.failure import sentences
from explorer.lessons import SHELF, shelf

CHECK_EVERY = 500
"""Milliseconds between two looks for sessions that may be ended."""
OLD = 1000
"""Collections of what is not quite young between two of everything; about those that making a hundred pages brings."""
LARGEST = 20 << 20
"""Bytes of one request, as of one message on the websocket; a larger one ends its connection."""


def command(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5006,
    address: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine's.")
    ] = "localhost",
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Host, or host:port, that browsers may reach the app by, beside this one.  Repeat for more."),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Open the app in a browser.")] = False,
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Experiments that train at once; others wait in line.  One a core if not.")
    ] = None,
    max_sessions: Annotated[
        int | None, typer.Option(min=1, help="Sessions at a time; more are shown a sentence.")
    ] = None,
    max_runs: Annotated[int | None, typer.Option(min=1, help="Runs of one start, all lanes together.")] = None,
    max_epochs: Annotated[int | None, typer.Option(min=1, help="Epochs that a run may be given.")] = None,
    max_layers: Annotated[int | None, typer.Option(min=1, help="Hidden layers that a network may have.")] = None,
    lessons: Annotated[
        list[Path] | None, typer.Option(help="Folder with lessons of your own, beside the package's.  Repeat for more.")
    ] = None,
) -> None:
    """Serve the app."""
    with sentences():
        taught = shelf([SHELF, *(lessons or [])])
        _check_free(address, port)
    typer.echo("Loading …", err=True)
    # Everything comes from this server: a classroom may have no way out.
    os.environ.setdefault("BOKEH_RESOURCES", "server")
    import panel as pn

    from explorer.app import arrivals, page, server
    from explorer.training import caps, courtesy, line

    if at_once is not None:
        line.limit(at_once)
    caps.set_caps(caps.Caps(max_runs, max_epochs, max_layers))
    hosts = ["localhost", "127.0.0.1", address, *(origin or [])]
    entrance = server.Entrance(lambda: page(taught), max_sessions)
    made: Any = pn.serve(
        entrance.admit,
        port=port,
        address=address,
        websocket_origin=[host if ":" in host else f"{host}:{port}" for host in hosts],
        show=show,
        start=False,
        title="Optimizer Explorer",
        extra_patterns=server.patterns(entrance),
        http_server_kwargs={"max_body_size": LARGEST},
        unused_session_lifetime_milliseconds=arrivals.UNSEEN_AFTER,
        check_unused_sessions_milliseconds=CHECK_EVERY,
    )
    made._tornado.add_transform(server.Guarded)
    door = arrivals.Arrivals()
    for context in made._tornado.applications.values():
        context.application.add(door)
    PeriodicCallback(lambda: door.sweep(made.get_sessions()), CHECK_EVERY).start()
    PeriodicCallback(courtesy.here, 1000 * courtesy.EVERY).start()
    server.log_lines()
    _collect_rarely()
    made.start()
    made.io_loop.start()


def start_anew() -> None:
    """Start Python again with the C library's allocator, which it takes only then; not where one has been chosen.

    Python's own gives memory back by the MiB, and keeps each for as long as anything in it lives: 200 MiB of a class of
    fifty that has left.  The C library's gives back every page.
    """
    if sys.platform == "linux" and "PYTHONMALLOC" not in os.environ:
        os.environ["PYTHONMALLOC"] = "malloc"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _collect_rarely() -> None:
    """Have Python look through everything for what goes in circles when a page is closed (Panel asks for it), not
    whenever enough is made: that takes a second with fifty pages, while everybody waits."""
    gc.collect()
    gc.freeze()  # what was loaded stays
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, OLD)


def _check_free(address: str, port: int) -> None:
    """`ValueError` if nothing can listen there, before seconds go into loading."""
    try:
        sockets = bind_sockets(port, address)
    except OSError as error:
        raise ValueError(f"port = {port} at address {address} is not available: {error.strerror}.") from None
    for each in sockets:
        each.close()
