"""How weights move: the fixed loop over a fleet, and the worker thread that runs it."""

from explorer.training.fleet import Fleet
from explorer.training.result import Result, Results
from explorer.training.train import train

__all__ = ["Fleet", "Result", "Results", "train"]
