"""`explorer floors`: how near an optimizer comes to what the frozen read-out allows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from explorer.cli.browser import chromium
from explorer.cli.failure import sentences
from explorer.cli.train import configure, parse_seeds
from explorer.training import train


def command(
    optimizer: Annotated[str, typer.Option(help="One that `explorer optimizers` lists.")] = "adam",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="As for `explorer train`.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Instances: 0-7, or 0,1,5.")] = "0-7",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    plot: Annotated[Path | None, typer.Option(help="Write the scatter plot: a .html or .png file.")] = None,
) -> None:
    """Train on `tig` and compare each run's test error with its instance's read-out floor."""
    import holoviews as hv

    from explorer.views import floors as view

    hv.extension("bokeh", logo=False)
    with sentences():
        challenge, chosen = configure("tig", optimizer, settings or [])
        if challenge.frozen_layers < 2:
            raise ValueError(f"frozen_layers = {challenge.frozen_layers} has no read-out floor: it must be 2 or more.")
        outcomes = train(challenge, chosen, parse_seeds(seeds), device).outcomes
        table = outcomes[["seed", "status", "epochs", "test_loss", "readout_floor", "noise_mse"]].assign(
            floor_ratio=outcomes.readout_floor / outcomes.noise_mse, test_ratio=outcomes.test_loss / outcomes.noise_mse
        )
        typer.echo(table.to_string(index=False, float_format="%.4g"))
        typer.echo(f"Correlation of test MSE with the read-out floor: {view.correlation(outcomes):.4f}")
        if plot is not None:
            _save(view.floors(outcomes), plot)


def _save(element: object, file: Path) -> None:
    import holoviews as hv

    with tempfile.TemporaryDirectory() as folder:
        page = file if file.suffix == ".html" else Path(folder) / "plot.html"
        hv.save(element, page, backend="bokeh", resources="inline")
        if page is not file:
            with chromium() as browser:
                shown = browser.new_page(viewport={"width": 700, "height": 640})
                shown.goto(page.absolute().as_uri())
                shown.locator(".bk-Figure").first.wait_for()
                shown.locator(".bk-Figure").first.screenshot(path=file)
