"""Level Adam: small Adam steps from spread kinks, shown as an average, at the height that the read-out cannot learn."""

from __future__ import annotations

import param

from explorer.optimizers.adam import Adam
from explorer.optimizers.fields import rate
from explorer.optimizers.modifiers.epoch_average import EpochAverage
from explorer.optimizers.modifiers.kinks import Kinks
from explorer.optimizers.modifiers.offset import Offset


class LevelAdam(Offset, EpochAverage, Kinks, Adam):
    key = "level_adam"

    lr = rate(1e-4, "Learning rate η: about the step of one weight.")
    epoch_average_pull = param.Number(0.9, bounds=(0, 1), doc="Share β of the average in where gradients are taken.")


LevelAdam.__doc__ = f"""Level Adam: small steps from spread kinks, shown as an average, at the right height.

    {Kinks.__doc__}

    {EpochAverage.__doc__}

    {Offset.__doc__}
    """
