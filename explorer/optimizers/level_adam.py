"""Level Adam: small Adam steps from a shallow start with spread kinks, evaluated at the right scale and height."""

from __future__ import annotations

from explorer.optimizers.adam import Adam
from explorer.optimizers.fields import rate
from explorer.optimizers.modifiers.bessel import Bessel
from explorer.optimizers.modifiers.identity import Identity
from explorer.optimizers.modifiers.kinks import Kinks
from explorer.optimizers.modifiers.offset import Offset
from explorer.optimizers.modifiers.schedules import Cosine, decay_epochs


class LevelAdam(Offset, Bessel, Identity, Kinks, Cosine, Adam):
    key = "level_adam"

    lr = rate(4e-4, "Learning rate η: about the step of one weight.")
    cosine_epochs = decay_epochs(70)


LevelAdam.__doc__ = f"""Level Adam: Adam from a shallow start with spread kinks, evaluated at its scale and height.

    {Cosine.__doc__}

    {Kinks.__doc__}

    {Identity.__doc__}

    {Bessel.__doc__}

    {Offset.__doc__}
    """
