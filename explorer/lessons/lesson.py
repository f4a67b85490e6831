"""Lessons as they lie in their files: read whole, and refused with a sentence that says where something is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import yaml

from explorer.lessons.expressions import Value, check_text, parse
from explorer.lessons.facts import Facts

SHELF = Path(__file__).parent / "shelf"
"""Where the lessons lie that come with the package."""


@dataclass(frozen=True)
class Condition:
    """Something that must hold of the run, and the sentence for a person where it does not."""

    holds: Value
    otherwise: str


@dataclass(frozen=True)
class Choice:
    """An answer to choose, and whether the run bears it out."""

    says: str
    true: Value


@dataclass(frozen=True)
class Prediction:
    """A question before the run: answers to choose from, or a number to guess within a factor."""

    question: str
    choices: tuple[Choice, ...] = ()
    number: Value | None = None
    within: float = 2.0


@dataclass(frozen=True)
class Step:
    """One step of a lesson.

    address: the entries that set everything up.  open: the settings that can be changed, by the address's names; with
    `lanes`, those that make up the lanes.  check: what must hold, in the order in which it is told.  asked: entries
    that the learner is asked to change.  wrong: entries of a plausible mistake; `fails` is the condition, from 1, that
    tells.
    """

    title: str
    text: str
    address: dict[str, str]
    open: tuple[str, ...]
    prediction: Prediction | None
    check: tuple[Condition, ...]
    reveal: str
    asked: dict[str, str]
    wrong: dict[str, str]
    fails: int

    def missing(self, facts: Facts) -> int:
        """The first condition, from 1, that does not hold; 0 where all do."""
        return next((place for place, condition in enumerate(self.check, 1) if not condition.holds(facts)), 0)


@dataclass(frozen=True)
class Lesson:
    """A lesson: its file's name without the ending, its title, and its steps."""

    key: str
    title: str
    summary: str
    order: float
    steps: tuple[Step, ...] = field(repr=False)


def read(path: Path) -> Lesson:
    """The lesson in this file; `ValueError` with a sentence where it is none."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}.") from None
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", path.stem):
        raise ValueError(f"{path}: a lesson's file is named with lower-case letters, digits and hyphens.")
    entries = _Entries(content, path.name)
    steps = entries.take("steps", list)
    made = Lesson(
        path.stem,
        entries.take("title", str),
        entries.take("summary", str),
        float(entries.take("order", (int, float), 1000)),
        tuple(_step(_Entries(step, f"{path.name}, step {place}")) for place, step in enumerate(steps, 1)),
    )
    entries.end()
    if not made.steps:
        raise ValueError(f"{path.name}: a lesson needs at least one step.")
    return made


def shelf(folders: Iterable[Path] = (SHELF,)) -> dict[str, Lesson]:
    """The lessons in these folders, by key and in order; a later one of the same key takes an earlier one's place.

    `ValueError` for a folder that is none, and for the first lesson that is not right.
    """
    found = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"lessons = {folder} is not a folder.")
        found |= {lesson.key: lesson for lesson in map(read, sorted(folder.glob("*.yaml")))}
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


class _Entries:
    """A mapping of the file, emptied key by key; whatever is left over at the end was misspelt."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, dict):
            raise ValueError(f"{where}: expected keys with values.")
        self.where, self._left = where, dict(content)

    def take(self, key: str, kind: Any, default: Any = ...) -> Any:
        value = self._left.pop(key, default)
        if value is ...:
            raise ValueError(f"{self.where}: {key} is missing.")
        if value is not default and (not isinstance(value, kind) or isinstance(value, bool) or value == ""):
            raise ValueError(f"{self.where}: {key} = {value!r} is not allowed.")
        return value

    def expression(self, key: str) -> Value:
        try:
            return parse(str(self.take(key, (str, int, float))))
        except ValueError as error:
            raise ValueError(f"{self.where}: {key}: {error}") from None

    def told(self, key: str) -> str:
        """A text whose expressions in braces are right."""
        text = self.take(key, str).strip()
        try:
            check_text(text)
        except ValueError as error:
            raise ValueError(f"{self.where}: {key}: {error}") from None
        return text

    def address(self, key: str, default: Any = ...) -> dict[str, str]:
        """A query, as the address bar has it; line breaks between its parts do not count."""
        text = re.sub(r"\s+", "", self.take(key, str, default))
        entries = parse_qsl(text.removeprefix("?"), keep_blank_values=True)
        return dict(entries)

    def parts(self, key: str, default: Any = ...) -> list[_Entries]:
        found = self.take(key, list, default)
        return [_Entries(part, f"{self.where}, {key} {place}") for place, part in enumerate(found, 1)]

    def end(self) -> None:
        if self._left:
            raise ValueError(f"{self.where}: {', '.join(map(str, self._left))} is not known.")


def _step(entries: _Entries) -> Step:
    conditions = []
    for part in entries.parts("check"):
        conditions.append(Condition(part.expression("is"), part.told("otherwise")))
        part.end()
    if not conditions:
        raise ValueError(f"{entries.where}: a check needs at least one condition.")
    asked = _prediction(entries.take("predict", dict, None), entries.where)
    step = Step(
        entries.take("title", str),
        entries.take("text", str).strip(),
        entries.address("address"),
        tuple(entries.take("open", list, [])),
        asked,
        tuple(conditions),
        entries.told("reveal"),
        entries.address("asked", ""),
        entries.address("wrong"),
        entries.take("fails", int),
    )
    entries.end()
    if not 1 <= step.fails <= len(step.check):
        raise ValueError(f"{entries.where}: fails = {step.fails} must be the number of a condition of its check.")
    return step


def _prediction(content: dict[str, Any] | None, where: str) -> Prediction | None:
    if content is None:
        return None
    entries = _Entries(content, f"{where}, predict")
    question = entries.take("question", str).strip()
    choices = []
    for part in entries.parts("choices", []):
        choices.append(Choice(part.take("says", str), part.expression("when")))
        part.end()
    number = None if choices else entries.expression("number")
    within = float(entries.take("within", (int, float), 2.0))
    entries.end()
    if len(choices) == 1 or len({choice.says for choice in choices}) < len(choices):
        raise ValueError(f"{entries.where}: choices must be two or more, all different.")
    return Prediction(question, tuple(choices), number, within)
