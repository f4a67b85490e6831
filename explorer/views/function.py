"""What one run has learnt, over the function that it should have learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import holoviews as hv
import numpy as np

from explorer.records import FunctionSample
from explorer.views.losses import Columns, band, nice
from explorer.views.style import FIGURE, LINE_LOOKS, LOSS_LOOKS, Hook, called, number

CURVES = {
    "truth": ("#8a8f98", 2.0),
    "current": (LOSS_LOOKS["train"].color, 1.2),
    "kept": (LOSS_LOOKS["test"].color, 3.0),
}
"""Colour and width of each curve, drawn in this order."""
POINTS = "#e07b00"


def columns(sample: FunctionSample | None, output: int) -> dict[str, Columns]:
    """The columns of each element of output `output`, as plain lists; the truth's `low` and `high` are f ± σ.

    Samples are drawn where there is one input only: those of several do not lie on the curve's slice.
    """
    if sample is None or output >= sample.truth.shape[1]:
        empty: Columns = {"x": [], "y": []}
        return {"samples": empty, "truth": {**empty, "low": [], "high": []}, "current": empty, "kept": empty}
    x, truth = sample.x.tolist(), sample.truth[:, output]
    return {
        "samples": {"x": sample.train_x.tolist(), "y": sample.train_y[:, output].tolist()}
        if len(sample.anchor) == 1
        else {"x": [], "y": []},
        "truth": {
            "x": x,
            "y": truth.tolist(),
            "low": (truth - sample.noise_std).tolist(),
            "high": (truth + sample.noise_std).tolist(),
        },
        "current": {"x": x, "y": sample.current[:, output].tolist()},
        "kept": {"x": x, "y": sample.kept[:, output].tolist()},
    }


def span(sample: FunctionSample | None, output: int) -> tuple[float, float]:
    """The y axis: the function with three standard deviations of noise around it, in half units."""
    if sample is None or output >= sample.truth.shape[1]:
        return -3.0, 3.0
    truth, room = sample.truth[:, output], 3 * sample.noise_std
    return float(np.floor(2 * (truth.min() - room)) / 2), float(np.ceil(2 * (truth.max() + room)) / 2)


BINS = 16


def residual_columns(sample: FunctionSample | None, output: int) -> dict[str, Columns]:
    """The columns of the residuals, as plain lists: `residuals`, one a test sample, and `above` and `below`, their root
    mean square in each of `BINS` parts with as many samples each; `floor`, the lines at ±σ."""
    empty: Columns = {"x": [], "y": []}
    if sample is None or output >= sample.truth.shape[1]:
        return {"residuals": empty, "above": empty, "below": empty, "floor": {"y": []}}
    order = np.argsort(sample.test_x, kind="stable")
    x, y = sample.test_x[order], sample.residuals[order, output]
    parts = [part for part in np.array_split(np.arange(len(x)), BINS) if len(part)]
    middles = [float(x[part].mean()) for part in parts]
    sizes = [float(np.sqrt(np.mean(y[part] ** 2))) for part in parts]
    return {
        "residuals": {"x": x.tolist(), "y": y.tolist()},
        "above": {"x": middles, "y": sizes},
        "below": {"x": middles, "y": [-size for size in sizes]},
        "floor": {"y": [-sample.noise_std, sample.noise_std]},
    }


def residual_span(sample: FunctionSample | None, output: int) -> tuple[float, float]:
    """The y axis of the residuals: four deviations of the noise at least, most of the residuals, even about 0."""
    if sample is None or output >= sample.truth.shape[1]:
        return -1.0, 1.0
    known = np.abs(sample.residuals[:, output])
    known = known[np.isfinite(known)]
    most = nice(max(4 * sample.noise_std, float(np.quantile(known, 0.99)) if known.size else 0.0, 1e-9))
    return -most, most


def caption(sample: FunctionSample, seed: int, noise_mse: float) -> str:
    """What the picture shows, in a sentence with its numbers."""
    return (
        f"Run {sample.run} (seed {seed}) at epoch {sample.epoch}: over the test inputs the kept model's mean squared "
        f"distance to the true function is {number(sample.distance)}; with the noise, {number(noise_mse)}, that makes "
        f"its test error.  The residuals' root mean square is {number(float(np.sqrt(np.mean(sample.residuals**2))))}, "
        f"where the noise alone has {number(float(np.sqrt(noise_mse)))}."
    )


def residuals(sample: FunctionSample | None, output: int, hooks: Mapping[str, Hook] | None = None) -> hv.Overlay:
    """Test samples less the kept model's prediction, with their root mean square along the input, and ±σ of the noise,
    under which it cannot stay.

    hooks: by role (`residuals`, `above`, `below`, `floor`, `figure`).
    """
    table, look = residual_columns(sample, output), LINE_LOOKS["noise"]
    dots: Any = hv.Scatter((table["residuals"]["x"], table["residuals"]["y"]), "x", "y", label="residuals")
    floor: Any = hv.HLines(table["floor"]["y"], label="floor")
    color, width = CURVES["kept"]
    elements = [
        dots.opts(color=color, alpha=0.35, size=4, hooks=called(hooks, "residuals"), show_legend=False),
        floor.opts(
            color=look.color, line_dash=look.dash, line_width=2.5, hooks=called(hooks, "floor"), show_legend=False
        ),
    ]
    for role in ("above", "below"):
        curve: Any = hv.Curve((table[role]["x"], table[role]["y"]), "x", "y", label=role)
        elements.append(
            curve.opts(
                color=color,
                line_width=width,
                tools=["hover"],
                hover_tooltips=[("", "root mean square of the residuals"), ("x", "@x{0.000}"), ("", "@y{0.000}")],
                hooks=called(hooks, role),
                show_legend=False,
            )
        )
    overlay: Any = hv.Overlay(elements)
    return overlay.opts(
        xlim=(-1, 1),
        ylim=residual_span(sample, output),
        xlabel="input",
        ylabel=f"residual {output + 1}",
        show_grid=True,
        **FIGURE,
        hooks=called(hooks, "figure"),
    )


def function(sample: FunctionSample | None, output: int, hooks: Mapping[str, Hook] | None = None) -> hv.Overlay:
    """Output `output` along the sampled input: training samples, f with a band of ±σ, the kept and the current model.

    hooks: by role (`samples`, a key of `CURVES`, `figure`), for live updates through the data sources.
    """
    table = columns(sample, output)
    samples: Any = hv.Scatter((table["samples"]["x"], table["samples"]["y"]), "x", "y", label="samples")
    elements = [samples.opts(color=POINTS, alpha=0.3, size=4, hooks=called(hooks, "samples"), show_legend=False)]
    for name, (color, width) in CURVES.items():
        data = table[name]
        more = ["low", "high"] if name == "truth" else []
        curve: Any = hv.Curve(tuple(data[column] for column in ["x", "y", *more]), "x", ["y", *more], label=name)
        elements.append(
            curve.opts(
                color=color,
                line_width=width,
                tools=["hover"],
                hover_tooltips=[("", name), ("x", "@x{0.000}"), ("y", "@y{0.000}")],
                hooks=[*([band("x")] if more else []), *called(hooks, name)],
                show_legend=False,
            )
        )
    overlay: Any = hv.Overlay(elements)
    low, high = span(sample, output)
    return overlay.opts(
        xlim=(-1, 1),
        ylim=(low, high),
        xlabel="input",
        ylabel=f"output {output + 1}",
        show_grid=True,
        **FIGURE,
        hooks=called(hooks, "figure"),
    )
