"""Inside one run: a heat map of layer × epoch for each quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import holoviews as hv
import numpy as np
from bokeh.models import CustomJSTickFormatter, FixedTicker

from explorer.records.inside import InsideSample
from explorer.views.losses import STEPS, nice
from explorer.views.style import FIGURE, Hook, number

Columns = dict[str, list[Any]]

GAP = 2.5
"""A column of the map holds until the next look, but not for longer than this many usual intervals."""
LABELS = 12
"""Names on the layer axis at most."""


class Quantity(NamedTuple):
    """How a quantity, a field of `InsideSample`, is shown.

    scale: colours by the logarithm, from 0, between the extremes, or to both sides of 0.
    """

    title: str
    unit: str
    scale: Literal["log", "share", "linear", "diverging"]
    meaning: str


QUANTITIES = {
    "gradient_norm": Quantity(
        "Gradient norm", "‖G‖", "log", "How steep the loss is in a layer's weights, on one batch."
    ),
    "update_ratio": Quantity(
        "Update to weight", "‖Δ‖ / ‖W‖", "log", "How far one step moves a layer, as a share of its weights' size."
    ),
    "cosine": Quantity(
        "Update along −gradient", "cos(Δ, −G)", "diverging",
        "1: the step goes straight down this batch's gradient; 0: across it; below 0: up.",
    ),
    "dead_share": Quantity(
        "Dead units", "share", "share",
        "Hidden units whose ReLU gives 0 for every training sample, batch norms as in evaluation.",
    ),
    "norm_scale": Quantity(
        "Batch-norm scale", "mean |γ|", "linear", "How much the batch norm after a layer amplifies what it passes on."
    ),
    "effective_rank": Quantity(
        "Effective rank", "dimensions", "linear",
        "In how many directions a weight matrix acts: exp of the entropy of its singular values (Roy, Vetterli 2007).",
    ),
    "spectral_norm": Quantity(
        "Largest singular value", "σ₁(W)", "log", "How much a weight matrix can stretch a vector at most."
    ),
    "proposal_distance": Quantity(
        "Proposal lens", "‖W̃ − W‖ / ‖W‖", "log",
        "How far from the weights the optimizer asks for its gradient, as a share of their size.",
    ),
}  # fmt: skip


def _between(*colours: str, count: int = 256) -> list[str]:
    """A colour map through these colours, straight from each to the next."""
    channels = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in colours])
    at = np.linspace(0, len(colours) - 1, count)
    blended = [np.interp(at, range(len(colours)), channel).round().astype(int) for channel in channels.T]
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in zip(*blended, strict=True)]


MAPS = {
    "log": "viridis",
    "share": "cividis",
    "linear": "viridis",
    "diverging": _between("#0b3c8c", "#5d8fd0", "#c6c6c6", "#d9703c", "#8c1a0b"),
}
"""Colour maps safe for the colour-blind, even in lightness; around 0 blue and red over a grey that no page has."""


class Window(NamedTuple):
    """What a map's axes and colours show: epochs from 0 to `end`, `layers` rows, values from `low` to `high`."""

    end: float
    layers: int
    low: float
    high: float


def shown(samples: Sequence[InsideSample]) -> list[InsideSample]:
    """Those of the run that was looked at last, the latest of each epoch: what all else here is given."""
    if not samples:
        return []
    lane, run, layers = samples[-1].lane, samples[-1].run, samples[-1].layers
    last = {
        sample.epoch: sample
        for sample in samples
        if sample.run == run and sample.lane == lane and sample.layers == layers
    }
    return list(last.values())


def columns(samples: Sequence[InsideSample], quantity: str) -> Columns:
    """The cells as plain lists: edges `left`, `right`, `bottom`, `top`, the value as `color`, the `layer`'s name.

    A look's cells reach from its epoch to the next look's; the last one's as far as the interval before it.  Where a
    quantity does not apply, or is not finite, there is no cell.
    """
    if not samples:
        return {name: [] for name in ("left", "right", "bottom", "top", "color", "layer")}
    values = np.stack([getattr(sample, quantity) for sample in samples])
    at, rows = np.nonzero(np.isfinite(values))
    epochs = np.array([sample.epoch for sample in samples], dtype=float)
    names = layer_names(samples[-1])
    return {
        "left": epochs[at].tolist(),
        "right": (epochs + _widths(epochs))[at].tolist(),
        "bottom": (rows - 0.5).tolist(),
        "top": (rows + 0.5).tolist(),
        "color": values[at, rows].tolist(),
        "layer": [names[row] for row in rows],
    }


def _widths(epochs: np.ndarray) -> np.ndarray:
    if len(epochs) < 2:
        return np.ones(len(epochs))
    intervals = np.diff(epochs)
    # The last look is taken to come as long before the next as it came after the one before.
    intervals = np.append(intervals, intervals[-1])
    return np.minimum(intervals, GAP * np.median(intervals))


def layer_names(sample: InsideSample) -> list[str]:
    """The layers' names, with a word where one is frozen."""
    return [name + (" frozen" if frozen else "") for name, frozen in zip(sample.layers, sample.frozen, strict=True)]


def layer_ticks(samples: Sequence[InsideSample]) -> dict[int, str]:
    """Names for the layer axis by row: all of them, or evenly some, the output's always."""
    if not samples:
        return {}
    names = layer_names(samples[-1])
    step = -(-len(names) // LABELS)
    return {row: names[row] for row in sorted(range(len(names) - 1, -1, -step))}


def applies(samples: Sequence[InsideSample], quantity: str) -> bool:
    """Whether there is anything to show."""
    return any(np.isfinite(getattr(sample, quantity)).any() for sample in samples)


def window(samples: Sequence[InsideSample], quantity: str, limit: int) -> Window:
    """Axes and colours that hold every cell, in steps, so that they move rarely; `limit`: the most epochs."""
    epochs = np.array([sample.epoch for sample in samples], dtype=float)
    reached = float(max(epochs + _widths(epochs), default=0.0))
    end = float(next((step for step in STEPS if reached <= step and step < limit), max(limit, reached)))
    values = np.array([getattr(sample, quantity) for sample in samples])
    layers = len(samples[-1].layers) if samples else 1
    return Window(end, layers, *_colours(values[np.isfinite(values)], QUANTITIES[quantity].scale))


def _colours(values: np.ndarray, scale: str) -> tuple[float, float]:
    if scale == "diverging":
        most = nice(float(np.abs(values).max())) if np.any(values) else 1.0
        return -min(most, 1.0), min(most, 1.0)
    if scale == "share":
        return 0.0, min(1.0, nice(float(values.max()))) if np.any(values) else 1.0
    if scale == "log":
        values = values[values > 0]
        if not values.size:
            return 0.1, 1.0
        # Eight decades at most: one update that is all but 0 must not take the colours from the others.
        high = nice(float(values.max()))
        return max(1 / nice(1 / float(values.min())), 1e-8 * high), high
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    step = nice(max(high - low, 1e-3 * abs(high), 1e-9)) / 10
    return float(np.floor(low / step) * step), float(np.ceil(high / step + 1e-9) * step)


def inside(
    samples: Sequence[InsideSample], quantity: str, limit: int, hooks: Mapping[str, Hook] | None = None
) -> hv.Rectangles:
    """The heat map of a quantity: epochs from left to right, layers from the input (below) to the output.

    limit: epochs at most.  hooks: by role (there is one, `cells`), for live updates through the data source.
    """
    look, view = QUANTITIES[quantity], window(samples, quantity, limit)
    table = columns(samples, quantity)
    called: list[Hook] = [_dressed(layer_ticks(samples), look.scale), *(hooks or {}).values()]
    # Named as the glyph's own columns are, so that the data source holds nothing twice.
    edges, more = ["left", "bottom", "right", "top"], ["color", "layer"]
    rows = list(zip(*(table[column] for column in [*edges, *more]), strict=True))
    cells: Any = hv.Rectangles(rows, edges, more)
    return cells.opts(
        color="color",
        cmap=MAPS[look.scale],
        cnorm="log" if look.scale == "log" else "linear",
        clim=(view.low, view.high),
        colorbar=True,
        clabel=look.unit,
        colorbar_opts={"title_standoff": 10, "title_text_font_style": "normal"},
        tools=["hover"],
        hover_tooltips=[("layer", "@layer"), ("epoch", "@left{0}"), (look.unit, "@color{%.3g}")],
        hover_formatters={"@{color}": "printf"},
        xlim=(0, view.end),
        ylim=(-0.5, view.layers - 0.5),
        xlabel="epoch",
        ylabel="layer",
        **FIGURE,
        hooks=called,
    )


def _dressed(names: Mapping[int, str], scale: str) -> Hook:
    """A hook for what HoloViews leaves: names on the layer axis, colours up to the cells' edges, ticks of the bar."""

    def drawn(plot: Any, element: Any) -> None:
        glyph, bar, mapper = (plot.handles[handle] for handle in ("glyph", "color_colorbar", "color_color_mapper"))
        glyph.line_color = glyph.fill_color  # else the page shines through between two cells
        plot.handles["yaxis"].ticker = FixedTicker(ticks=[], minor_ticks=[])
        set_layers(plot.handles["yaxis"], names)
        if scale == "log":
            bar.ticker = FixedTicker(ticks=[], minor_ticks=[])
            bar.formatter = CustomJSTickFormatter(code="return String(Number(tick.toPrecision(3)))")
        set_colours(plot.handles, mapper.low, mapper.high)

    return drawn


def set_layers(axis: Any, ticks: Mapping[int, str]) -> None:
    """Put `layer_ticks` on an axis."""
    axis.ticker.ticks = list(ticks)
    axis.major_label_overrides = dict(ticks)


def set_colours(handles: Mapping[str, Any], low: float, high: float) -> None:
    """Give the colours of a drawn map other ends, and the bar beside it ticks between them."""
    handles["color_color_mapper"].update(low=low, high=high)
    ticker = handles["color_colorbar"].ticker
    if isinstance(ticker, FixedTicker):
        ticker.ticks = log_ticks(low, high)


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from `low` to `high`; the powers alone where these are many."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    steps = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 4 else (1,)
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


def caption(samples: Sequence[InsideSample], seed: int, spent: float, trained: float) -> str:
    """What was looked at, and what it cost; spent, trained: seconds of all looks kept and of training so far."""
    share = f", {100 * spent / trained:.1f} % of the training time" if trained > 0 else ""
    return (
        f"Run {samples[-1].run} (seed {seed}), {len(samples)} looks up to epoch {samples[-1].epoch}.  G and Δ are the "
        "gradient and update of the next epoch's first batch, tried out and taken back.  Empty: not looked at, or "
        f"nothing to see, as frozen layers have no gradient.  Looking took {number(spent)} s{share}."
    )
