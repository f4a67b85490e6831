"""`explorer serve`: the app, for this machine's browser or for others'."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from tornado.netutil import bind_sockets

from explorer.cli.failure import sentences

UNUSED_AFTER = 2000
"""Milliseconds after its tab has closed at which a session may be ended, its thread and memory with it."""
CHECK_EVERY = 1000
"""Milliseconds between two looks for such sessions."""


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
) -> None:
    """Serve the app."""
    with sentences():
        _check_free(address, port)
    typer.echo("Loading …", err=True)
    # Everything comes from this server: a classroom may have no way out.
    os.environ.setdefault("BOKEH_RESOURCES", "server")
    import panel as pn

    from explorer.app import page

    hosts = ["localhost", "127.0.0.1", address, *(origin or [])]
    pn.serve(
        page,
        port=port,
        address=address,
        websocket_origin=[host if ":" in host else f"{host}:{port}" for host in hosts],
        show=show,
        title="Optimizer Explorer",
        unused_session_lifetime_milliseconds=UNUSED_AFTER,
        check_unused_sessions_milliseconds=CHECK_EVERY,
    )


def _check_free(address: str, port: int) -> None:
    """`ValueError` if nothing can listen there, before seconds go into loading."""
    try:
        sockets = bind_sockets(port, address)
    except OSError as error:
        raise ValueError(f"port = {port} at address {address} is not available: {error.strerror}.") from None
    for each in sockets:
        each.close()
