"""The losses of a fleet by epoch, with the threshold and the floors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import holoviews as hv
import numpy as np
from bokeh.models import ColumnDataSource, CustomJSTickFormatter, FixedTicker, HoverTool, LinearAxis, LogAxis, TapTool

from explorer.records import History, Instances, Status
from explorer.views.style import FIGURE, LINE_LOOKS, LOG_TICKS, LOSS_LOOKS, Hook, called, number, scale_of

Columns = dict[str, list[float]]

SINGLES = 12
"""Runs drawn one by one at most; more are too dear for a browser."""
STEPS = (50, 100, 200, 350, 500, 750, 1000, 1500, 2000, 3500, 5000, 7500)
"""Ends of the epoch axis: it follows in steps, since an axis that moves on every update flickers."""


class Line(NamedTuple):
    """A horizontal line: `name` is a key of `LINE_LOOKS`."""

    name: str
    value: float


@dataclass(frozen=True)
class Window:
    """What the axes show: epochs from 0 to `end`, losses from `low` to `high`."""

    end: float
    low: float
    high: float


def lines(instances: Instances | None, threshold: np.ndarray | None) -> list[Line]:
    """The lines to draw: each the median over the runs' instances; those that are not known are left out."""
    if instances is None or threshold is None:
        return []
    values = {
        "threshold": threshold,
        "read-out floor": instances.readout_floor,
        "kernel floor": instances.kernel_floor,
        "noise": instances.noise_mse,
    }
    return [Line(name, float(np.median(value))) for name, value in values.items() if np.isfinite(value).all()]


def columns(
    history: History | None, start: int = 0, names: Sequence[str] = tuple(LOSS_LOOKS), run: int | None = None
) -> dict[str, Columns]:
    """For each loss named, the columns of its curve from epoch `start` + 1 on, as plain lists.

    One run: `epoch`, `loss`.  Several: `loss` is the median, `low` and `high` the quartiles, where a run that has ended
    is held at its last loss (leaving it out would make the curve jump whenever one ends).  run: that one alone.
    """
    if history is None or history.epoch <= start:
        return {name: {"epoch": [], "loss": [], "low": [], "high": []} for name in names}
    epochs = list(range(start + 1, history.epoch + 1))
    table = {}
    rows = [list(LOSS_LOOKS).index(name) for name in names]
    whole = _held(history, start, rows) if run is None else history.losses[rows, run : run + 1, start:]
    for name, losses in zip(names, whole, strict=True):
        if len(losses) == 1:
            low = median = high = losses[0]
        else:
            low, median, high = _quartiles(losses)
        table[name] = {"epoch": list(epochs), "loss": _plain(median), "low": _plain(low), "high": _plain(high)}
    return table


def single_columns(history: History | None, start: int = 0) -> dict[str, Columns]:
    """For each of the first runs, the columns of its test loss from epoch `start` + 1 on."""
    if history is None:
        return {}
    test = history.losses[2, :SINGLES, start:]
    epochs = list(range(start + 1, history.epoch + 1))
    return {single(run): {"epoch": list(epochs), "loss": _plain(test[run])} for run in range(len(test))}


def single(run: int) -> str:
    """The role of a run's own curve."""
    return f"run {run}"


def mark_columns(history: History | None) -> dict[str, Columns]:
    """Where each run's kept model is (`best`: test loss at the best epoch) and where it ended (`stop`)."""
    best: Columns = {"epoch": [], "loss": []}
    stop: Columns = {"epoch": [], "loss": []}
    if history is not None:
        _, _, test = history.losses
        for run, (epochs, best_epoch, status) in enumerate(
            zip(history.epochs, history.best_epoch, history.status, strict=True)
        ):
            if best_epoch:
                best["epoch"].append(int(best_epoch))
                best["loss"] += _plain(test[run, best_epoch - 1 : best_epoch])
            if status != Status.RUNNING and epochs:
                stop["epoch"].append(int(epochs))
                stop["loss"] += _plain(test[run, epochs - 1 : epochs])
    return {"best": best, "stop": stop}


def window(history: History | None, drawn: Sequence[Line], limit: int, log: bool) -> Window:
    """Axes that hold everything, in steps, so that they move rarely; `limit`: the largest number of epochs."""
    epoch = 0 if history is None else history.epoch
    end = next((step for step in STEPS if epoch <= 0.9 * step and step < limit), limit)
    values, ordinary = [line.value for line in drawn], 1.0
    if history is not None and epoch:
        # A run that diverged may have reached anything; the others and the lines are what people look at.
        sane = np.array([status != Status.DIVERGED for status in history.status])
        losses = history.losses[:, sane] if sane.any() else history.losses
        finite = losses[np.isfinite(losses) & (losses > 0)]
        if finite.size:
            ordinary = float(np.median(finite))
            # The first epochs can be far above the rest; on a linear axis they would flatten everything.
            top = np.max(finite) if log else np.quantile(finite, 0.98)
            values += [float(np.min(finite)), float(top)]
    low, high = (min(values), max(values)) if values else (0.01, 1.0)
    if not log:
        return Window(end, 0.0, nice(high * 1.05))
    # Six decades at most, and with the ordinary values among them: neither one tiny nor one huge loss rules the axis.
    low = max(low, 1e-6 * (drawn[0].value if drawn else ordinary))
    high = max(2 * low, min(high, 1e6 * low))
    return Window(end, 1 / nice(1.25 / low), nice(1.25 * high))


def labels(drawn: Iterable[Line], shown: Window, log: bool) -> dict[float, str]:
    """Texts for the axis at the right, by value; lines too close to be told apart share one text."""
    scale = np.log if log else float
    span = scale(shown.high) - scale(shown.low) if log else shown.high - shown.low
    texts: dict[float, str] = {}
    for line in sorted(drawn, key=lambda line: -line.value):
        near = next((value for value in texts if abs(scale(value) - scale(line.value)) < 0.08 * span), None)
        if near is None:
            texts[line.value] = f"{line.name} {number(line.value)}"
        else:
            texts[near] += f"\n{line.name} {number(line.value)}"
    return texts


def losses(
    history: History | None,
    drawn: Sequence[Line],
    limit: int,
    log: bool = True,
    hooks: Mapping[str, Hook] | None = None,
) -> hv.Overlay:
    """The plot of a fleet's losses.

    history: what has been trained, or None.  drawn: from `lines`.  limit: epochs at most.  log: logarithmic losses.
    hooks: by role (a curve's name, `best`, `stop`, a line's name, `figure`), called by HoloViews when it has drawn the
    element: live updates go through the data sources that they find.  Everything but the runs' own curves is drawn from
    the start, if need be without data: to replace a figure costs a browser far more than to fill it.
    """
    shown = window(history, drawn, limit, log)
    elements: list[Any] = []

    def named(element: Any, role: str, *more: Hook, **options: Any) -> None:
        elements.append(element.opts(show_legend=False, hooks=[*more, *called(hooks, role)], **options))

    known = {line.name: [line.value] for line in drawn}
    for name, look in LINE_LOOKS.items():
        named(
            hv.HLines(known.get(name, []), label=name),
            name,
            color=look.color,
            line_dash=look.dash,
            line_width=look.width,
        )
    for name, data in columns(history).items():
        look = LOSS_LOOKS[name]
        table = (data["epoch"], data["loss"], data["low"], data["high"])
        curve = hv.Curve(table, "epoch", ["loss", "low", "high"], label=name)
        tips = [("", name), ("epoch", "@epoch"), ("loss (median)", "@loss{0.0000}")]
        tips.append(("quartiles", "@low{0.0000} to @high{0.0000}"))
        named(
            curve,
            name,
            band("epoch"),
            color=look.color,
            line_dash=look.dash,
            line_width=look.width,
            tools=["hover"],
            hover_tooltips=tips,
        )
    for role, marker in {"best": "diamond", "stop": "x"}.items():
        data = mark_columns(history)[role]
        named(
            hv.Scatter((data["epoch"], data["loss"]), "epoch", "loss", label=role),
            role,
            marker=marker,
            size=12,
            color=LOSS_LOOKS["test"].color,
            line_width=2,
            tools=["hover"],
            hover_tooltips=[("", f"{_MARKS[role]}"), ("epoch", "@epoch"), ("test loss", "@loss{0.0000}")],
        )
    overlay: Any = hv.Overlay(elements)
    return overlay.opts(
        xlim=(0, shown.end),
        ylim=(shown.low, shown.high),
        logy=log,
        yformatter=plain_ticks(),
        **({"yticks": LOG_TICKS} if log else {}),
        xlabel="epoch",
        ylabel="mean squared error",
        show_grid=True,
        default_tools=TOOLS,
        **FIGURE,
        hooks=[_label_axis, _touchable, *called(hooks, "figure")],
    )


LABEL_AXIS = "labels of lines"
TOUCH = "of runs' own curves"
TOOLS = ["save", "pan", "wheel_zoom", "box_zoom"]
"""No reset: it would bring back the axes as they were first drawn; the app's Follow shows the whole run."""
_MARKS = {"best": "best epoch by validation", "stop": "end"}


def plain_ticks() -> CustomJSTickFormatter:
    """Ticks as plain numbers: 0.3, not 3·10⁻¹.  A new one for every plot: a model of two documents loses its code."""
    return CustomJSTickFormatter(code="return String(Number(tick.toPrecision(3)))")


def _label_axis(plot: Any, element: Any) -> None:
    """A second y axis, at the right, whose ticks are the lines' names: readable, and never on top of a curve."""
    figure = plot.state
    log = isinstance(plot.handles["yaxis"], LogAxis)
    kind: Any = LogAxis if log else LinearAxis
    axis = kind(
        name=LABEL_AXIS,
        ticker=FixedTicker(ticks=[], minor_ticks=[]),
        axis_line_alpha=0,
        major_tick_line_alpha=0.5,
        major_label_text_font_size="12px",
        major_label_text_line_height=1.1,
    )
    figure.add_layout(axis, "right")
    figure.min_border_right = 135  # texts that come later do not make room for themselves
    low, high = plot.handles["y_range"].start, plot.handles["y_range"].end
    drawn = [
        Line(curve.label, float(value))
        for curve in element.values()
        if isinstance(curve, hv.HLines)
        for value in curve.dimension_values(0)
    ]
    set_labels(axis, labels(drawn, Window(0, low, high), log))


def _touchable(plot: Any, element: Any) -> None:
    """Tools that will tell a run's own curve by its name, and take it by a tap."""
    tips = [("", "$name"), ("epoch", "@epoch"), ("test loss", "@loss{0.0000}")]
    plot.state.add_tools(HoverTool(name=TOUCH, renderers=[], tooltips=tips), TapTool(name=TOUCH, renderers=[]))


def draw_singles(figure: Any) -> dict[str, Any]:
    """Add the runs' own curves to what HoloViews made of `losses`, under all others: each by its role.

    Not before they are asked for, and without HoloViews: they would be half of what an empty plot costs.
    """
    others = list(figure.renderers)
    drawn = {}
    for run in range(SINGLES):
        source = ColumnDataSource({"epoch": [], "loss": []})
        curve = figure.line(
            "epoch", "loss", source=source, name=single(run), color=LOSS_LOOKS["test"].color, line_alpha=0.45
        )
        curve.selection_glyph = curve.nonselection_glyph = None
        curve.hover_glyph = curve.glyph.clone(line_width=3, line_alpha=1)
        drawn[single(run)] = curve
    figure.renderers = [*drawn.values(), *others]
    for tool in figure.tools:
        if tool.name == TOUCH:
            tool.renderers = list(drawn.values())
    return drawn


def light(figure: Any, glyph: Any, lit: bool) -> None:
    """Draw a run's own curve so that it stands out among the others, or not."""
    glyph.update(line_alpha=1.0 if lit else 0.45, line_width=(3 if lit else 1) * scale_of(figure).line)


def set_labels(axis: Any, texts: dict[float, str]) -> None:
    """Put `labels` on the axis at the right."""
    axis.ticker.ticks = list(texts)
    axis.major_label_overrides = texts


def band(x: str) -> Hook:
    """A hook that draws `low` to `high` behind a curve from its own data source, so that one stream moves both."""

    def drawn(plot: Any, element: Any) -> None:
        glyph = plot.handles["glyph"]
        renderer = plot.state.varea(
            x=x, y1="low", y2="high", source=plot.handles["cds"], fill_color=glyph.line_color, fill_alpha=0.18
        )
        renderer.level = "underlay"

    return drawn


def _held(history: History, start: int, rows: list[int]) -> np.ndarray:
    """These losses `[k, R, E]` from epoch `start` + 1 on, each ended run held at its last finite loss."""
    whole = history.losses[rows]
    recent = whole[:, :, start:].copy()
    if len(history.runs) == 1:
        return recent
    for run, (epochs, status) in enumerate(zip(history.epochs, history.status, strict=True)):
        if status != Status.RUNNING and status != Status.DIVERGED and epochs:
            recent[:, run, max(0, epochs - start) :] = whole[:, run, epochs - 1, None]
    return recent


def _quartiles(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quartiles over runs `[R, k]`, leaving out what is NaN; NaN where every run is."""
    # Not `np.nanquantile`, which goes through the epochs one by one: sorting puts NaN last.
    ordered, count = np.sort(losses, axis=0), (~np.isnan(losses)).sum(axis=0)
    found = []
    for share in (0.25, 0.5, 0.75):
        place = share * np.maximum(count - 1, 0)
        under = np.floor(place).astype(int)
        below, above = (np.take_along_axis(ordered, at[None], axis=0)[0] for at in (under, np.ceil(place).astype(int)))
        found.append(below + (place - under) * (above - below))
    low, median, high = found
    return low, median, high


def _plain(values: np.ndarray) -> list[float]:
    """A plain list, with NaN for what no axis can show: HoloViews' log axis hides everything under 0.01 for one 0."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan).tolist()


def nice(value: float) -> float:
    """The next 1, 2, 3 or 5 times a power of ten."""
    decade = 10 ** np.floor(np.log10(value))
    return float(next(step * decade for step in (1, 2, 3, 5, 10) if step * decade >= value * (1 - 1e-12)))
