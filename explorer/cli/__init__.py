"""The command line: one module a command."""

from __future__ import annotations

import sys

import typer

from explorer.cli import (
    bench,
    check,
    compare,
    film,
    floors,
    lessons,
    new,
    optimizers,
    race,
    runs,
    screenshots,
    serve,
    train,
    tune,
)

app = typer.Typer(
    name="explorer",
    help="See why one neural-network optimizer beats another.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.command)
app.command("train")(train.command)
app.command("race")(race.command)
app.command("targets")(race.targets)
app.command("optimizers")(optimizers.command)
app.command("new")(new.command)
app.command("check")(check.command)
app.command("tune")(tune.command)
app.command("compare")(compare.command)
app.command("bench")(bench.command)
app.command("floors")(floors.command)
app.command("screenshots")(screenshots.command)
app.command("film")(film.command)
app.add_typer(lessons.app, name="lessons")
app.add_typer(runs.app, name="runs")


def main() -> None:
    """Run the command that the arguments name."""
    if sys.argv[1:2] == ["serve"]:
        serve.start_anew()
    app(prog_name="explorer")
