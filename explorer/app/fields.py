"""Widgets made from declarations: one field, one widget, one place where a bad value is caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui
import param

from explorer.app.widgets import Widgets
from explorer.base.declared import Declared
from explorer.views.style import number

Complain = Callable[[str], None]

SYMBOLS = {"lr": "Learning rate η", "beta1": "β₁", "beta2": "β₂", "beta3": "β₃", "eps": "ε"}
"""Labels for names that every optimizer shares; any other field is labelled by its declaration."""


def split(text: str) -> list[str]:
    """The parts between commas, without blanks."""
    return [part.strip() for part in text.split(",") if part.strip()]


def parse(declared: type[Declared], name: str, text: str, sweepable: bool) -> Any:
    """The value that `text` spells for a declared field; several between commas are a sweep, where that may be."""
    parts = split(text)
    if len(parts) > 1 and sweepable:
        return [declared.parse(name, part) for part in parts]
    return declared.parse(name, text.strip())


class Field:
    """A widget for one declared field.

    declared: the class that declares it.  read, write: get and set the value; `write` may raise `ValueError`, whose
    sentence is shown at the widget and passed to `complain`, and the last good value comes back.
    """

    def __init__(
        self,
        declared: type[Declared],
        name: str,
        read: Callable[[], Any],
        write: Callable[[Any], None],
        complain: Complain,
        sweepable: bool = False,
    ) -> None:
        self.name = name
        self._declared, self._read, self._write, self._complain = declared, read, write, complain
        self._sweepable = sweepable
        parameter = declared.param[name]
        self._textual = not isinstance(parameter, param.Selector | param.Boolean) and parameter.step is None
        self.widget = self._make(parameter)
        self.widget._debounce = 10  # Panel's 50 ms would be a third of what a person notices
        self._widgets = Widgets()
        self._widgets.watch(self.widget, self._chosen)

    @property
    def label(self) -> str:
        """The field's name for a person."""
        return self.widget.label

    def show(self) -> None:
        """Put the current value into the widget."""
        value = self._read()
        self._widgets.show(self.widget, value=self._spell(value) if self._textual else value)

    def load(self, text: str) -> None:
        """Set the value that `text` from an address spells; `ValueError` where it is refused."""
        self._write(self._parse(text))
        self.show()

    def _make(self, parameter: param.Parameter) -> Any:
        label = SYMBOLS.get(self.name, parameter.label or self.name)
        common: dict[str, Any] = {"label": label, "description": parameter.doc, "sizing_mode": "stretch_width"}
        value = self._read()
        if isinstance(parameter, param.Selector):
            return pmui.Select(value=value, options=list(parameter.objects), size="small", **common)
        if isinstance(parameter, param.Boolean):
            return pmui.Switch(value=value, **common)
        if self._textual:
            return pmui.TextInput(value=self._spell(value), size="small", **common)
        low, high = parameter.bounds
        end = high if parameter.inclusive_bounds[1] else high - parameter.step
        slider = pmui.IntSlider if isinstance(parameter, param.Integer) else pmui.FloatSlider
        return slider(value=value, start=low, end=end, step=parameter.step, **common)

    def _chosen(self, value: Any) -> None:
        try:
            self._write(self._parse(value) if self._textual else value)
        except ValueError as error:
            self._flag(str(error))
            self._complain(str(error))
        else:
            self._flag("")
        self.show()

    def _flag(self, sentence: str) -> None:
        if self._textual:
            self.widget.param.update(error_state=bool(sentence), helper_text=sentence)

    def _parse(self, text: str) -> Any:
        return parse(self._declared, self.name, text, self._sweepable)

    def _spell(self, value: Any) -> str:
        if isinstance(value, list):
            return ", ".join(map(self._spell, value))
        return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def changes(before: dict[str, Any], after: dict[str, Any]) -> str:
    """In words, what differs: 'width 128, noise std 0.1'; empty if nothing does."""
    return ", ".join(
        f"{name.replace('_', ' ')} {_say(value)}" for name, value in after.items() if before.get(name) != value
    )


def _say(value: Any) -> str:
    if isinstance(value, list):
        return " | ".join(map(_say, value))
    return number(value) if isinstance(value, float) else str(value)
