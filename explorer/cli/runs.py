"""`explorer runs`: what was trained so far, from the run store."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from explorer.cli.failure import sentences
from explorer.cli.keeping import kept
from explorer.cli.progress import Progress
from explorer.records import LOSSES, Snapshot
from explorer.records.store import ENDED, ORDERS, Store, Summary, export_runs, import_runs
from explorer.training.continuation import Checkpoints, go_on, remake
from explorer.training.experiment import Experiment, Record
from explorer.training.result import outcomes

app = typer.Typer(help="What was trained so far: every experiment is kept as it runs.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="An experiment's id, or how it begins.", show_default=False)]
Ids = Annotated[list[str], typer.Argument(help="Experiments' ids, or how they begin.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
WIDE = 200
"""Columns where the output is no terminal: nothing is cut that a program may read."""


@app.command("list")
def list_(
    search: Annotated[str, typer.Argument(help="Words that its title, notes, lanes or settings hold.")] = "",
    phase: Annotated[
        list[str] | None, typer.Option(help=f"Only these: running, paused, {', '.join(ENDED)}.  Repeat for more.")
    ] = None,
    pinned: Annotated[bool, typer.Option("--pinned", help="Only what is pinned.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="What was deleted and can be brought back.")] = False,
    order: Annotated[str, typer.Option(help=f"By what to sort: {', '.join(ORDERS)}.")] = "newest",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List experiments, the newest first."""
    with _opened() as store:
        found = store.find(search, phase or (), pinned or None, deleted, order, limit)
    if as_json:
        typer.echo(json.dumps([_finite(asdict(summary)) for summary in found], indent=1, allow_nan=False))
        return
    if not found:
        typer.echo("Nothing was found." if search or phase or pinned or deleted else "Nothing is in the store yet.")
        return
    table = Table(
        "id", "began", "phase", "", "title", "runs", "epochs", "test/noise", "notes", box=None, pad_edge=False
    )
    for summary in found:
        table.add_row(*map(Text, _row(summary)))
    _console().print(table)


@app.command()
def show(id: Id, as_json: AsJson = False) -> None:
    """Show an experiment: its settings and its outcomes, one row a run; with --json its history, too."""
    with _opened() as store:
        summary = store.get(id)
        told = _finite(asdict(summary))
        tables = []
        for place, lane in enumerate(told["lanes"]):
            table, history = _outcomes(store, summary, place)
            tables.append(table)
            lane["outcomes"] = _finite(table.to_dict("records"))
            losses = {name: _finite(loss.tolist()) for name, loss in zip(LOSSES, history.losses, strict=True)}
            lane["history"] = {"epoch": list(range(1, history.epoch + 1)), **losses}
    if as_json:
        typer.echo(json.dumps(told, indent=1, allow_nan=False))
        return
    console = _console()
    _say(console, f"{summary.id}  {summary.title}")
    _say(console, f"{_when(summary.began)}  {summary.phase}{'  pinned' if summary.pinned else ''}")
    for text in filter(None, (summary.message, summary.notes)):
        _say(console, text)
    for lane, table in zip(summary.lanes, tables, strict=True):
        _say(console, f"\n{lane.name}  {lane.epoch} epochs in {lane.seconds:.1f} s on {lane.device or 'no device yet'}")
        shown = table.loc[:, [name for name in table if name not in ("message", "feature_floor")]]
        _say(console, shown.to_string(index=False, float_format="%.4g"))


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to write, for example runs.jsonl.gz.", show_default=False)],
    ids: Annotated[list[str] | None, typer.Argument(help="Which; all if none is named.", show_default=False)] = None,
) -> None:
    """Write experiments to one file: lines of JSON, compressed with gzip, which `import` reads."""
    with _opened() as store:
        chosen = ids or [summary.id for summary in store.find(order="oldest", limit=10**6)]
        export_runs(store, chosen, file)
    typer.echo(f"{_counted(len(chosen))} written to {file}.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="What `export` wrote.", show_default=False)],
) -> None:
    """Take in the experiments of a file; those that are here already stay as they are."""
    with _opened() as store:
        found = import_runs(store, file)
    typer.echo(f"{_counted(len(found.taken))} taken in, {len(found.known)} known already.")


@app.command("continue")
def continue_(id: Id) -> None:
    """Go on with an experiment that was interrupted, from its last checkpoint to its end."""
    console = Console(highlight=False)
    with _opened() as store:
        plan = go_on(store, id)
    with sentences(), Progress(console, plan.entries[0].challenge.max_epochs) as progress, kept(plan, console) as take:

        def tell(record: Record) -> None:
            take(record)
            if isinstance(record, Snapshot) and record.lane == 0 and record.train_loss.shape[1]:
                progress.update(record)

        experiment = Experiment(0, plan, tell, checkpoints=Checkpoints())
        while experiment.patience(None) == 0:
            experiment.advance(None, lambda: False)
    show(plan.resumes)


@app.command()
def note(id: Id, text: Annotated[str, typer.Argument(help="Your words; '' for none.", show_default=False)]) -> None:
    """Write notes to an experiment, instead of those that it has."""
    with _opened() as store:
        store.annotate(store.get(id).id, text)


@app.command()
def pin(id: Id, off: Annotated[bool, typer.Option("--off", help="Pin it no more.")] = False) -> None:
    """Pin an experiment."""
    with _opened() as store:
        store.pin(store.get(id).id, not off)


@app.command()
def delete(ids: Ids, undo: Annotated[bool, typer.Option("--undo", help="Bring them back.")] = False) -> None:
    """Delete experiments; within a week they can be brought back."""
    with _opened() as store:
        chosen = [store.get(id).id for id in ids]
        for id in chosen:
            (store.undelete if undo else store.delete)(id)
    if undo:
        typer.echo(f"{_counted(len(chosen))} brought back.")
    else:
        typer.echo(f"{_counted(len(chosen))} deleted; to bring back: explorer runs delete --undo {' '.join(chosen)}")


@contextmanager
def _opened() -> Iterator[Store]:
    """The store; what is wrong with it or with what was asked is a sentence."""
    with sentences():
        store = Store()
        try:
            yield store
        finally:
            store.close()


def _outcomes(store: Store, summary: Summary, place: int) -> tuple[pd.DataFrame, Any]:
    """One row a run, and the history; scores only where the settings are known here."""
    history, instances = store.history(summary.id, place), store.instances(summary.id, place)
    try:
        challenge, _ = remake(summary.lanes[place].settings)
    except ValueError:
        train, val, test = history.at_best
        columns = {"seed": [run.seed for run in history.runs], "status": list(map(str, history.status))}
        counted = {"epochs": history.epochs, "best_epoch": history.best_epoch}
        return pd.DataFrame(columns | counted | dict(zip(LOSSES, (train, val, test), strict=True))), history
    return outcomes(challenge, history, instances), history


def _row(summary: Summary) -> list[str]:
    ratios = [lane.ratio for lane in summary.lanes if not math.isnan(lane.ratio)]
    notes = " ".join(summary.notes.split())
    return [
        summary.id,
        _when(summary.began),
        summary.phase,
        "pinned" if summary.pinned else "",
        summary.title,
        str(sum(lane.runs for lane in summary.lanes)),
        str(max((lane.epoch for lane in summary.lanes), default=0)),
        f"{min(ratios):.3g}" if ratios else "",
        notes if len(notes) <= 40 else f"{notes[:39]}…",
    ]


def _finite(value: Any) -> Any:
    """Plain Python for JSON: what is not finite is null."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _counted(number: int) -> str:
    return f"{number} experiment{'' if number == 1 else 's'}"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
