"""AdamW under the modifiers that people race by their own names."""

from __future__ import annotations

from explorer.optimizers.adam import AdamW
from explorer.optimizers.modifiers.averages import EMA, LAWA, Lookahead
from explorer.optimizers.modifiers.sam import SAM


class EMAAdamW(EMA, AdamW):
    """AdamW under an exponential moving average: the modifier `ema` around `adamw`."""

    key = "ema_adamw"


class LAWAAdamW(LAWA, AdamW):
    """AdamW under latest weight averaging: the modifier `lawa` around `adamw`."""

    key = "lawa_adamw"


class LookaheadAdamW(Lookahead, AdamW):
    """AdamW under Lookahead: the modifier `lookahead` around `adamw`."""

    key = "lookahead_adamw"


class SAMAdamW(SAM, AdamW):
    """AdamW with gradients taken uphill: the modifier `sam` around `adamw`."""

    key = "sam_adamw"
