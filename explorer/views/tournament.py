"""Scores of a tournament: performance profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
from bokeh.core.property.vectorization import Field

from explorer.views.race import LOOKS
from explorer.views.style import FIGURE, Hook, Look, number

TAU_MAX = 4.0
DASHES = ("solid", "dashed", "dotdash", "dotted")


def look(place: int) -> Look:
    """How the submission at this place is drawn; after eight colours the dashes change."""
    first = LOOKS[place % len(LOOKS)]
    dash = DASHES[(DASHES.index(first.dash) + place // len(LOOKS)) % len(DASHES)]
    return first._replace(dash=dash)


def steps(ratios: Sequence[float]) -> tuple[list[float], list[float]]:
    """The corners of ρ(τ), the share of workloads with r ≤ τ, for τ from 1 to 4."""
    shares = np.sort(np.asarray(ratios, dtype=float))
    xs, ys, reached = [1.0], [float((shares <= 1).mean())], int((shares <= 1).sum())
    for ratio in shares[(shares > 1) & (shares <= TAU_MAX)]:
        xs += [float(ratio), float(ratio)]
        ys += [reached / len(shares), (reached + 1) / len(shares)]
        reached += 1
    return [*xs, TAU_MAX], [*ys, ys[-1]]


def profile_columns(ratios: pd.DataFrame, scores: pd.Series, places: Mapping[str, int]) -> dict[str, list[Any]]:
    """A row a submission.  ratios: r, by submission and workload; places: of each submission, for its look."""
    found: dict[str, list[Any]] = {name: [] for name in ("xs", "ys", "submission", "score", "color", "dash")}
    for submission, row in zip(ratios.index, ratios.to_numpy(float).tolist(), strict=True):
        xs, ys = steps(row)
        drawn = look(places[submission])
        values = (xs, ys, submission, number(float(scores.at[submission])), drawn.color, drawn.dash)
        for name, value in zip(found, values, strict=True):
            found[name].append(value)
    return found


def profiles(hooks: Mapping[str, Hook]) -> Any:
    """An empty plot of profiles; data come through the data source of the hook `profiles`.  hooks: `profiles`,
    `figure`."""
    lines: Any = hv.Path([{"x": [1.0], "y": [0.0]}], ["x", "y"])
    return lines.opts(
        line_width=3,
        line_alpha=0.9,
        tools=["hover"],
        hover_tooltips=[("", "@submission"), ("score", "@score")],
        xlim=(1, TAU_MAX),
        ylim=(-0.02, 1.03),
        xlabel="τ: time to the target over the fastest's",
        ylabel="share of workloads within τ",
        show_grid=True,
        **FIGURE,
        hooks=[
            drawn_by(profile_columns(pd.DataFrame(), pd.Series(dtype=float), {}), line_color="color", line_dash="dash"),
            hooks["profiles"],
            hooks["figure"],
        ],
    )


def drawn_by(empty: dict[str, list[Any]], **fields: str) -> Hook:
    """A hook that draws an element from these columns, which are empty at first; fields: the columns that say how."""

    def drawn(plot: Any, element: Any) -> None:
        renderer = plot.handles["glyph_renderer"]
        plot.handles["cds"].data = empty
        plot.handles["glyph"].update(**{name: Field(column) for name, column in fields.items()})
        renderer.update(selection_glyph=None, nonselection_glyph=None, hover_glyph=None)

    return drawn
