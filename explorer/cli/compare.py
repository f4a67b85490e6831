"""`explorer compare`: optimizers on the same instances, paired, with bootstrap intervals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer

from explorer import optimizers
from explorer.challenge import Challenge
from explorer.cli.failure import sentences
from explorer.cli.train import configure, parse_seeds
from explorer.records import History
from explorer.training import Fleet
from explorer.training.result import outcomes
from explorer.training.survey import Survey

RESAMPLES = 10_000


def command(
    specs: Annotated[
        list[str],
        typer.Argument(metavar="SPEC...", help="NAME or NAME:field=value,field=value; the first is the rival."),
    ],
    preset: Annotated[str, typer.Option(help="The challenge's preset.")] = "tig",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="A setting of the challenge.")
    ] = None,
    layers: Annotated[str, typer.Option(help="Depths.")] = "4,7,10,14,18",
    seeds: Annotated[str, typer.Option(help="Instances, the same for all.")] = "1000-1007",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, tf32 or float64.")] = "float32",
    max_epochs: Annotated[int | None, typer.Option(help="Epochs at most, instead of the challenge's.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Append each run as a line of JSON.")
    ] = None,
) -> None:
    """Train every optimizer at every depth on the same instances and compare each with the first, pair by pair."""
    with sentences():
        if len(set(specs)) < len(specs):
            raise ValueError("specs name an optimizer twice: to compare settings, write them out.")
        listed, depths = parse_seeds(seeds), [int(depth) for depth in layers.split(",")]
        entrants = {spec: parse(spec, preset, settings or []) for spec in specs}
        rows = []
        for depth in depths:
            for spec, (challenge, optimizer) in entrants.items():
                fleet = Fleet(
                    challenge.replace(num_hidden_layers=depth), optimizer, listed, device, precision, max_epochs
                )
                table = trained(fleet).assign(spec=spec, layers=depth)
                rows.append(table)
                if json_file is not None:
                    with json_file.open("a", encoding="utf-8") as file:
                        file.writelines(json.dumps(row) + "\n" for row in table.to_dict("records"))
                at_depth = pd.concat([row for row in rows if row.layers.iloc[0] == depth])
                shown = paired(at_depth, specs[0]).loc[spec]
                typer.echo(f"{depth} layers, {spec}: {_line(shown)}")
        if len(depths) > 1:
            for spec, row in paired(pd.concat(rows), specs[0]).iterrows():
                typer.echo(f"all depths, {spec}: {_line(row)}")


def parse(spec: str, preset: str, settings: list[str]) -> tuple[Challenge, optimizers.Optimizer]:
    """The challenge and the optimizer that `NAME:field=value,field=value` asks for."""
    name, _, values = spec.partition(":")
    return configure(preset, name, [*settings, *filter(None, values.split(","))])


def trained(fleet: Fleet) -> pd.DataFrame:
    """Train `fleet` to its end; one row a run.

    ratio: kept model's test MSE over noise MSE; distance: its mean squared distance to the true f on the test inputs,
    over noise MSE; test: every epoch's test MSE.
    """
    history = History(fleet.runs)
    finished = False
    while not finished:
        for _ in range(min(1 if fleet.device.type == "cpu" else 25, fleet.challenge.max_epochs - fleet.epoch)):
            fleet.advance()
        snapshot = fleet.snapshot()
        history.append(snapshot)
        finished = snapshot.finished
    instances = Survey(fleet.challenge, fleet.runs, fleet.datasets).complete()
    table = outcomes(fleet.challenge, history, instances)
    tests = [fleet.datasets[seed].test for seed in table.seed]
    inputs, truths = (
        torch.as_tensor(np.stack([getattr(part, name) for part in tests])).to(fleet.params.buffer)
        for name in ("inputs", "truths")
    )
    distance = (fleet.model.evaluate(fleet.best, inputs) - truths).square().mean(dim=(1, 2)).double().cpu().numpy()
    curves = history.to_xarray().test_loss.values
    return pd.DataFrame(
        {
            **{name: table[name] for name in ("seed", "status", "epochs", "best_epoch", "quality", "seconds")},
            "ratio": table.test_loss / table.noise_mse,
            "distance": distance / table.noise_mse,
            "test_loss": table.test_loss,
            "test": [curve[np.isfinite(curve)].tolist() for curve in curves],
        }
    )


def paired(table: pd.DataFrame, rival: str) -> pd.DataFrame:
    """Each optimizer beside `rival` on the same seeds and depths, a row each; one that failed makes its figures NaN.

    ratio, median_quality, mean_quality: its own.  beside, beside_low, beside_high: the geometric mean of its test MSE
    over the rival's with a 95 % interval; distance, …: the same of the distance to f.  reach: the median of the epochs
    to the rival's kept test MSE over the epochs that the rival itself took to it, infinite where it never gets there.
    """
    keyed = table.set_index(["seed", "layers"])
    rows: dict[str, dict[str, Any]] = {}
    for spec in dict.fromkeys(table.spec):
        ours = keyed[keyed.spec == spec]
        theirs = keyed[keyed.spec == rival].reindex(ours.index)
        row = {
            "ratio": np.exp(np.log(ours.ratio).mean(skipna=False)),
            "median_quality": ours.quality.fillna(-10).median(),
            "mean_quality": ours.quality.fillna(-10).mean(),
            "runs": len(ours),
        }
        for name, column in (("beside", "ratio"), ("distance", "distance")):
            logs = pd.Series(np.log(ours[column] / theirs[column]), index=ours.index)
            low, high = interval(logs)
            row |= {name: np.exp(logs.mean(skipna=False)), f"{name}_low": np.exp(low), f"{name}_high": np.exp(high)}
        took, theirs_took = (
            np.array([_reached(curve, loss) for curve, loss in zip(curves, theirs.test_loss, strict=True)])
            for curves in (ours.test, theirs.test)
        )
        row["reach"] = float(np.median(took / theirs_took))
        rows[spec] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def interval(logs: pd.Series) -> tuple[float, float]:
    """95 % bootstrap interval of the mean; seeds are drawn, each with all its depths."""
    by_seed = np.asarray(logs.groupby(level="seed").mean(), dtype=float)
    drawn = np.random.default_rng(0).integers(len(by_seed), size=(RESAMPLES, len(by_seed)))
    low, high = np.quantile(by_seed[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _reached(curve: list[float], loss: float) -> float:
    under = np.flatnonzero(np.array(curve) <= loss * (1 + 1e-6))
    return float(under[0] + 1) if len(under) else np.inf


def _line(row: pd.Series) -> str:
    spans = [
        f"{row[name]:.3f} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]" for name in ("beside", "distance")
    ]
    return (
        f"ratio {row.ratio:.3f}, quality median {row.median_quality:.3f} mean {row.mean_quality:.3f} "
        f"({row.runs:.0f} runs); "
        f"test MSE × {spans[0]}, distance to f × {spans[1]}, epochs × {row.reach:.2f}"
    )
