"""A sweep: one curve a lane over the values of one hyperparameter, or a heat map over the values of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import holoviews as hv
import numpy as np
from bokeh.models import FixedTicker, HoverTool, TapTool
from bokeh.palettes import Cividis256

from explorer.views.losses import TOOLS, band, plain_ticks
from explorer.views.race import LOOKS, role
from explorer.views.sensitivity import SCORES, Point, best
from explorer.views.style import FIGURE, LINE_LOOKS, LOG_TICKS, Hook, called, number
from explorer.views.sweep_axes import NAN, Frame, frame, span, spell

Table = dict[str, list[Any]]
Pick = tuple[int, tuple[float, ...]]
"""A lane's index, and the values of one of its points."""


class Shades(NamedTuple):
    """A heat map's colours, from `low` to `high` of the cells' `color`, and the ticks of the colour bar, of x and y."""

    low: float
    high: float
    bar: dict[float, str]
    x: dict[float, str]
    y: dict[float, str]


def curve_columns(tables: Sequence[Sequence[Point]], axes: Frame) -> dict[str, Table]:
    """The columns of each lane's curve as plain lists: the place `x` of each value, the median `y`, the quartiles."""
    roles = {}
    for index in range(len(LOOKS)):
        table = tables[index] if index < len(tables) else []
        roles[role(index)] = {
            "x": [axes.scale.at(point.values[0]) for point in table],
            "y": [axes.within(point.median) for point in table],
            "low": [axes.within(point.low) for point in table],
            "high": [axes.within(point.high) for point in table],
        }
    return roles


def point_columns(tables: Sequence[Sequence[Point]], axes: Frame) -> tuple[Table, list[Pick]]:
    """The columns of the markers of all lanes, and what each one stands for.

    A value whose runs diverged, all or some, is marked at the axis' bad end too, or only there if the median is beyond.
    """
    rows = []
    for index, table in enumerate(tables[: len(LOOKS)]):
        for point in table:
            height = axes.within(point.median)
            if not np.isnan(height) and not (point.lost and height == axes.edge):
                rows.append((index, point, height, MARKERS[index], 9.0))
            if point.lost:
                rows.append((index, point, axes.edge, "x", 12.0))
    columns = {
        "x": [axes.scale.at(point.values[0]) for _, point, *_ in rows],
        "y": [height for _, _, height, *_ in rows],
        "color": [LOOKS[index].color for index, *_ in rows],
        "marker": [marker for *_, marker, _ in rows],
        "size": [size for *_, size in rows],
        **_texts([(index, point) for index, point, *_ in rows]),
    }
    return columns, [(index, point.values) for index, point, *_ in rows]


def ring_columns(tables: Sequence[Sequence[Point]], axes: Frame, score: str, picked: Pick | None) -> Table:
    """The columns of the rings around each lane's best value and of the square around the picked one."""
    rows = []
    for index, table in enumerate(tables[: len(LOOKS)]):
        winner = best(table, score)
        rows += [(index, point, "circle", 20.0) for point in table if point is winner]
        rows += [(index, point, "square", 28.0) for point in table if (index, point.values) == picked]
    return {
        "x": [axes.scale.at(point.values[0]) for _, point, *_ in rows],
        "y": [axes.within(point.median) for _, point, *_ in rows],
        "color": [LOOKS[index].color for index, *_ in rows],
        "marker": [marker for *_, marker, _ in rows],
        "size": [size for *_, size in rows],
    }


def heat_columns(table: Sequence[Point], index: int, score: str, picked: Pick | None = None) -> tuple[Table, Shades]:
    """The cells of lane `index` as plain lists, in the order of their values, and their colours.

    `color`: log₁₀ of a loss, or the quality itself, no worse than a curve's axis would show; NaN if not known yet.
    """
    shown, winner = SCORES[score], best(table, score)
    x, y = ({value: float(place) for place, value in enumerate(sorted({p.values[k] for p in table}))} for k in (0, 1))
    losses = [shown.turned(point.median) for point in table]
    least, most = span(losses, NAN, shown.loss)
    most = max(most, 1.01 * least)
    shades = [min(max(loss, least), most) for loss in losses]  # max and min hand on a NaN that comes first
    low, high = (float(np.log10(least)), float(np.log10(most))) if shown.loss else (1 - most, 1 - least)
    rows = [y[point.values[1]] for point in table]
    columns = [x[point.values[0]] for point in table]
    cells = {
        "left": [place - 0.5 for place in columns],
        "bottom": [place - 0.5 for place in rows],
        "right": [place + 0.5 for place in columns],
        "top": [place + 0.5 for place in rows],
        "color": [NAN if np.isnan(loss) else float(np.log10(loss)) if shown.loss else 1 - loss for loss in shades],
        "x": columns,
        "best": [place if point is winner else NAN for point, place in zip(table, rows, strict=True)],
        "picked": [place if (index, p.values) == picked else NAN for p, place in zip(table, rows, strict=True)],
        **_texts([(index, point) for point in table]),
    }
    ticks = [float(place) for place in np.linspace(low, high, 5)]
    bar = {place: number(10**place if shown.loss else place) for place in ticks}
    return cells, Shades(low, high, bar, *({at: spell(value) for value, at in axis.items()} for axis in (x, y)))


MARKERS = ("circle", "square", "triangle", "diamond", "inverted_triangle", "hex", "star", "circle_dot")
"""Shape of each lane's markers."""
TIPS = [
    ("lane", "@lane"),
    ("value", "@value"),
    ("median", "@median"),
    ("quartiles", "@quartiles"),
    ("pass", "@passes"),
    ("diverged", "@diverged"),
]


def curves(log: bool, hooks: Mapping[str, Hook] | None = None) -> hv.Overlay:
    """An empty plot with room for every lane; data come through the hooks' data sources.

    log: whether the score's axis is.  hooks: by role (`lane 0` …, `points`, `rings`, `threshold`, `figure`).
    """
    empty = frame([], NAN, "test loss")
    line: Any = hv.HLines([], label="threshold")
    look = LINE_LOOKS["threshold"]
    common: dict[str, Any] = {"show_legend": False, "default_tools": TOOLS}
    options: dict[str, Any] = {"color": look.color, "line_dash": look.dash, "line_width": look.width}
    elements = [line.opts(hooks=called(hooks, "threshold"), **options, **common)]
    for index, (name, columns) in enumerate(curve_columns([], empty).items()):
        curve: Any = hv.Curve(tuple(columns.values()), "x", list(columns)[1:], label=name)
        look = LOOKS[index]
        options = {"color": look.color, "line_dash": look.dash, "line_width": look.width, "tools": ["hover"]}
        elements.append(curve.opts(hooks=[band("x"), *called(hooks, name)], **options, **common))
    for name, columns in {
        "points": point_columns([], empty)[0],
        "rings": ring_columns([], empty, "test loss", None),
    }.items():
        marks: Any = hv.Scatter(tuple(columns.values()), "x", list(columns)[1:], label=name)
        options = {"tools": ["hover"], "hooks": [_mark, *called(hooks, name)]}
        elements.append(marks.opts(**options, **common))
    ticked = _fix_ticks(xaxis=[], yaxis=LOG_TICKS) if log else _fix_ticks(xaxis=[])
    return _figure(elements, hooks, ticked, logy=log, ylim=(0.01, 1), yformatter=plain_ticks(), show_grid=True)


def heat(hooks: Mapping[str, Hook] | None = None) -> hv.Overlay:
    """An empty heat map; data come through the hooks' data sources.  hooks: by role (`cells`, `figure`)."""
    columns = list(heat_columns([], 0, "test loss")[0])
    cells: Any = hv.Rectangles([], columns[:4], columns[4:], label="cells")
    options: dict[str, Any] = {"color": "color", "cmap": PALETTES[True], "clim": (0, 1), "colorbar": True}
    cells = cells.opts(
        tools=["hover"],
        default_tools=TOOLS,
        line_color=None,
        hooks=[_mark_cells, *called(hooks, "cells")],
        show_legend=False,
        **options,
    )
    return _figure([cells], hooks, _fix_ticks(xaxis=[], yaxis=[]), ylim=(-0.5, 0.5))


PALETTES = {True: list(reversed(Cividis256)), False: list(Cividis256)}
"""Whether the score is a loss: what is good is bright."""
PICKABLE = "values"
"""Name of what can be tapped and hovered over in a figure."""


def _figure(elements: list[Any], hooks: Mapping[str, Hook] | None, ticked: Hook, **options: Any) -> hv.Overlay:
    overlay: Any = hv.Overlay(elements)
    return overlay.opts(
        xlim=(-0.5, 0.5),
        xlabel="value",
        ylabel="score",
        default_tools=TOOLS,
        **FIGURE,
        title="",
        hooks=[_make_pickable, ticked, *called(hooks, "figure")],
        **options,
    )


def _mark(plot: Any, element: Any) -> None:
    """Colour, shape and size of each marker from the data source; what can be tapped is filled."""
    pickable, source = element.label == "points", plot.handles["cds"]
    # No browser takes HoloViews' empty arrays of numbers for colours; Bokeh takes empty lists for the same as those.
    columns, source.data = list(source.data), {}
    source.data = {name: [] for name in columns}
    looks = {name: {"field": name} for name in ("marker", "size")} | {"line_color": {"field": "color"}}
    renderer = plot.handles["glyph_renderer"]
    fill = {"fill_color": {"field": "color"}} if pickable else {"fill_alpha": 0.0}
    renderer.glyph.update(**looks, **fill, line_width=2.5)
    renderer.nonselection_glyph = None
    renderer.name = PICKABLE if pickable else None


def _mark_cells(plot: Any, element: Any) -> None:
    """The best cell and the picked one, marked from the cells' own data source; tapping leaves the colours alone."""
    figure, cells = plot.state, plot.handles["glyph_renderer"]
    cells.name = PICKABLE
    cells.nonselection_glyph = None
    plot.handles["color_colorbar"].ticker = FixedTicker(ticks=[])
    for color, width in (("white", 5), ("black", 2)):  # the one is seen on dark cells, the other on bright ones
        ring = {"source": plot.handles["cds"], "fill_alpha": 0, "line_color": color, "line_width": width}
        for column, marker, size in (("best", "circle", 18), ("picked", "square", 28)):
            figure.scatter("x", column, marker=marker, size=size, **ring).nonselection_glyph = None


def _make_pickable(plot: Any, element: Any) -> None:
    """One tool to hover over the markers, not the lines between them, and one to tap them."""
    figure = plot.state
    found = [renderer for renderer in figure.renderers if renderer.name == PICKABLE]
    # HoloViews' own are there because without them it would leave columns out of the data sources.
    figure.tools = [tool for tool in figure.tools if not isinstance(tool, HoverTool)]
    figure.add_tools(HoverTool(renderers=found, tooltips=TIPS), TapTool(renderers=found))


def _fix_ticks(**axes: list[float]) -> Hook:
    """A hook that gives axes ticks at just these places; those that have none are given them later, with texts."""

    def drawn(plot: Any, element: Any) -> None:
        for axis, ticks in axes.items():
            grid = plot.state.xgrid if axis == "xaxis" else plot.state.ygrid
            plot.handles[axis].ticker = grid.ticker = FixedTicker(ticks=ticks)

    return drawn


def _texts(rows: Sequence[tuple[int, Point]]) -> Table:
    return {
        "lane": [str(index + 1) for index, _ in rows],
        "value": [", ".join(map(spell, point.values)) for _, point in rows],
        "median": [number(point.median) for _, point in rows],
        "quartiles": [f"{number(point.low)} to {number(point.high)}" for _, point in rows],
        "passes": [f"{point.passed} of {point.runs}" for _, point in rows],
        "diverged": [f"{point.lost} of {point.runs}" for _, point in rows],
    }
