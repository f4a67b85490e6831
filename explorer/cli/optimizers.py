"""`explorer optimizers`: what is on the shelf."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from explorer import optimizers
from explorer.cli.failure import sentences


def command(name: Annotated[str | None, typer.Argument(help="Tell the hyperparameters of this one.")] = None) -> None:
    """List the optimizers, or the hyperparameters of one."""
    if name is None:
        width = max(map(len, optimizers.names()))
        for key in optimizers.names():
            typer.echo(f"{key:{width}}  {_headline(optimizers.get(key))}")
        return
    with sentences():
        chosen = optimizers.get(name)
    typer.echo(_headline(chosen))
    for field, parameter in chosen.fields().items():
        typer.echo(f"  {field} = {parameter.default}: {parameter.doc} ({chosen.allowed(field)})")


def _headline(chosen: type[optimizers.Optimizer]) -> str:
    return inspect.getdoc(chosen).splitlines()[0]  # pyright: ignore[reportOptionalMemberAccess]  # each has one
