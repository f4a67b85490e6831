"""Colours and formats that all views share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bokeh.models import Axis, Legend, Title
from bokeh.models.annotations.legends import BaseColorBar
from bokeh.models.glyph import Glyph

Hook = Callable[[Any, Any], None]
"""What HoloViews calls, with its plot and the element, when it has drawn the element."""
FIGURE: dict[str, Any] = {
    "responsive": True,
    "show_legend": False,
    "toolbar": "above",
    "active_tools": ["box_zoom"],
}
"""Options of every figure that has a toolbar: legends stand beside figures, as they would cover curves."""


def called(hooks: Mapping[str, Hook] | None, role: str) -> list[Hook]:
    """The hook of an element, as its options take it; none where nobody asks for that role."""
    return [hooks[role]] if hooks and role in hooks else []


class Look(NamedTuple):
    """How one curve or line is drawn: a colour readable on white and on black, and a dash that tells it apart."""

    color: str
    dash: str
    width: float


# Blue, orange and green differ in lightness too, and each has its own dash, so that no pair rests on hue alone.
LOSS_LOOKS = {
    "train": Look("#3b82d6", "solid", 2),
    "validation": Look("#e07b00", "dashed", 2.5),
    "test": Look("#12936f", "solid", 3),
}
LINE_LOOKS = {
    "threshold": Look("#d6336c", "solid", 2),
    "read-out floor": Look("#9165d6", "dashdot", 1.8),
    "kernel floor": Look("#8a8f98", "dashed", 1.8),
    "noise": Look("#8a8f98", "dotted", 1.8),
}


LOG_TICKS = [float(f"{digit}e{power}") for power in range(-12, 13) for digit in (1, 2, 5)]
"""Ticks of a logarithmic axis: Bokeh's own leave the lower half of two decades without a number."""


class Scale(NamedTuple):
    """How many times larger than on a desk texts and lines are drawn (markers are as large as lines are wide), and how
    many times higher the figures are, so that larger texts have room."""

    text: float = 1.0
    line: float = 1.0
    height: float = 1.0


DESK = Scale()
HALL = Scale(text=1.6, line=1.8, height=1.25)
"""For the back row of a lecture hall."""
_SCALED = "scaled"


def resize(figure: Any, scale: Scale) -> None:
    """Draw a Bokeh figure, whichever view it is of, at this scale; the figure itself tells at which it is drawn now."""
    now = scale_of(figure)
    if now == scale:
        return
    text, line, height = (new / old for new, old in zip(scale, now, strict=True))
    figure.tags = [*(tag for tag in figure.tags if tag[0] != _SCALED), [_SCALED, *scale]]
    for model in figure.references():
        if isinstance(model, Axis | BaseColorBar | Legend | Title):  # the page's theme sets these, in its own size
            continue
        fonts = [name for name in model.properties() if name.endswith("font_size")]
        changed = {name: _times(getattr(model, name), text) for name in fonts}
        if isinstance(model, Glyph):
            for name in {"line_width", "size"}.intersection(model.properties()):
                if isinstance(getattr(model, name), int | float):  # else a column of the data source says it
                    changed[name] = getattr(model, name) * line
        model.update(**changed)
    for border in ("min_border_right", "min_border_left"):
        setattr(figure, border, round((getattr(figure, border) or 0) * text))
    if figure.height:
        figure.height = round(figure.height * height)


def scale_of(figure: Any) -> Scale:
    """At which scale a Bokeh figure is drawn now."""
    return Scale(*next((tag[1:] for tag in figure.tags if tag[0] == _SCALED), DESK))


def _times(size: Any, factor: float) -> Any:
    """A font size such as `12px`, this many times as large."""
    value, unit = re.fullmatch(r"([\d.]+)(\D+)", size).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return f"{round(float(value) * factor, 2):g}{unit}"


def number(value: float | None) -> str:
    """Three significant digits for a person; an en dash where there is no number."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:.{digits}f}".replace("-", "−")
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")
