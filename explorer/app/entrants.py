"""The optimizers that a person has set up: one entrant becomes one lane."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from explorer import optimizers
from explorer.app.fields import parse, split
from explorer.optimizers import Optimizer

_keys = count()


@dataclass
class Entrant:
    """An optimizer with its modifiers and hyperparameters, under a name of the person's or its own.

    key: what it is known by, whatever its settings become.  hidden: left out of the views that compare lanes.
    """

    optimizer: str = "adam"
    modify: list[str] = field(default_factory=list)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    hidden: bool = False
    key: int = field(default_factory=lambda: next(_keys))

    def __post_init__(self) -> None:
        self.hyperparameters = self.kind(**self.hyperparameters).values

    @property
    def kind(self) -> type[Optimizer]:
        """The optimizer's class, with its modifiers; `ValueError` where they do not go together."""
        return optimizers.get("+".join([self.optimizer, *self.modify]))

    @property
    def built(self) -> Optimizer:
        """The optimizer itself, a list of values swept."""
        return self.kind(**self.hyperparameters)

    @property
    def label(self) -> str:
        """Its name for a person."""
        return self.name or self.built.described

    @property
    def changed(self) -> dict[str, Any]:
        """What of it is not as it would be anyway, by name; lists stay lists."""
        defaults = self.kind().values
        named = {"name": self.name} if self.name else {}
        stack = {"modify": list(self.modify)} if self.modify else {}
        own = {name: value for name, value in self.hyperparameters.items() if defaults[name] != value}
        return {"optimizer": self.optimizer} | stack | own | named

    def put_on(self, optimizer: str, modify: list[str]) -> None:
        """Become this optimizer with these modifiers; hyperparameters that stay keep their values.  `ValueError` leaves
        everything as it was."""
        kind = optimizers.get("+".join([optimizer, *modify]))
        same = optimizer == self.optimizer
        kept = {name: value for name, value in self.hyperparameters.items() if same and name in kind.fields()}
        self.hyperparameters = kind(**kept).values
        self.optimizer, self.modify = optimizer, modify

    @classmethod
    def of(cls, optimizer: Optimizer, values: dict[str, Any]) -> Self:
        """The entrant that makes `optimizer`, with some hyperparameters set otherwise."""
        key, *modify = optimizer.key.split("+")
        return cls(key, modify, optimizer.values | values)

    def copy(self) -> Entrant:
        """Another one that is set the same."""
        return Entrant(self.optimizer, list(self.modify), dict(self.hyperparameters), hidden=self.hidden)

    def spell(self) -> str:
        """One text that `parse` understands, for an address."""
        spelt = {
            name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
            for name, value in self.changed.items()
        }
        return urlencode(spelt, safe=",")

    @classmethod
    def parse(cls, text: str) -> Self:
        """The entrant that `text` spells; `ValueError` with a sentence where it is none."""
        entries = dict(parse_qsl(text, keep_blank_values=True))
        optimizer = entries.pop("optimizer", "")
        modify = split(entries.pop("modify", ""))
        name = entries.pop("name", "")
        known = optimizers.names()
        if optimizer not in known:  # nor an import path: an address must not make the server import things
            raise ValueError(f"optimizer = {optimizer!r} is not known: it must be one of {', '.join(known)}.")
        kind = optimizers.get("+".join([optimizer, *modify]))
        values = {
            field: parse(kind, field, value, field in kind.fields() and kind.sweepable(field))
            for field, value in entries.items()
        }
        return cls(optimizer, modify, values, name)
