"""Settings that are declared once and refuse bad values with a sentence.

A field is a `param` Parameter with a default, bounds and a doc that states its unit.  Widgets, the address bar, the
command line, the documentation and the tests are derived from that declaration.
"""

from __future__ import annotations

import math
from html import escape
from numbers import Integral, Real
from typing import Any, Self

import param


class Log(param.Number):
    """A positive number whose natural scale is logarithmic (a learning rate, a threshold)."""


class Declared(param.Parameterized):
    """A set of declared fields.

    Every assignment is checked; a bad one raises `ValueError` naming the field, the value and what is allowed, and
    leaves the last good value in place.
    """

    def __init__(self, **values: Any) -> None:
        for field in values:
            self._parameter(field)
        super().__init__(**{field: self.check(field, value) for field, value in values.items()})

    def __setattr__(self, attribute: str, value: Any) -> None:
        if attribute in type(self)._names():
            value = self.check(attribute, value)
        super().__setattr__(attribute, value)

    @classmethod
    def fields(cls) -> dict[str, param.Parameter]:
        """The declared fields by name, in the order of their declaration."""
        return {name: cls.param[name] for name in cls._names()}

    @classmethod
    def _names(cls) -> tuple[str, ...]:
        """The declared fields' names, looked for once: a page asks for them hundreds of times."""
        if "_declared" not in vars(cls):
            declared = dict[str, None]()
            for klass in reversed(cls.__mro__):
                fields = (name for name, value in vars(klass).items() if isinstance(value, param.Parameter))
                declared |= dict.fromkeys(name for name in fields if name != "name")
            cls._declared = tuple(declared)
        return cls._declared

    @property
    def values(self) -> dict[str, Any]:
        """Every field's value, plain Python, fit for JSON."""
        return {field: getattr(self, field) for field in self.fields()}

    def _repr_html_(self) -> str:
        """A notebook's picture of it: every field, its value (bold where it is not the default) and what it means."""
        rows = []
        for name, field in self.fields().items():
            value = self.values[name]
            shown = escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))
            shown = shown if value == field.default else f"<b>{shown}</b>"
            rows.append(f"<tr><th>{escape(name)}</th><td>{shown}</td><td>{escape(field.doc or '')}</td></tr>")
        style = "text-align: left; font-variant-numeric: tabular-nums"
        return f'<b>{escape(self._title)}</b><table style="{style}"><tbody>{"".join(rows)}</tbody></table>'

    @property
    def _title(self) -> str:
        return type(self).__name__

    def replace(self, **values: Any) -> Self:
        """A copy with some fields changed."""
        return type(self)(**(self.values | values))

    @classmethod
    def check(cls, field: str, value: Any) -> Any:
        """`value` as plain Python if `field` allows it, else `ValueError`."""
        parameter = cls._parameter(field)
        value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
        if isinstance(parameter, param.Selector):
            good = any(value == choice and type(value) is type(choice) for choice in parameter.objects)
        elif isinstance(parameter, param.Boolean):
            good = isinstance(value, bool)
        elif isinstance(parameter, param.Integer):
            good = isinstance(value, Integral) and not isinstance(value, bool) and _within(parameter, value)
        elif isinstance(parameter, param.Number):
            good = isinstance(value, Real) and not isinstance(value, bool) and _within(parameter, value)
        elif isinstance(parameter, param.String):
            good = isinstance(value, str)
        else:
            good = True
        if not good:
            raise ValueError(f"{field} = {value!r} is not allowed: it must be {cls.allowed(field)}.")
        return value

    @classmethod
    def parse(cls, field: str, text: str) -> Any:
        """The value that `text` (from an address or a command line) spells, checked."""
        parameter = cls._parameter(field)
        try:
            if isinstance(parameter, param.Boolean):
                value: Any = {"true": True, "false": False, "1": True, "0": False}[text.lower()]
            elif isinstance(parameter, param.Selector):
                value = next(choice for choice in parameter.objects if str(choice) == text)
            elif isinstance(parameter, param.Integer):
                value = int(text)
            elif isinstance(parameter, param.Number):
                value = float(text)
            else:
                value = text
        except (ValueError, KeyError, StopIteration):
            raise ValueError(f"{field} = {text!r} is not allowed: it must be {cls.allowed(field)}.") from None
        return cls.check(field, value)

    @classmethod
    def allowed(cls, field: str) -> str:
        """In words, what `field` accepts: 'an integer from 1 to 20'."""
        parameter = cls._parameter(field)
        if isinstance(parameter, param.Selector):
            return "one of " + ", ".join(str(choice) for choice in parameter.objects)
        if isinstance(parameter, param.Boolean):
            return "true or false"
        if isinstance(parameter, param.Number):
            noun = "an integer" if isinstance(parameter, param.Integer) else "a number"
            low, high = parameter.bounds or (None, None)
            low_in, high_in = parameter.inclusive_bounds
            lower = None if low is None else f"{'from' if low_in else 'above'} {low:g}"
            upper = None if high is None else f"{'to' if high_in else 'to below'} {high:g}"
            if not low_in and upper is not None:
                upper = f"{'up to' if high_in else 'and below'} {high:g}"
            return " ".join(part for part in (noun, lower, upper) if part)
        return "text"

    @classmethod
    def _parameter(cls, field: str) -> param.Parameter:
        try:
            return cls.fields()[field]
        except KeyError:
            known = ", ".join(cls.fields()) or "none"
            raise ValueError(f"{field} is not a setting of {cls.__name__}; its settings are: {known}.") from None


def _within(parameter: param.Number, value: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    low, high = parameter.bounds or (None, None)
    low_in, high_in = parameter.inclusive_bounds
    above = low is None or value > low or (low_in and value == low)
    below = high is None or value < high or (high_in and value == high)
    return above and below
