"""The kinds of hyperparameter that many optimizers declare, with their bounds."""

from __future__ import annotations

from typing import Any

import param

from explorer.base.declared import Log


def rate(default: float, doc: str) -> Log:
    """A learning rate."""
    return Log(default, bounds=(0, 1e9), softbounds=(1e-6, 1), doc=doc)


def decay(default: float, doc: str) -> param.Number:
    """How much of a running value is kept each step: from 0 to below 1."""
    return param.Number(default, bounds=(0, 1), inclusive_bounds=(True, False), doc=doc)


def small(default: float, doc: str, low: float = 1e-12, high: float = 1e-3) -> Log:
    """A small number that keeps a division finite; `low` to `high` is what a slider offers."""
    return Log(default, bounds=(0, 1), softbounds=(low, high), doc=doc)


def penalty(default: float, doc: str, high: float = 0.5) -> param.Number:
    """A weight decay; `high` is the most that a slider offers."""
    return param.Number(default, bounds=(0, 1), softbounds=(0, high), doc=doc)


def positive(default: float, doc: str, low: float, high: float, **rest: Any) -> Log:
    """A number above 0 on a logarithmic scale; `low` to `high` is what a slider offers."""
    return Log(default, bounds=(0, 1e9), inclusive_bounds=(False, True), softbounds=(low, high), doc=doc, **rest)
