"""A headless Chromium for pictures; needs the extra `test` (Playwright) and a Chromium on the machine."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


def executable() -> str | None:
    """Where Chromium is, if it is."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served() -> Iterator[str]:
    """The app on a free port of this machine, in this process: its address."""
    import panel as pn

    from explorer.app import page

    port = free_port()
    server: Any = pn.serve(page, port=port, threaded=True, show=False, title="Optimizer Explorer", verbose=False)
    try:
        yield f"http://localhost:{port}/"
    finally:
        server.stop()


@contextmanager
def chromium() -> Iterator[Any]:
    """A Playwright browser; `ValueError` where it cannot be had."""
    path = executable()
    if path is None:
        raise ValueError("A picture needs Chromium: there is none on this machine's path.")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise ValueError('A picture needs Playwright: pip install "optimizer-explorer[test]" brings it.') from None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        try:
            yield browser
        finally:
            browser.close()
