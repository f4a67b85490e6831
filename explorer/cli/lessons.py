"""`explorer lessons`: which there are, and whether those of a folder are right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.cli.failure import sentences
from explorer.lessons import SHELF, shelf

app = typer.Typer(help="Lessons of the app: list them, check them.", no_args_is_help=True)

Folders = Annotated[list[Path] | None, typer.Argument(help="Folders with lessons, beside the package's own.")]


@app.command("list")
def listing(folders: Folders = None) -> None:
    """Every lesson with the address that opens it."""
    with sentences():
        for lesson in shelf([SHELF, *(folders or [])]).values():
            steps = f"{len(lesson.steps)} step{'s' if len(lesson.steps) > 1 else ''}"
            typer.echo(f"?lesson={lesson.key}\n    {lesson.title} ({steps}).  {lesson.summary}")


@app.command("check")
def check(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders with lessons; the package's own if none is named.")
    ] = None,
    run: Annotated[
        bool, typer.Option("--run", help="Also train every step, as asked and with its mistake, on the CPU.")
    ] = False,
) -> None:
    """Check lessons: their files, addresses and expressions; with --run, that their checks tell right from wrong."""
    from explorer.app.lesson_trial import faults, trial

    with sentences():
        lessons = shelf(folders or [SHELF])
    found = [fault for lesson in lessons.values() for fault in faults(lesson)]
    if run and not found:
        for lesson in lessons.values():
            for place, step in enumerate(lesson.steps, 1):
                for what, changes, expected in (("asked", step.asked, 0), ("wrong", step.wrong, step.fails)):
                    missing, _ = trial(step, changes)
                    typer.echo(f"{lesson.key}, step {place}, {what}: {_says(missing)}")
                    if missing != expected:
                        found.append(f"{lesson.key}, step {place}, {what}: {_says(missing)}, not {_says(expected)}.")
    for fault in found:
        typer.echo(fault)
    if found:
        raise typer.Exit(1)
    typer.echo(f"{len(lessons)} lesson{'s are' if len(lessons) > 1 else ' is'} right.")


def _says(missing: int) -> str:
    return f"condition {missing} does not hold" if missing else "every condition holds"
