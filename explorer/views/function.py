"""What one run has learnt, over the function that it should have learnt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import holoviews as hv
import numpy as np

from explorer.records import FunctionSample
from explorer.views.losses import Columns, Hook, band
from explorer.views.style import LOSS_LOOKS, number

CURVES = {
    "truth": ("#8a8f98", 2.0),
    "current": (LOSS_LOOKS["train"].color, 1.2),
    "kept": (LOSS_LOOKS["test"].color, 3.0),
}
"""Colour and width of each curve, drawn in this order."""
POINTS = "#e07b00"


def columns(sample: FunctionSample | None, output: int) -> dict[str, Columns]:
    """The columns of each element of output `output`, as plain lists; the truth's `low` and `high` are f ± σ."""
    if sample is None or output >= sample.truth.shape[1]:
        empty: Columns = {"x": [], "y": []}
        return {"samples": empty, "truth": {**empty, "low": [], "high": []}, "current": empty, "kept": empty}
    x, truth = sample.x.tolist(), sample.truth[:, output]
    return {
        "samples": {"x": sample.train_x.tolist(), "y": sample.train_y[:, output].tolist()},
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


def caption(sample: FunctionSample, seed: int, noise_mse: float) -> str:
    """What the picture shows, in a sentence with its numbers."""
    return (
        f"Run {sample.run} (seed {seed}) at epoch {sample.epoch}: over the test inputs the kept model's mean squared "
        f"distance to the true function is {number(sample.distance)}; with the noise, {number(noise_mse)}, that makes "
        f"its test error."
    )


def function(sample: FunctionSample | None, output: int, hooks: Mapping[str, Hook] | None = None) -> hv.Overlay:
    """Output `output` along the sampled input: training samples, f with a band of ±σ, the kept and the current model.

    hooks: by role (`samples`, a key of `CURVES`, `figure`), for live updates through the data sources.
    """
    hooks = hooks or {}

    def called(role: str) -> list[Hook]:
        return [hooks[role]] if role in hooks else []

    table = columns(sample, output)
    samples: Any = hv.Scatter((table["samples"]["x"], table["samples"]["y"]), "x", "y", label="samples")
    elements = [samples.opts(color=POINTS, alpha=0.3, size=4, hooks=called("samples"), show_legend=False)]
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
                hooks=[*([band("x")] if more else []), *called(name)],
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
        responsive=True,
        show_grid=True,
        show_legend=False,
        toolbar="above",
        active_tools=["box_zoom"],
        hooks=called("figure"),
    )
