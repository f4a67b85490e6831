"""Times to the target on one workload of a tournament, with the misses among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import holoviews as hv
import numpy as np
import pandas as pd

from explorer.views import losses
from explorer.views.style import FIGURE, LOG_TICKS, Hook
from explorer.views.tournament import TAU_MAX, drawn_by, look

FASTEST = "#8a8f98"
"""Lines that are no submission's: the fastest's time, and four times that."""


class Strip(NamedTuple):
    """What the plot of times shows: columns by role, labels of the rows by their height, and the end of the axis."""

    columns: dict[str, dict[str, list[Any]]]
    labels: dict[float, str]
    start: float
    end: float


STRIP = ("reached", "missed", "beyond", "medians", "lines")
"""Roles of its elements."""


def strip_columns(table: pd.DataFrame, measure: str, places: Mapping[str, int]) -> Strip:
    """The times of every trial on one workload, a row a submission, the first on top.

    table: rows of one ruleset and workload, with `submission, study, trial`, a column `measure` (infinite for a miss)
    and `spent_` measure.  A miss is drawn where its training ended, as an open triangle that points to where its time
    lies, beyond it.
    """
    rows = {name: len(places) - 1 - row for row, name in enumerate(places)}
    found: dict[str, dict[str, list[Any]]] = {
        role: {name: [] for name in ("x", "y", "color", "size", "text", "submission", "end")}
        for role in ("reached", "missed", "beyond")
    }
    found["medians"] = {name: [] for name in ("x", "y0", "y1", "color")}
    trials = [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
    every = [trial[f"spent_{measure}"] for trial in trials] + [trial[measure] for trial in trials]
    every = [time for time in every if np.isfinite(time)] or [1.0, 10.0]
    start, end = min(every) / 1.3, max(every) * 1.3
    studies = max((trial["study"] for trial in trials), default=0) + 1
    fastest_of: dict[tuple[str, int], float] = {}
    for trial in trials:
        cell = trial["submission"], trial["study"]
        fastest_of[cell] = min(fastest_of.get(cell, np.inf), trial[measure])
    for trial in trials:
        submission, study, time = trial["submission"], trial["study"], trial[measure]
        missed, counts = not np.isfinite(time), time == fastest_of[submission, study]
        x = float(trial[f"spent_{measure}"] if missed else time)
        over = "missed" if counts else "not there when the study’s best was"
        text = f"study {study}, trial {trial['trial']}: " + (f"{over}, over {x:.4g}" if missed else f"{x:.4g}")
        y = rows[submission] + 0.3 - 0.6 * (study + 0.5) / studies
        values = (x, y, look(places[submission]).color, 11 if counts else 6, text, submission, end)
        for role in ("missed", "beyond") if missed and counts else ("missed",) if missed else ("reached",):
            _append(found[role], values)
    for submission, row in rows.items():
        best = [time for (name, _), time in fastest_of.items() if name == submission]
        median = float(np.median(best)) if len(best) == studies else np.inf
        if np.isfinite(median):
            _append(found["medians"], (median, row - 0.38, row + 0.38, look(places[submission]).color))
    fastest = min(found["medians"]["x"], default=np.inf)
    found["lines"] = {"x": [fastest, TAU_MAX * fastest] if np.isfinite(fastest) else []}
    return Strip(found, {float(row): name for name, row in rows.items()}, start, max(end, 1.1 * start))


def _append(columns: dict[str, list[Any]], values: tuple[Any, ...]) -> None:
    for name, value in zip(columns, values, strict=True):
        columns[name].append(value)


def strip(hooks: Mapping[str, Hook]) -> Any:
    """An empty plot of times; data come through the hooks' data sources.  hooks: by role of `STRIP`, and `figure`."""
    empty = strip_columns(pd.DataFrame(), "", {}).columns
    lines: Any = hv.VLines({"x": []}, "x")
    beyond: Any = hv.Segments({"x": [], "y": [], "x1": [], "y1": []}, ["x", "y", "x1", "y1"])
    medians: Any = hv.Segments({"x": [], "y": [], "x1": [], "y1": []}, ["x", "y", "x1", "y1"])
    points: dict[str, Any] = {role: hv.Points({"x": [], "y": []}, ["x", "y"]) for role in ("reached", "missed")}
    common: dict[str, Any] = {"tools": ["hover", "tap"], "hover_tooltips": [("", "@submission"), ("", "@text")]}

    def called(role: str, **fields: str) -> list[Hook]:
        return [drawn_by(empty[role], **fields), hooks[role]]

    to_the_end = {"x0": "x", "y0": "y", "x1": "end", "y1": "y", "line_color": "color"}
    upright = {"x0": "x", "y0": "y0", "x1": "x", "y1": "y1", "line_color": "color"}
    return hv.Overlay([
        lines.opts(color=FASTEST, line_dash="dotted", line_width=1.5, hooks=[hooks["lines"]]),
        beyond.opts(line_dash="dotted", line_width=1.5, hooks=called("beyond", **to_the_end)),
        medians.opts(line_width=3, hooks=called("medians", **upright)),
        points["reached"].opts(
            hooks=called("reached", line_color="color", fill_color="color", size="size"), alpha=0.85, **common
        ),
        points["missed"].opts(
            hooks=called("missed", line_color="color", size="size"), fill_color=None, line_width=1.8, marker="triangle",
            angle=-90, **common,
        ),
    ]).opts(
        logx=True,
        xlim=(1, 10),
        ylim=(-0.6, 1.6),
        xlabel="time to the target",
        ylabel="",
        yticks=[0],
        xticks=LOG_TICKS,
        xformatter=losses.plain_ticks(),
        show_grid=True,
        **FIGURE | {"active_tools": ["tap"]},
        hooks=[hooks["figure"]],
    )  # fmt: skip
