"""Colours and formats that all views share."""

from __future__ import annotations

import math
from typing import NamedTuple


class Look(NamedTuple):
    """How one curve or line is drawn: a colour readable on white and on black, and a dash that tells it apart."""

    color: str
    dash: str
    width: float


# Blue, orange and green differ in lightness too, and each has its own dash, so that no pair rests on hue alone.
LOSS_LOOKS = {
    "train": Look("#3b82d6", "solid", 2),
    "validation": Look("#e07b00", "dashed", 2.5),
    "test": Look("#12936f", "solid", 3),
}
LINE_LOOKS = {
    "threshold": Look("#d6336c", "solid", 2),
    "read-out floor": Look("#9165d6", "dashdot", 1.8),
    "kernel floor": Look("#8a8f98", "dashed", 1.8),
    "noise": Look("#8a8f98", "dotted", 1.8),
}


def number(value: float | None) -> str:
    """Three significant digits for a person; an en dash where there is no number."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:.{digits}f}".replace("-", "−")
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")
