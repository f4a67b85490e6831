"""What a person sets beside the challenge and the hyperparameters."""

from __future__ import annotations

import param

from explorer import optimizers
from explorer.base.declared import Declared
from explorer.challenge import Challenge
from explorer.training import devices

FASTEST = "as fast as possible"
PACES = {FASTEST: None, "1 epoch/s": 1.0, "3 epochs/s": 3.0, "10 epochs/s": 10.0, "30 epochs/s": 30.0}


class Setup(Declared):
    """Which preset, optimizer, seeds, pace and device."""

    preset = param.Selector(
        default="tig",
        objects=sorted(Challenge.presets(), reverse=True),
        doc="tig: as TIG's public harness runs it.  brief: as TIG's challenge page is written.",
    )
    optimizer = param.Selector(default="adam", objects=optimizers.names(), doc="The algorithm that moves the weights.")
    seeds = param.Integer(1, bounds=(1, 256), doc="Instances trained at once: consecutive seeds, each its own problem.")
    first_seed = param.Integer(0, bounds=(0, 2**31 - 1), label="First seed", doc="Seed of the first instance.")
    pace = param.Selector(default=FASTEST, objects=list(PACES), doc="How fast epochs may follow each other.")
    device = param.Selector(default="auto", objects=devices.choices(), doc="Where to train; auto takes a GPU if any.")
    precision = param.Selector(
        default="float32", objects=list(devices.PRECISIONS), doc="Arithmetic; tf32 differs from float32 on CUDA alone."
    )

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds of the instances."""
        return tuple(range(self.first_seed, self.first_seed + self.seeds))
