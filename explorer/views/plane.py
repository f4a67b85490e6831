"""What one run has learnt over two inputs: images of the true function, of the prediction, and of the error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import holoviews as hv
import numpy as np

from explorer.records import FunctionSample
from explorer.views.inside import MAPS
from explorer.views.losses import nice
from explorer.views.style import Hook

PICTURES = {"truth": "true function", "prediction": "prediction", "error": "prediction − truth"}


def image(sample: FunctionSample | None, output: int, picture: str) -> dict[str, list[Any]]:
    """The columns of a picture (a key of `PICTURES`): one image whose outer pixels have their centres on ±1."""
    if sample is None or sample.across is None or output >= sample.truth.shape[1]:
        return {"image": [np.zeros((2, 2), np.float32)], "x": [-1.0], "y": [-1.0], "dw": [2.0], "dh": [2.0]}
    truth, kept = sample.plane_truth[..., output], sample.plane_kept[..., output]
    values = {"truth": truth, "prediction": kept, "error": kept - truth}[picture]
    pixel = 2 / (len(sample.plane) - 1)
    edge, side = [-1 - pixel / 2], [2 + pixel]
    return {"image": [values.astype(np.float32)], "x": edge, "y": edge, "dw": side, "dh": side}


def colours(sample: FunctionSample | None, output: int, picture: str) -> tuple[float, float]:
    """The ends of the colour scale: the truth's for prediction, too; for the error even about 0, and where it is small
    no finer than the noise."""
    if sample is None or sample.across is None or output >= sample.truth.shape[1]:
        return -1.0, 1.0
    if picture == "error":
        values = np.abs(image(sample, output, picture)["image"][0])
        known = values[np.isfinite(values)]
        most = nice(max(sample.noise_std, float(known.max()) if known.size else 0.0, 1e-9))
        return -most, most
    truth = sample.plane_truth[..., output]
    return float(np.floor(2 * truth.min()) / 2), float(np.ceil(2 * truth.max() + 1e-9) / 2)


def plane(
    sample: FunctionSample | None, output: int, picture: str, hooks: Mapping[str, Hook] | None = None
) -> hv.Image:
    """One of the `PICTURES` of an output over two inputs.  hooks: by role (there is one, `image`)."""
    area = image(sample, output, picture)
    bounds = (area["x"][0], area["y"][0], area["x"][0] + area["dw"][0], area["y"][0] + area["dh"][0])
    drawn: Any = hv.Image(area["image"][0][::-1], bounds=bounds, kdims=["x", "y"], vdims=["value"])
    return drawn.opts(
        cmap=MAPS["diverging" if picture == "error" else "linear"],
        clim=colours(sample, output, picture),
        colorbar=True,
        title=f"output {output + 1}: {PICTURES[picture]}",
        tools=["hover"],
        hover_tooltips=[("inputs", "$x{0.00}, $y{0.00}"), (PICTURES[picture], "@image{0.000}")],
        xlim=(-1, 1),
        ylim=(-1, 1),
        responsive=True,
        default_tools=[],
        toolbar=None,  # it would lie over the title
        hooks=list((hooks or {}).values()),
    )
