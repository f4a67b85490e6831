"""What a modifier is: a class whose methods call the optimizer's, put in front of it by inheritance."""

from __future__ import annotations

from typing import ClassVar

from explorer.optimizers.base import Optimizer


class Modifier(Optimizer):
    """Base of everything that changes another optimizer.

    A modifier has the name people type in `modifier`, and its hyperparameters and state are named after it
    (`cosine_warmup`), so that several can be stacked.  `super()` is what it modifies: the optimizer itself or the
    modifier listed before.  Each defines the methods it changes itself: one inherited by two would run only once.
    """

    modifier: ClassVar[str]
