"""`explorer new`: a plug-in file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.cli.failure import sentences
from explorer.optimizers.plugins import TEMPLATE


def command(file: Annotated[Path, typer.Argument(help="Where to write it, for example my.py.")]) -> None:
    """Write an optimizer of your own to start from: a file that trains and passes `explorer check`."""
    with sentences():
        if file.exists():
            raise ValueError(f"file = {file} is there already; it is left as it is.")
        if file.suffix != ".py":
            raise ValueError(f"file = {file} is not allowed: its name must end in .py.")
        try:
            file.write_text(TEMPLATE.read_text(encoding="utf-8").replace("THIS_FILE", str(file)), encoding="utf-8")
        except OSError as error:
            raise ValueError(f"file = {file} cannot be written: {error.strerror}.") from None
    typer.echo(f"{file} is written.  Now: explorer check {file}; explorer train --plugin {file}")
