"""What a tournament is played on: named variants of the challenge, each with instances of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from explorer.base.declared import Log
from explorer.challenge import Challenge, Dataset

RERUN = 2**32
"""What a seed grows by from one run of an instance to its next."""
INSTANCES = 9
"""Instances of a named workload: an odd number, so that its median is one of them."""
DEPTHS = (4, 7, 10, 14, 18)
VARIANTS: dict[str, dict[str, Any]] = {
    "noise": {"noise_std": 0.4},
    "lengthscale": {"lengthscale": 0.25},
    "inputs": {"input_dims": 2},
    "unfrozen": {"frozen_layers": 0},
    "few": {"train_size": 250},
    "scaled": {"input_scale": 10.0},
}
"""What a held-out variant changes in its base: noise, lengthscale, input dimensions, nothing frozen, a quarter of the
training samples, inputs ten times as wide."""


class Heat(Challenge):
    """The challenge as a tournament runs it: an instance can be run again, with another start and order of batches.

    A seed is the instance's plus 2³² for each further run of it; the data hang on the first part alone, start, batches
    and the optimizer's own draws on both.  The first run of instance 7 is seed 7 everywhere else.
    """

    input_scale = Log(1.0, bounds=(1e-3, 1e3), doc="Factor on the inputs that the network is given, no unit.")

    def dataset(self, seed: int = 0) -> Dataset:
        """The instance that `seed` holds; wider inputs are those of a function that is as much smoother."""
        drawn = super().dataset(seed % RERUN)
        slower = replace(drawn.function, frequencies=drawn.function.frequencies / self.input_scale)
        return replace(drawn, inputs=drawn.inputs * self.input_scale, function=slower)


@dataclass(frozen=True)
class Workload:
    """A variant of the challenge, and the instances that it is judged by.

    kind: base or held_out; a held-out variant's name begins with its base's.  settings: the preset and what differs
    from it, fields of `Heat`.  instances: their seeds, below 2³².  targets: validation losses (mean squared error), one
    an instance; empty where none are known.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]
    instances: tuple[int, ...]
    targets: tuple[float, ...] = field(default=())

    def challenge(self, max_epochs: int | None = None) -> Heat:
        """The challenge, with an own limit of epochs if one is given; `ValueError` names what is not allowed."""
        return heat(self.settings, max_epochs)

    def seeds(self, rerun: int) -> tuple[int, ...]:
        """The seeds of run `rerun`, from 0, of all instances."""
        return tuple(instance + rerun * RERUN for instance in self.instances)


def heat(settings: Mapping[str, Any], max_epochs: int | None = None) -> Heat:
    """The challenge that a workload's settings name."""
    limit = {} if max_epochs is None else {"max_epochs": max_epochs}
    fields = {name: value for name, value in settings.items() if name != "preset"}
    return Heat.preset(settings.get("preset", "brief"), **(fields | limit))  # pyright: ignore[reportReturnType]


def names() -> list[str]:
    """All named workloads: five base ones, then the held-out variants of each."""
    return list(_NAMED)


def named(name: str) -> Workload:
    """The workload called `name`, without targets; `ValueError` if there is none."""
    try:
        return _NAMED[name]
    except KeyError:
        raise ValueError(
            f"workload = {name!r} is not known: it must be one of {', '.join(f'tig_{depth}' for depth in DEPTHS)}, "
            f"with _{', _'.join(VARIANTS)} behind it for a held-out variant."
        ) from None


def _named() -> dict[str, Workload]:
    found = [
        Workload(
            name=f"tig_{depth}_{variant}" if variant else f"tig_{depth}",
            kind="held_out" if variant else "base",
            settings={"preset": "tig", "num_hidden_layers": depth} | VARIANTS.get(variant, {}),
            # Far from the seeds that the shelf's defaults were tuned on, and no two lists meet.
            instances=tuple(range(first := 100_000 + 1_000 * depth + 100 * place, first + INSTANCES)),
        )
        for place, variant in enumerate(("", *VARIANTS))
        for depth in DEPTHS
    ]
    return {workload.name: workload for workload in found}


_NAMED = _named()
