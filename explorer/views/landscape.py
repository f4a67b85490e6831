"""The paths of the weights in a plane, over the loss around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import holoviews as hv
import numpy as np
from bokeh.models import DataRange1d, FixedTicker
from bokeh.plotting.contour import contour_data

from explorer.records.landscape import LandscapeSample
from explorer.views.losses import plain_ticks
from explorer.views.race import LOOKS
from explorer.views.style import FIGURE, Hook, called, number

CHOICES = ("validation", "train", "test")
DECADES = 4.0
"""The colours span at most this many powers of ten, from the least loss on."""
LEVELS = 14
FINE = 4
LANES = [f"path {index}" for index in range(len(LOOKS))]
"""The roles of the lanes' curves."""
ROLES = ("surface", "contours", *LANES, "start", "ends", "figure")


def upto(sample: LandscapeSample, epoch: int) -> LandscapeSample:
    """The paths as far as they went by `epoch`, in the plane and over the surface of the whole."""
    held = [epochs <= epoch for epochs in sample.epochs]

    def cut(arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        return tuple(array[kept] for array, kept in zip(arrays, held, strict=True))

    return replace(sample, epochs=cut(sample.epochs), paths=cut(sample.paths), losses=cut(sample.losses))


def columns(sample: LandscapeSample | None) -> dict[str, dict[str, list[Any]]]:
    """The columns of each element in the plane, but for the surface's, as plain lists; the lanes have one `start`."""
    table = {role: _columns() for role in (*LANES, "start")}
    table |= {"ends": _columns() | {"color": []}, "contours": {"x": [], "y": []}}
    if sample is None:
        return table
    table["contours"] = _contours(sample)
    for role, look, path in zip(LANES, LOOKS, _paths(sample), strict=False):
        table[role] = path
        known = np.flatnonzero(np.isfinite(path["x"]))
        if len(known):
            table["start"] = {column: [values[known[0]]] for column, values in path.items()}
            for column, values in (path | {"color": [look.color] * len(path["x"])}).items():
                table["ends"][column].append(values[known[-1]])
    return table


def along_columns(sample: LandscapeSample | None) -> dict[str, dict[str, list[Any]]]:
    """For each lane, the columns of its loss at the true weights by epoch."""
    return {
        role: {column: path[column] for column in ("epoch", "loss", "name")}
        for role, path in columns(sample).items()
        if role in LANES
    }


def image(sample: LandscapeSample | None) -> dict[str, list[Any]]:
    """The columns of the surface: one image, `FINE` pixels from node to node, the loss's logarithm linear between.

    0 where the loss is not known: under the colour scale, and thus clear.
    """
    if sample is None:
        return {"image": [np.zeros((2, 2), np.float32)], "x": [-1.0], "y": [-1.0], "dw": [2.0], "dh": [2.0]}
    surface = np.log(_shown(sample.surface))
    for _ in sample.surface.shape:  # one axis after the other
        surface = _finer(surface).T
    left, bottom = float(sample.x[0]), float(sample.y[0])
    width, height = float(sample.x[-1]) - left, float(sample.y[-1]) - bottom
    rows, across = (count - 1 for count in surface.shape)  # outer pixels have their centres on the outer nodes
    return {
        "image": [np.nan_to_num(np.exp(surface)).astype(np.float32)],
        "x": [left - width / across / 2],
        "y": [bottom - height / rows / 2],
        "dw": [width * (1 + 1 / across)],
        "dh": [height * (1 + 1 / rows)],
    }


def colours(sample: LandscapeSample | None) -> tuple[float, float]:
    """The losses at the two ends of the colour scale."""
    known = np.array([]) if sample is None else _known(sample)
    if not known.size:
        return 0.1, 1.0
    low = 0.999 * float(known.min())  # what is under it is clear
    return low, float(np.clip(known.max(), 1.05 * low, 10**DECADES * low))


def axis_labels(sample: LandscapeSample | None) -> tuple[str, str]:
    """What each axis is, and how much of the movement it holds."""
    shares = [float("nan")] * 2 if sample is None else sample.shares.tolist()
    return tuple(  # pyright: ignore[reportReturnType]
        f"direction {place}" + ("" if np.isnan(share) else f" ({100 * share:.0f} % of the movement)")
        for place, share in enumerate(shares, 1)
    )


def epochs_end(sample: LandscapeSample | None) -> float:
    """The end of the epoch axis."""
    return float(max([1, *(int(epochs[-1]) for epochs in ([] if sample is None else sample.epochs) if len(epochs))]))


def loss_span(sample: LandscapeSample | None) -> tuple[float, float]:
    """The y axis of the losses along the paths."""
    values = np.concatenate([np.ones(0), *([] if sample is None else sample.losses)])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return 0.1, 1.0
    low, high = float(values.min()) / 1.2, float(values.max()) * 1.2
    return low, min(high, 10**DECADES * low)


def loss_label(sample: LandscapeSample | None) -> str:
    """What the y axis of the losses along the paths is."""
    return ("" if sample is None else f"{sample.loss} ") + "loss along the path"


def caption(sample: LandscapeSample, seed: int | None) -> str:
    """What the picture shows, in sentences with its numbers."""
    name, losses = sample.names[sample.selected], sample.losses[sample.selected]
    drawn = [lane for lane, epochs in zip(sample.names, sample.epochs, strict=True) if len(epochs)]
    known, size = int(np.isfinite(sample.surface).sum()), sample.surface.size
    seeded = "" if seed is None else f" (seed {seed})"
    paths = "one path" if len(drawn) == 1 else f"{len(drawn)} paths from one start"
    if not drawn:
        return f"Run {sample.run}{seeded} had ended before it was chosen: nothing of it was filmed."
    said = [f"Run {sample.run}{seeded}, {paths}."]
    if sample.explained > 0:
        said.append(
            f"The plane holds {100 * sample.explained:.1f} % of the movement (of the squared distances from the end of "
            f"{name}); its axes are distances in weight space."
        )
        if np.isfinite(losses[-1]):
            at = sample.epochs[sample.selected][-1]
            said.append(f"At that end, in epoch {at}, the {sample.loss} loss is {number(float(losses[-1]))}.")
        said.append(
            "Losses along the paths are those of the true weights; on the surface, every point has the batch-norm "
            "statistics that its own weights bring about."
        )
        if known < size:
            said.append(f"{known} of {size} points of the surface are computed.")
    elif sample.explained == 0:
        said.append("It was filmed while nothing moved: a run is filmed from when it is chosen, or from the start.")
    else:
        said.append("The plane is being computed.")
    if left := [lane for lane in sample.names if lane not in drawn]:
        said.append(f"Left out (another start or loss, or not filmed): {', '.join(left)}.")
    return " ".join(said)


def landscape(sample: LandscapeSample | None, hooks: Mapping[str, Hook] | None = None) -> hv.Overlay:
    """The surface in colours of the loss's logarithm, with contour lines, and a path for each lane in the race's looks.

    hooks: by role (one of `ROLES`), for live updates through the data sources.  Circle: start.  Diamond: end.
    """
    table, area = columns(sample), image(sample)
    bounds = (area["x"][0], area["y"][0], area["x"][0] + area["dw"][0], area["y"][0] + area["dh"][0])
    surface: Any = hv.Image(area["image"][0][::-1], bounds=bounds, kdims=["x", "y"], vdims=["loss"], label="surface")
    contours: Any = hv.Curve((table["contours"]["x"], table["contours"]["y"]), "x", "y", label="contours")
    elements = [
        surface.opts(
            cmap=MAP,
            logz=True,
            clim=colours(sample),
            clipping_colors={"min": "rgba(0, 0, 0, 0)"},
            colorbar=True,
            cformatter=plain_ticks(),
            clabel="loss",
            colorbar_opts={"ticker": FixedTicker(ticks=_ticks(1, 1.5, 2, 3, 5, 7)), "bar_line_alpha": 0},
            hooks=called(hooks, "surface"),
        ),
        contours.opts(color="#000000", alpha=0.3, line_width=0.7, hooks=called(hooks, "contours"), show_legend=False),
    ]
    for role, look in zip(LANES, LOOKS, strict=True):
        path: Any = hv.Curve(tuple(table[role].values()), "x", ["y", "epoch", "loss", "name"], label=role)
        elements.append(
            path.opts(
                color=look.color,
                line_dash=look.dash,
                line_width=look.width,
                tools=["hover"],
                hover_tooltips=TIPS,
                hooks=[_set_off, *called(hooks, role)],
                show_legend=False,
            )
        )
    for role, look in {
        "start": {"color": "white", "line_color": "#333333", "marker": "circle", "size": 12},
        "ends": {"color": "white", "line_color": "white", "marker": "diamond", "size": 16},
    }.items():
        dimensions = [column for column in table[role] if column != "x"]
        points: Any = hv.Scatter(tuple(table[role].values()), "x", dimensions, label=role)
        elements.append(
            points.opts(
                line_width=1.5,
                tools=["hover"],
                hover_tooltips=TIPS,
                hooks=[*([_own_colours] if role == "ends" else []), *called(hooks, role)],
                show_legend=False,
                **look,
            )
        )
    first, second = axis_labels(sample)
    overlay: Any = hv.Overlay(elements)
    return overlay.opts(
        xlabel=first,
        ylabel=second,
        **FIGURE,
        hooks=[_equal_scale, *called(hooks, "figure")],
    )


def along(sample: LandscapeSample | None, hooks: Mapping[str, Hook] | None = None) -> hv.Overlay:
    """The loss at the true weights by epoch, a curve for each lane.  hooks: by role (one of `LANES`, `figure`)."""
    elements = []
    for (role, data), look in zip(along_columns(sample).items(), LOOKS, strict=True):
        curve: Any = hv.Curve(tuple(data.values()), "epoch", ["loss", "name"], label=role)
        elements.append(
            curve.opts(
                color=look.color,
                line_dash=look.dash,
                line_width=look.width,
                tools=["hover"],
                hover_tooltips=TIPS,
                hooks=called(hooks, role),
                show_legend=False,
            )
        )
    overlay: Any = hv.Overlay(elements)
    return overlay.opts(
        logy=True,
        xlim=(0, epochs_end(sample)),
        ylim=loss_span(sample),
        yticks=_ticks(1, 3),
        yformatter=plain_ticks(),
        xlabel="epoch",
        ylabel=loss_label(sample),
        show_grid=True,
        **FIGURE,
        hooks=called(hooks, "figure"),
    )


MAP = "cividis"
"""Perceptually uniform, and the same to the colour-blind."""
TIPS = [("", "@name"), ("epoch", "@epoch"), ("loss", "@loss{0.0000}")]


def _columns() -> dict[str, list[Any]]:
    return {"x": [], "y": [], "epoch": [], "loss": [], "name": []}


def _paths(sample: LandscapeSample) -> list[dict[str, list[Any]]]:
    """The columns of the paths, lane by lane."""
    return [
        {
            "x": path[:, 0].tolist(),
            "y": path[:, 1].tolist(),
            "epoch": epochs.tolist(),
            "loss": _shown(losses).tolist(),
            "name": [name] * len(epochs),
        }
        for name, epochs, path, losses in zip(sample.names, sample.epochs, sample.paths, sample.losses, strict=True)
    ]


def _contours(sample: LandscapeSample) -> dict[str, list[Any]]:
    """Lines of equal loss, all in one curve with gaps."""
    low, high = colours(sample)
    surface = _shown(sample.surface)
    levels = np.linspace(np.log(low), np.log(high), LEVELS)[1:-1]
    found = contour_data(sample.x, sample.y, np.ma.masked_invalid(np.log(surface)), levels, want_fill=False)
    lines = found.line_data
    if lines is None:
        return {"x": [], "y": []}
    gap = [float("nan")]
    return {
        column: list(chain.from_iterable([*np.asarray(level, dtype=float).tolist(), *gap] for level in levels))
        for column, levels in (("x", lines.xs), ("y", lines.ys))
    }


def _known(sample: LandscapeSample) -> np.ndarray:
    """The losses of the surface and the paths that an axis can show."""
    values = _shown(np.concatenate([sample.surface.ravel(), *sample.losses]))
    return values[np.isfinite(values)]


def _shown(values: np.ndarray) -> np.ndarray:
    """NaN for what no logarithmic scale can show."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _finer(values: np.ndarray) -> np.ndarray:
    """Between two rows each, `FINE` − 1 more."""
    share = np.arange(FINE)[:, None] / FINE
    between = values[:-1, None] * (1 - share) + values[1:, None] * share
    between[:, 0] = values[:-1]  # exactly, whatever the next one is
    return np.concatenate([between.reshape(-1, values.shape[1]), values[-1:]])


def _ticks(*steps: float) -> list[float]:
    """These steps in every decade: Bokeh's own ticks are linear where an axis spans less than two."""
    return [step * 10.0**decade for decade in range(-8, 9) for step in steps]


def _own_colours(plot: Any, element: Any) -> None:
    """Each point in the colour that its column says: HoloViews would make a scale of those that it finds at first."""
    source = plot.handles["cds"]
    source.data["color"] = list(source.data["color"])  # an empty array would have numbers, which a browser refuses
    plot.handles["glyph"].fill_color = "color"


def _set_off(plot: Any, element: Any) -> None:
    """A light rim under the path, which sets it off from any colour of the surface, and a dot at every frame."""
    figure, line, source = plot.state, plot.handles["glyph"], plot.handles["cds"]
    before = list(figure.renderers)
    own = before.index(plot.handles["glyph_renderer"])
    rim = figure.line("x", "y", source=source, line_color="white", line_width=line.line_width + 3, line_alpha=0.85)
    figure.scatter("x", "y", source=source, size=5, fill_color=line.line_color, line_color=None)
    figure.renderers = [*before[:own], rim, *before[own:], figure.renderers[-1]]


def _equal_scale(plot: Any, element: Any) -> None:
    """A unit is as long to the right as upwards, whatever the shape of the figure."""
    figure = plot.state
    for name in ("x_range", "y_range"):
        plot.handles[name] = DataRange1d(range_padding=0, only_visible=True)
        setattr(figure, name, plot.handles[name])
    figure.match_aspect = True
