"""A tournament in words and tables, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd

from explorer.app import html
from explorer.tournament import Scores
from explorer.views.style import number
from explorer.views.tournament import look

MISSED = '<span title="missed: its time is not known, only that it is longer" style="opacity:.7">▷ missed</span>'


def leaderboard(
    scored: Scores, ends: pd.DataFrame | None, ruleset: str, places: Mapping[str, int], held_out: set[str]
) -> str:
    """Scores and times of one ruleset, best first.  ends: the intervals of the scores, None where there is but one
    study; held_out: such workloads."""
    benchmark = pd.Series(scored.benchmark[ruleset]).sort_values(ascending=False, kind="stable")
    times, ratios = scored.times.loc[ruleset].dropna(axis=1, how="all"), scored.ratios.loc[ruleset]
    loads = list(times.columns)
    heads = ["", "submission", "score", "95 % over studies", "exact", "speed-up"]
    heads += [escape(name) + (" (held out)" if name in held_out else "") for name in loads]
    rows = []
    for submission, score in benchmark.items():
        drawn = look(places[str(submission)])
        speedup = scored.speedups[ruleset, submission]
        cells = [
            html.sample(*drawn),
            escape(str(submission)),
            f"<b>{score:.4f}</b>",
            "–" if ends is None else _interval(score, ends.loc[(ruleset, submission)].tolist(), drawn.color),
            f"{scored.exact[ruleset, submission]:.4f}",
            "–" if np.isnan(speedup) else f"{100 * speedup:.0f} %".replace("-", "−"),
        ]
        for name in loads:
            time = times.loc[submission, name]
            ratio = ratios.loc[submission, name] if name in ratios.columns else np.nan
            cells.append(MISSED if np.isinf(time) else f"{number(time)}{_times(ratio)}")
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    return html.table(heads, rows)


def _times(ratio: float) -> str:
    if np.isnan(ratio):
        return ""
    said = "does not count" if np.isinf(ratio) else f"{number(ratio)} ×"
    return f' <span style="opacity:.7">{said}</span>'


def _interval(score: float, ends: Sequence[float], color: str) -> str:
    """A bar from 0 to 1 with the interval and the score in it, and the interval in figures."""
    low, high = ends
    bar = (
        '<svg width="90" height="14" aria-hidden="true" style="vertical-align:middle">'
        '<line x1="2" y1="7" x2="82" y2="7" stroke="currentColor" stroke-opacity=".25"/>'
        f'<line x1="{2 + 80 * low:.1f}" y1="7" x2="{2 + 80 * high:.1f}" y2="7" stroke="{color}" stroke-width="4"/>'
        f'<circle cx="{2 + 80 * score:.1f}" cy="7" r="4.5" fill="{color}"/></svg>'
    )
    return f"{bar} {low:.2f} – {high:.2f}"


def duration(seconds: float) -> str:
    """Seconds for a person."""
    if np.isnan(seconds):
        return "–"
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def progress(done: int, total: int) -> str:
    """How many fleets are done, as a bar."""
    return (
        f'<progress value="{done}" max="{total}" aria-label="fleets done" '
        'style="width:100%;height:8px;accent-color:#3b82d6"></progress>'
    )
