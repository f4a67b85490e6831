"""Where runs end against the floor that the read-out sets."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd

from explorer.views.style import LINE_LOOKS, LOG_TICKS, LOSS_LOOKS


def correlation(outcomes: pd.DataFrame) -> float:
    """Pearson's r between the runs' test MSE and their read-out floors."""
    known = outcomes[["readout_floor", "test_loss"]].dropna()
    return float(np.corrcoef(known.readout_floor, known.test_loss)[0, 1])


def floors(outcomes: pd.DataFrame) -> hv.Overlay:
    """Test MSE of each run over the read-out floor of its instance, with the line on which they are equal.

    outcomes: from a result, of a challenge whose read-out is frozen.
    """
    known = outcomes[["readout_floor", "test_loss", "seed"]].dropna()
    values = np.array([known.readout_floor, known.test_loss])
    ends = (float(values.min()) / 1.3, float(values.max()) * 1.3)
    floor = LINE_LOOKS["read-out floor"]
    points: Any = hv.Scatter(known, "readout_floor", ["test_loss", "seed"])
    equal: Any = hv.Curve((ends, ends), "readout_floor", "test_loss")
    overlay: Any = equal.opts(color=floor.color, line_dash=floor.dash, line_width=floor.width) * points.opts(
        color=LOSS_LOOKS["test"].color, size=10, tools=["hover"]
    )
    return overlay.opts(
        logx=True,
        logy=True,
        xlim=ends,
        ylim=ends,
        width=620,
        height=560,
        show_grid=True,
        xlabel="read-out floor of the instance (test MSE)",
        ylabel="test MSE reached",
        xticks=LOG_TICKS,
        yticks=LOG_TICKS,
        title=f"{len(known)} runs, correlation {correlation(outcomes):.3f}",
    )
