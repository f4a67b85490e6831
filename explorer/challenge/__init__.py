"""What must be learnt: data, model, scoring, floors."""

from explorer.challenge.data import Dataset, Function, Samples
from explorer.challenge.floors import Floors, floors
from explorer.challenge.settings import Challenge

__all__ = ["Challenge", "Dataset", "Floors", "Function", "Samples", "floors"]
