"""Tournaments that take seconds: a network of eight units on a few samples."""

from __future__ import annotations

from typing import Any

from explorer.tournament import Entry, Unit

TINY: dict[str, Any] = {
    "input_dims": 1,
    "num_features": 8,
    "num_hidden_layers": 1,
    "width": 8,
    "train_size": 64,
    "val_size": 32,
    "test_size": 16,
    "batch_size": 32,
}


def unit(optimizer="adam", points=({},), targets=(0.9, 0.9, 0.9), seeds=(1, 2, 3), max_epochs=30, **rest) -> Unit:
    """A unit on the tiny challenge."""
    told = {"ruleset": "external", "submission": optimizer, "study": 0, "workload": "u", "kind": "base"} | rest
    entry = told.pop("entry", Entry(optimizer))
    settings = told.pop("settings", TINY)
    return Unit(
        **told, entry=entry, points=points, settings=settings, seeds=seeds, targets=targets, max_epochs=max_epochs
    )


def spec(**changes: Any) -> dict[str, Any]:
    """Two submissions, a base workload and its variant, two studies, two trials: eight fleets."""
    told = {
        "name": "tiny",
        "baseline": "sgd",
        "max_epochs": 30,
        "external": {"studies": 2, "trials": 2},
        "submissions": [
            {"optimizer": "adam", "set": {"beta1": 0.8}, "space": {"lr": [1e-3, 1e-1]}},
            {"optimizer": "sgd"},
        ],
        "workloads": [
            {"name": "u", "settings": TINY, "instances": [1, 2, 3], "targets": [0.95, 0.95, 0.95]},
            {
                "name": "u_noise",
                "kind": "held_out",
                "settings": TINY | {"noise_std": 0.4},
                "instances": [4, 5, 6],
                "targets": [1, 1, 1],
            },
        ],
    }
    return told | changes


def toml(told: dict[str, Any]) -> str:
    """`told` as TOML, as far as specs need it."""

    def value(of: Any) -> str:
        if isinstance(of, dict):
            return "{" + ", ".join(f"{key} = {value(one)}" for key, one in of.items()) + "}"
        if isinstance(of, list):
            return "[" + ", ".join(map(value, of)) + "]"
        return f'"{of}"' if isinstance(of, str) else str(of).lower()

    return "".join(f"{key} = {value(of)}\n" for key, of in told.items())
