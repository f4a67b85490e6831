"""`explorer race`: a tournament from a TOML file; `explorer targets`: the losses that workloads ask for."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.console import Console

from explorer.cli.failure import sentences
from explorer.tournament import (
    MEASURES,
    Outcome,
    Player,
    Store,
    Tournament,
    Unit,
    described,
    here,
    intervals,
    kept,
    load,
    timed,
)
from explorer.tournament import targets as rule
from explorer.tournament.workloads import INSTANCES, named
from explorer.training import devices

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1; on a cluster, of each worker.")]
Scheduler = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Train on the Dask cluster whose scheduler is there: tcp://host:8786.")
]
Workers = Annotated[
    str, typer.Option(metavar="N", help="Train on a Dask cluster of N processes here; gpus is one for each GPU.")
]


def command(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A TOML file: entrants, workloads, rulesets, budget.")],
    store: Annotated[
        Path | None, typer.Option(help="A file to keep outcomes in; by default the run store, which the app shows too.")
    ] = None,
    device: Device = "auto",
    scheduler: Scheduler = "",
    workers: Workers = "",
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write table and scores; - is the output.")
    ] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Say what there is to do, and how long it takes at most.")] = False,
) -> None:
    """Hold a tournament; what its store has is not trained again, so the same command goes on after an interruption."""
    with sentences():
        held = load(spec)
        _check(json_file)
        player = _player(device, scheduler, workers)
        tournament = Tournament(held, Store(store))
        console = Console(stderr=json_file == "-", highlight=False)
        total, pending = len(tournament.units), len(tournament.pending)
        console.print(f"{held.name}: {total} fleets, {total - pending} of them done before.", markup=False)
        if dry and pending:
            minutes = tournament.at_most(device) / 60
            console.print(f"At most {minutes:.1f} min on one {described(device)}, if every run needs all its epochs.")
        elif not dry:
            try:
                for unit, outcome in tournament.play(player):
                    _tell(console, tournament, unit, outcome)
            except KeyboardInterrupt:
                console.print("Stopped; the same command goes on from here.", markup=False)
                raise typer.Exit(130) from None
        if not tournament.outcomes:
            return
        found = summary(tournament)
        if json_file is not None:
            _write(json_file, json.dumps(found, indent=1, allow_nan=False) + "\n")
        _show(console, tournament)


def targets(
    workloads: Annotated[list[str], typer.Argument(help="tig_4, tig_10_noise …; an unknown name lists them.")],
    instances: Annotated[int, typer.Option(min=1, max=INSTANCES, help="The first so many instances.")] = INSTANCES,
    trials: Annotated[int, typer.Option(min=1, help="Trials of each classic optimizer.")] = 5,
    reruns: Annotated[int, typer.Option(min=1, help="Runs of the best trial, on each instance.")] = 20,
    max_epochs: Annotated[int, typer.Option(min=1, help="Epochs at most.")] = 200,
    precision: Annotated[str, typer.Option(help="float32, tf32 or float64.")] = "float32",
    store: Annotated[Path, typer.Option(help="Where outcomes are kept, so that this can be continued.")] = Path(
        "targets.sqlite"
    ),
    output: Annotated[Path, typer.Option(help="The file of targets to change; by default the package's.")] = rule.FILE,
    device: Device = "auto",
    scheduler: Scheduler = "",
    workers: Workers = "",
) -> None:
    """Make workloads' targets by the written rule: the best of four classics, re-run with other starts."""
    with sentences():
        devices.precision(precision)
        constants = rule.Rule(instances, trials, reruns, max_epochs, precision)
        player = kept(_player(device, scheduler, workers), Store(store))
        for workload in [named(name) for name in workloads]:
            began = time.monotonic()
            entry = rule.make(workload, constants, player) | {"device": described(device)}
            rule.store(workload.name, entry, output)
            typer.echo(f"{workload.name}: {json.dumps(entry)} ({time.monotonic() - began:.0f} s)")


def summary(tournament: Tournament) -> dict[str, Any]:
    """The table and, in each measure, the scores, fit for JSON: infinite and missing numbers are null."""
    part = tournament.comparable()
    measures = {}
    for measure in MEASURES:
        scored = tournament.scores(measure)
        if scored is None:
            continue
        ends = intervals(timed(part, measure))
        columns = {"benchmark": scored.benchmark, "exact": scored.exact, "speedup": scored.speedups}
        rows = pd.concat([pd.DataFrame(columns), ends], axis=1).reset_index().to_dict("records")
        times = scored.times.reset_index().to_dict("records")
        measures[measure] = {"scores": [_plain(row) for row in rows], "times": [_plain(row) for row in times]}
    return {
        "name": tournament.spec.name,
        "baseline": tournament.spec.baseline,
        "finished": not tournament.pending,
        "table": [_plain(row) for row in tournament.table().to_dict("records")],
        **measures,
    }


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    plain = {str(key): value.item() if isinstance(value, np.generic) else value for key, value in row.items()}
    return {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in plain.items()}


def _player(device: str, scheduler: str, workers: str) -> Player:
    if scheduler and workers:
        raise ValueError("scheduler is not allowed with workers: one names a cluster that is there, one makes one.")
    if not scheduler and not workers:
        devices.resolve(device)
        return here(device)
    from explorer.tournament import cluster

    if scheduler:
        return cluster.remote(scheduler, device)
    if workers == "gpus":
        return cluster.local(cluster.gpus(), device)
    if not workers.isdecimal():
        raise ValueError(f"workers = {workers!r} is not allowed: it must be an integer from 1, or gpus.")
    return cluster.local(int(workers), device)


def _tell(console: Console, tournament: Tournament, unit: Unit, outcome: Outcome) -> None:
    done, total = len(tournament.outcomes), len(tournament.units)
    best = min(outcome.trials, key=lambda trial: (trial.epochs, trial.nearest))
    reached = f"reached after {best.epochs:g} epochs, {best.seconds:.2f} s"
    missed = f"missed, {best.nearest:.3f} × the target after {max(trial.trained for trial in outcome.trials)} epochs"
    left = f"about {tournament.left() / 60:.1f} min of training left" if tournament.pending else "done"
    ended = f"  {outcome.message}" if outcome.message else ""
    console.print(
        f"{done:4}/{total}  {unit.title}: {reached if np.isfinite(best.epochs) else missed}; {left}{ended}",
        markup=False,
        soft_wrap=True,
    )


def _show(console: Console, tournament: Tournament) -> None:
    """The benchmark score in each measure, then the times behind it."""
    scored = {measure: one for measure in MEASURES if (one := tournament.scores(measure)) is not None}
    if scored:
        columns = {f"by {measure}": one.benchmark for measure, one in scored.items()}
        if tournament.spec.baseline:
            columns["speed-up"] = scored["seconds"].speedups
        table = pd.DataFrame(columns).sort_values(["ruleset", "by seconds"], ascending=[True, False])
        console.print(table.to_string(float_format="%.4f"), markup=False, soft_wrap=True)
        console.print("\nEpochs to the target (median over studies of the best trial):", markup=False)
        console.print(scored["epochs"].times.to_string(float_format="%.1f"), markup=False, soft_wrap=True)
    if tournament.pending:
        console.print("Not finished: scores are of what all submissions have done, if anything.", markup=False)
    table = tournament.table()
    if table.device.nunique() > 1:
        console.print("Seconds are of different devices: compare epochs.", markup=False)
    for message in dict.fromkeys(filter(None, table.message)):
        console.print(message, markup=False, soft_wrap=True)


def _check(json_file: str | None) -> None:
    """`ValueError` if results could not be written: rather now than after the training."""
    if json_file not in (None, "-"):
        try:
            Path(json_file).open("a").close()
        except OSError as error:
            raise ValueError(f"json = {json_file} cannot be written: {error.strerror}.") from None


def _write(file: str, text: str) -> None:
    if file == "-":
        sys.stdout.write(text)
    else:
        Path(file).write_text(text, encoding="utf-8")
