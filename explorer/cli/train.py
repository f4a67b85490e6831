"""`explorer train`: a fleet from the command line, its losses live, its results as JSON or CSV."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from explorer import optimizers
from explorer.challenge import Challenge
from explorer.cli.failure import sentences
from explorer.cli.keeping import kept
from explorer.cli.progress import Progress
from explorer.records import LOSSES, Instances, Phase, Snapshot
from explorer.records.store import Checkpoint
from explorer.training import Result, separate
from explorer.training.continuation import Checkpoints
from explorer.training.fleet import Fleet
from explorer.training.plan import Plan
from explorer.training.train import complete

MOST_SEEDS = 4096


def command(
    preset: Annotated[
        str, typer.Option(help="brief: as the challenge is published; tig: as its harness runs it.")
    ] = "tig",
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="One that `explorer optimizers` lists, or the plug-in's name; adam+clip for one with modifiers."
        ),
    ] = None,
    plugin: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A Python file that holds an optimizer; `explorer new` writes one."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="A setting of the challenge or a hyperparameter; commas sweep a hyperparameter.  Repeat for more.",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Instances: 7, or 0-7, or 0,1,5.")] = "0",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, tf32 or float64.")] = "float32",
    max_epochs: Annotated[int | None, typer.Option(help="Epochs at most, instead of the challenge's.")] = None,
    json_file: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE", help="Write settings, outcomes and history; - is the output."),
    ] = None,
    csv_file: Annotated[
        str | None, typer.Option("--csv", metavar="FILE", help="Write the outcomes, one row a run; - is the output.")
    ] = None,
) -> None:
    """Train an optimizer's hyperparameter values × seeds, all at once."""
    with sentences():
        _check_files(json_file, csv_file)
        named = None if plugin is None else separate.load(plugin).key
        optimizer = optimizer or named or "adam"
        challenge, chosen = configure(preset, optimizer, settings or [])
        # Where the output carries data, everything for people goes to standard error.
        console = Console(stderr="-" in (json_file, csv_file), highlight=False)
        fleet = Fleet(challenge, chosen, parse_seeds(seeds), device, precision, max_epochs)
        with Progress(console, fleet.challenge.max_epochs) as progress:
            result = _train(
                fleet, Plan.of(fleet.challenge, chosen, tuple(fleet.seeds), device, precision), progress, console
            )
    if json_file is not None:
        _write(json_file, json.dumps(as_json(result, optimizer), indent=1, allow_nan=False) + "\n")
    if csv_file is not None:
        _write(csv_file, result.outcomes.to_csv(index=False))
    _tell(console, result)
    if (result.outcomes.status == "failed").any():
        raise typer.Exit(1)


def _train(fleet: Fleet, plan: Plan, progress: Progress, console: Console) -> Result:
    """Train the fleet of `plan` to its end, and keep it in the store as it goes."""
    checkpoints = Checkpoints()
    with kept(plan, console) as take:

        def on_epoch(snapshot: Snapshot) -> None:
            progress.update(snapshot)
            take(snapshot)
            for data in checkpoints.offer([fleet]):
                take(Checkpoint(0, fleet.epoch, data))

        result = complete(fleet, on_epoch)
        table = result.outcomes
        noise, kernel, feature, readout = (
            table[name].to_numpy() for name in ("noise_mse", "kernel_floor", "feature_floor", "readout_floor")
        )
        take(Instances(0, noise, kernel, feature, readout))
        message = "  ".join(dict.fromkeys(filter(None, table.message)))
        take.finish(Phase.FAILED if (table.status == "failed").all() else Phase.FINISHED, message)
    return result


def configure(preset: str, optimizer: str, settings: Sequence[str]) -> tuple[Challenge, optimizers.Optimizer]:
    """The challenge and the optimizer that `settings`, each `field=value`, spell; `ValueError` if that cannot be."""
    shelf = optimizers.get(optimizer)
    for_challenge: dict[str, Any] = {}
    for_optimizer: dict[str, Any] = {}
    for setting in settings:
        field, equals, text = (part.strip() for part in setting.partition("="))
        if not equals:
            raise ValueError(f"set = {setting!r} is not allowed: it must be FIELD=VALUE.")
        if field in Challenge.fields():
            for_challenge[field] = Challenge.parse(field, text)
        elif field in shelf.fields():
            values = [shelf.parse(field, part.strip()) for part in text.split(",")]
            for_optimizer[field] = values[0] if len(values) == 1 else values
        else:
            raise ValueError(
                f"{field} is neither a setting of the challenge nor of {optimizer}; "
                f"theirs are: {', '.join([*Challenge.fields(), *shelf.fields()])}."
            )
    return Challenge.preset(preset, **for_challenge), shelf(**for_optimizer)


def parse_seeds(text: str) -> list[int]:
    """`7`, `0-7` and `0,1,4-6` as a list of seeds; `ValueError` otherwise."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(part) > 64:
            raise ValueError(f"seeds = {text!r} is not allowed: it must be like 7, 0-7 or 0,1,5.")
        run = range(int(first), int(last if dash else first) + 1)
        if not 0 < len(run) <= MOST_SEEDS - len(seeds):
            raise ValueError(f"seeds = {text!r} is not allowed: it must name from 1 to {MOST_SEEDS} seeds.")
        seeds += run
    return seeds


def as_json(result: Result, optimizer: str) -> dict[str, Any]:
    """Settings, outcomes (one object a run) and history (`[run][epoch]`), NaN and infinity as null."""
    history = {name: [_plain(losses) for losses in result.history[name].values] for name in LOSSES}
    return {
        "challenge": result.challenge.values,
        "optimizer": {"name": optimizer, **result.optimizer.values},
        "device": result.device,
        "outcomes": [dict(zip(row, _plain(row.values()), strict=True)) for row in result.outcomes.to_dict("records")],
        "history": {"epoch": result.history.epoch.values.tolist(), **history},
    }


def _plain(values: Any) -> list[Any]:
    """Plain Python for JSON."""
    plain = (value.item() if isinstance(value, np.generic) else value for value in values)
    return [None if isinstance(value, float) and not np.isfinite(value) else value for value in plain]


def _check_files(json_file: str | None, csv_file: str | None) -> None:
    """`ValueError` if results could not be written: rather now than after the training."""
    if json_file == csv_file == "-":
        raise ValueError("json = - is not allowed with csv = -: only one of them can be the output.")
    for name, file in (("json", json_file), ("csv", csv_file)):
        if file not in (None, "-"):
            try:
                Path(file).open("a").close()
            except OSError as error:
                raise ValueError(f"{name} = {file} cannot be written: {error.strerror}.") from None


def _write(file: str, text: str) -> None:
    if file == "-":
        sys.stdout.write(text)
    else:
        Path(file).write_text(text, encoding="utf-8")


def _tell(console: Console, result: Result) -> None:
    """A line a run, then how many passed, and what went wrong if anything did."""
    table = result.outcomes
    shown = ["seed", *result.optimizer.sweeps, "status", "epochs", "best_epoch", "val_loss", "test_loss", "threshold"]
    text = table[[*shown, "alpha", "quality", "passed"]].to_string(index=False, float_format="%.4g")
    console.print(text, markup=False, soft_wrap=True)
    console.print(f"{int(table.passed.sum())} of {len(table)} runs passed.", markup=False)
    for message in dict.fromkeys(filter(None, table.message)):
        console.print(message, markup=False, soft_wrap=True)
