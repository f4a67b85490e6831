"""`explorer screenshots`: the pictures of the app that the README shows, made from the app as it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from explorer.cli.browser import chromium, free_port
from explorer.cli.failure import sentences

PHONE = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130 Mobile Safari/537.36"


@dataclass(frozen=True)
class Shot:
    """One picture: the address's query, the window, the theme, and the epochs to wait for."""

    name: str
    query: str
    width: int = 1440
    height: int = 900
    dark: bool = False
    epochs: int = 60


SHOTS = (
    Shot("app", "?seeds=4"),
    Shot("app-dark", "?seeds=4", dark=True),
    Shot("app-one-run", "?optimizer=adam&lr=0.001", 1920, 1080, epochs=100),
    Shot("app-brief", "?preset=brief&seeds=4", epochs=51),
    Shot("app-phone", "?seeds=1", 390, 1300, epochs=60),
)


def command(
    folder: Annotated[Path, typer.Argument(help="Where the pictures go.")] = Path("assets"),
    only: Annotated[str | None, typer.Option(help="The name of one picture.")] = None,
) -> None:
    """Serve the app, train, and take its pictures."""
    import panel as pn

    from explorer.app import page

    with sentences(), chromium() as browser:
        port = free_port()
        server: Any = pn.serve(page, port=port, threaded=True, show=False, title="Optimizer Explorer", verbose=False)
        try:
            for shot in SHOTS:
                if only in (None, shot.name):
                    _take(browser, f"http://localhost:{port}/{shot.query}", shot, folder / f"{shot.name}.png")
                    typer.echo(f"{shot.name}.png")
        finally:
            server.stop()


def _take(browser: Any, address: str, shot: Shot, file: Path) -> None:
    agent = {"user_agent": PHONE} if shot.width < 600 else {}
    page = browser.new_page(viewport={"width": shot.width, "height": shot.height}, **agent)
    page.goto(address)
    start = page.get_by_role("button", name="Start", exact=True)
    start.wait_for(timeout=120_000)
    if shot.dark:
        page.get_by_role("button", name="Toggle theme").click()
    start.click()
    epoch = page.locator("dt:text-is('Epoch') + dd")
    ended = page.get_by_role("status").filter(has_text="Finished")
    deadline = time.monotonic() + 300
    while int(epoch.text_content()) < shot.epochs and not ended.count() and time.monotonic() < deadline:
        time.sleep(0.2)
    page.mouse.move(0, 0)
    time.sleep(1)
    page.screenshot(path=file)
    page.close()
