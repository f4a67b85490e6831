"""Lessons: data files that guide a person through experiments, and what they may ask of a run.  No user interface."""

from explorer.lessons.facts import Facts
from explorer.lessons.lesson import SHELF, Lesson, Step, read, shelf

__all__ = ["SHELF", "Facts", "Lesson", "Step", "read", "shelf"]
