"""Level Adam: small Adam steps from spread kinks, along half a cosine, at the height that the read-out cannot learn."""

from __future__ import annotations

import param

from explorer.optimizers.adam import Adam
from explorer.optimizers.fields import rate
from explorer.optimizers.modifiers.kinks import Kinks
from explorer.optimizers.modifiers.offset import Offset
from explorer.optimizers.modifiers.schedules import Cosine


class LevelAdam(Offset, Cosine, Kinks, Adam):
    key = "level_adam"

    lr = rate(2e-4, "Learning rate η: about the step of one weight.")
    cosine_epochs = param.Number(
        140, bounds=(1, 10000), softbounds=(10, 1000), doc="Epoch E at which the end is reached."
    )


LevelAdam.__doc__ = f"""Level Adam: small steps from spread kinks, ever smaller, at the right height.

    {Kinks.__doc__}

    {Cosine.__doc__}

    {Offset.__doc__}
    """
