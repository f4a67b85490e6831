"""Level Adam: small Adam steps from spread kinks, shown as an average, at the height that the read-out cannot learn."""

from __future__ import annotations

from explorer.optimizers.adam import Adam
from explorer.optimizers.fields import rate
from explorer.optimizers.modifiers.epoch_average import EpochAverage
from explorer.optimizers.modifiers.kinks import Kinks
from explorer.optimizers.modifiers.offset import Offset


class LevelAdam(Offset, EpochAverage, Kinks, Adam):
    key = "level_adam"

    lr = rate(1e-4, "Learning rate η: about the step of one weight.")


LevelAdam.__doc__ = f"""Level Adam: small steps from spread kinks, shown as an average, at the right height.

    {Kinks.__doc__}

    {EpochAverage.__doc__}

    {Offset.__doc__}
    """
