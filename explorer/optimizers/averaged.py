"""AdamW under the modifiers that people race by their own names."""

from __future__ import annotations

from explorer.optimizers.adam import AdamW
from explorer.optimizers.fields import rate
from explorer.optimizers.modifiers.averages import EMA, LAWA, Lookahead
from explorer.optimizers.modifiers.sam import SAM

ADAMS = "Learning rate η: about the step of one weight, AdamW's."


class EMAAdamW(EMA, AdamW):
    __doc__ = f"AdamW under an exponential moving average: the modifier `ema` around `adamw`.\n\n    {EMA.__doc__}"

    key = "ema_adamw"

    lr = rate(3e-4, ADAMS)


class LAWAAdamW(LAWA, AdamW):
    __doc__ = f"AdamW under latest weight averaging: the modifier `lawa` around `adamw`.\n\n    {LAWA.__doc__}"

    key = "lawa_adamw"

    lr = rate(1.5e-2, ADAMS)


class LookaheadAdamW(Lookahead, AdamW):
    __doc__ = f"AdamW under Lookahead: the modifier `lookahead` around `adamw`.\n\n    {Lookahead.__doc__}"

    key = "lookahead_adamw"


class SAMAdamW(SAM, AdamW):
    __doc__ = f"AdamW with gradients taken uphill: the modifier `sam` around `adamw`.\n\n    {SAM.__doc__}"

    key = "sam_adamw"

    lr = rate(1.5e-3, ADAMS)
