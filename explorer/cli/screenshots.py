"""`explorer screenshots`: the pictures of the app that the README shows, made from the app as it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from explorer.cli.browser import chromium, served
from explorer.cli.failure import sentences

PHONE = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/130 Mobile Safari/537.36"


@dataclass(frozen=True)
class Shot:
    """One picture, or two: `light` and `dark`.

    query: of the address.  epochs: to wait for.  start: the button that starts the training.  then: a button that is
    pressed after that, and the text that it brings.
    """

    name: str
    query: str
    width: int = 1440
    height: int = 900
    epochs: int = 60
    both: bool = False
    start: str = "Start"
    then: tuple[str, str] | None = None


THREE = "&lane2=optimizer%3Dmuon&lane3=optimizer%3Dsgd"
SHOTS = (
    Shot("app", "?seeds=4", both=True),
    Shot("app-one-run", "?optimizer=adam&lr=0.001", 1920, 1080, epochs=100),
    Shot("app-brief", "?preset=brief&seeds=4", epochs=51),
    Shot("app-phone", "?seeds=1", 390, 1300),
    Shot("race", "?view=Race&seeds=4" + THREE, height=1000, both=True),
    Shot("race-hall", "?view=Race&seeds=4&presentation=1" + THREE, 1920, 1080),
    Shot("function-hall", "?view=Function&seeds=1&presentation=1", 1920, 1080),
    Shot("sweep", "?view=Sweep&seeds=4&lr=1e-5,1e-4,3e-4,1e-3,3e-3,1e-2,1e-1", height=1000, epochs=30, both=True),
    Shot("function", "?view=Function&seeds=1", both=True),
    Shot("inside", "?view=Inside&seeds=1", height=1300, epochs=150, both=True),
    Shot(
        "landscape",
        "?view=Landscape&seeds=1" + THREE,
        height=1000,
        then=("Compute surface", "on the surface"),
        both=True,
    ),
    Shot(
        "frontier",
        "?view=Frontier&seeds=4&width=64" + THREE,
        height=1000,
        start="Train the frontier",
        epochs=30,
        both=True,
    ),
)


def command(
    folder: Annotated[Path, typer.Argument(help="Where the pictures go.")] = Path("assets"),
    only: Annotated[str | None, typer.Option(help="The name of one picture.")] = None,
) -> None:
    """Serve the app, train, and take its pictures."""
    with sentences(), chromium() as browser, served() as address:
        for shot in SHOTS:
            if only in (None, shot.name):
                for file in _take(browser, address + shot.query, shot, folder):
                    typer.echo(file.name)


def _take(browser: Any, address: str, shot: Shot, folder: Path) -> Iterator[Path]:
    agent = {"user_agent": PHONE} if shot.width < 600 else {}
    page = browser.new_page(viewport={"width": shot.width, "height": shot.height}, **agent)
    page.goto(address)
    page.get_by_role("button", name="Start", exact=True).wait_for(timeout=120_000)
    page.get_by_role("button", name=shot.start, exact=True).click()
    epoch = page.locator("dt:text-is('Epoch') + dd")
    ended = page.get_by_role("status").filter(has_text="Finished")
    deadline = time.monotonic() + 300
    while int(epoch.text_content()) < shot.epochs and not ended.count() and time.monotonic() < deadline:
        time.sleep(0.2)
    if shot.then is not None:
        button, brought = shot.then
        page.get_by_role("button", name=button, exact=True).click()
        page.get_by_text(brought).wait_for(timeout=120_000)
        page.get_by_text("of the surface are computed").wait_for(state="hidden", timeout=120_000)
    for ending in ("", "-dark") if shot.both else ("",):
        if ending:
            page.get_by_role("button", name="Toggle theme").click()
        page.mouse.move(0, 0)
        time.sleep(2 if ending else 1)
        file = folder / f"{shot.name}{ending}.png"
        page.screenshot(path=file)
        yield file
    page.close()
