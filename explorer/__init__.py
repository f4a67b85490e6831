"""Optimizer Explorer: see why one neural-network optimizer beats another."""

from explorer import optimizers
from explorer.challenge import Challenge
from explorer.training import Result, train

__version__ = "0.1.0"
__all__ = ["Challenge", "Result", "optimizers", "train"]
