"""`explorer tune`: how the shelf's default learning rates were found, with the same budget for each optimizer.

Nine learning rates around the present default train on the tuning seeds at the first depth; the best three go on to the
others.  A rate is judged by its mean quality to two digits, then by how few epochs it takes to the threshold.  The
winner is shown with fresh seeds too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from explorer import optimizers
from explorer.challenge import Challenge
from explorer.cli.failure import sentences
from explorer.cli.train import parse_seeds
from explorer.training import train

FACTORS = (0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10)
GO_ON = 3


def command(
    names: Annotated[list[str] | None, typer.Argument(help="Optimizers to tune; all of them if none is named.")] = None,
    preset: Annotated[str, typer.Option(help="The challenge's preset.")] = "tig",
    layers: Annotated[str, typer.Option(help="Depths, the first with every rate.")] = "4,10",
    seeds: Annotated[str, typer.Option(help="Seeds to tune on.")] = "1000-1015",
    fresh: Annotated[str, typer.Option(help="Seeds to show the winner with.")] = "3000-3007",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, tf32 or float64.")] = "float32",
    max_epochs: Annotated[int, typer.Option(min=1, help="Epochs at most.")] = 300,
    minutes: Annotated[float, typer.Option(help="Begin no further optimizer after this time.")] = 1e9,
) -> None:
    """Tune learning rates; a line of JSON for each optimizer."""
    began = time.monotonic()
    with sentences():
        depths = [int(depth) for depth in layers.split(",")]
        for name in names or optimizers.names():
            if time.monotonic() - began > 60 * minutes:
                print(f"explorer: no time left for {name}.", file=sys.stderr)
                continue
            found = tune(
                name, preset, depths, parse_seeds(seeds), parse_seeds(fresh),
                device=device, precision=precision, max_epochs=max_epochs,
            )  # fmt: skip
            typer.echo(json.dumps(found))


def tune(name: str, preset: str, depths: list[int], seeds: list[int], fresh: list[int], **how: Any) -> dict[str, Any]:
    """The best learning rate, and what it reaches at each depth on the tuning seeds and at the first on fresh ones.

    An optimizer that always proposes is judged with `restore_statistics` off: else it cannot train the statistics.
    """
    chosen = optimizers.get(name)
    began, default = time.monotonic(), chosen.fields()["lr"].default
    changes = {"restore_statistics": False} if chosen.proposes else {}
    rates = [float(f"{default * factor:.2g}") for factor in FACTORS]
    scores: dict[float, list[tuple[float, float]]] = {rate: [] for rate in rates}
    tables: dict[tuple[int, float], pd.DataFrame] = {}
    for depth in depths:
        challenge = Challenge.preset(preset, num_hidden_layers=depth, **changes)
        table = runs(challenge, chosen, rates, seeds, **how)
        for rate in rates:
            tables[depth, rate] = table.loc[table.lr == rate]
            scores[rate].append(score(tables[depth, rate]))
        rates = sorted(rates, key=lambda rate: total(scores[rate]))[:GO_ON]
    best = rates[0]
    shown = runs(Challenge.preset(preset, num_hidden_layers=depths[0], **changes), chosen, [best], fresh, **how)
    return {
        "optimizer": name,
        "default": default,
        "lr": best,
        "restore_statistics": not changes,
        "by_rate": {str(rate): [round(-one, 3) for one, _ in scores[rate]] for rate in scores},
        "tuned_on": {str(depth): summary(tables[depth, best]) for depth in depths},
        "fresh": summary(shown),
        "seconds": round(time.monotonic() - began, 1),
    }


def runs(
    challenge: Challenge, chosen: type[optimizers.Optimizer], rates: Iterable[float], seeds: list[int], **how: Any
) -> pd.DataFrame:
    """Outcomes of each rate and seed, with the first epoch whose test loss is at the threshold or under."""
    result = train(challenge, chosen(lr=list(rates)), seeds=seeds, **how)
    under = result.history.test_loss.values <= result.outcomes.threshold.to_numpy()[:, None]
    reached = np.where(under.any(axis=1), under.argmax(axis=1) + 1.0, np.nan)
    return result.outcomes.assign(reached=reached)


def score(table: pd.DataFrame) -> tuple[float, float]:
    """The smaller the better: quality to two digits with failures at −1, then epochs to the threshold."""
    quality = table.quality.fillna(-1).clip(-1, 1).mean()
    return -round(float(quality), 2), float(table.reached.fillna(1000).median())


def total(scores: list[tuple[float, float]]) -> tuple[float, float]:
    """Scores of several depths as one."""
    return sum(one for one, _ in scores) / len(scores), sum(two for _, two in scores) / len(scores)


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Median and quartiles of quality and epochs to the threshold; how many passed, of those that can.

    Runs can pass whose read-out floor is below 0.8 × threshold, or that have none.
    """
    can = ~(table.readout_floor >= 0.8 * table.threshold)
    quality = table.quality.fillna(-10).quantile([0.25, 0.5, 0.75]).round(3).tolist()
    reached = table.reached.quantile([0.25, 0.5, 0.75]).tolist()
    passed = f"{int((table.passed & can).sum())}/{int(can.sum())}"
    return {"quality": quality, "epochs": reached, "passed": passed, "trained": float(table.epochs.median())}
