"""`explorer check`: whether a plug-in file keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.cli.failure import sentences
from explorer.training import separate


def command(
    file: Annotated[Path, typer.Argument(help="A Python file with the three functions, or an Optimizer.")],
) -> None:
    """Check that an optimizer's file keeps the challenge's contract."""
    with sentences():
        key, report = separate.check(file)
    for sentence in report.broken:
        typer.echo(sentence)
    if report.broken:
        raise typer.Exit(1)
    typer.echo(
        f"{key} keeps the contract.  A step takes {report.seconds * 1e3:.2g} ms here, "
        f"{report.beside_adam:.1f} times Adam's."
    )
