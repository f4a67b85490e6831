"""`explorer film`: the moving picture of a live race that the README shows, taken from the app as it is."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from explorer.cli.browser import chromium, served
from explorer.cli.failure import sentences

QUERY = "?view=Race&seeds=4&optimizer=muon&lane2=optimizer%3Dadam&lane3=optimizer%3Dsgd&pace=10+epochs%2Fs"
WIDTH, HEIGHT = 1100, 900
EPOCHS, STEP = 60, 2
"""How long the race is, and how many epochs lie between two frames."""
SHOWN = 130
"""Milliseconds that a frame is shown."""
MOST = 1_000_000
"""Bytes of the film at most."""


def command(
    file: Annotated[Path, typer.Argument(help="Where the film goes, an animated WebP.")] = Path("assets/race.webp"),
) -> None:
    """Serve the app, let three optimizers race, and film it."""
    with sentences(), chromium() as browser:
        with served() as address:
            frames = _take(browser, address + QUERY)
        _write(frames, file)
    typer.echo(f"{file.name}: {len(frames)} frames, {file.stat().st_size / 1000:.0f} KB")


def _take(browser: Any, address: str) -> list[bytes]:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    page.goto(address)
    start = page.get_by_role("button", name="Start", exact=True)
    start.wait_for(timeout=120_000)
    start.click()
    page.get_by_role("status").filter(has_text="Training").wait_for(timeout=60_000)
    page.mouse.move(0, 0)
    frames, epoch = [], page.locator("dt:text-is('Epoch') + dd")
    for goal in range(STEP, EPOCHS + 1, STEP):
        deadline = time.monotonic() + 30
        while int(epoch.text_content()) < goal and time.monotonic() < deadline:
            time.sleep(0.05)
        frames.append(page.screenshot())
    page.close()
    return frames


def _write(frames: list[bytes], file: Path) -> None:
    """As an endless WebP that rests on its last frame, as good as the size allows."""
    from PIL import Image

    pictures = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in frames]
    shown = [SHOWN] * (len(pictures) - 1) + [2500]
    for quality in (80, 65, 50, 35):
        pictures[0].save(
            file, save_all=True, append_images=pictures[1:], duration=shown, loop=0, quality=quality, method=4
        )
        if file.stat().st_size <= MOST:
            return
    raise ValueError(f"The film takes {file.stat().st_size} bytes, more than {MOST}.")
