"""The leaderboard of the race."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import HTMLTemplateFormatter

from explorer.app import html
from explorer.views import race as view
from explorer.views.race import Lane

NOTHING = "Nothing to compare yet: add a lane, choose its optimizer, and press Start."
NUMBERS = ("α", "quality", "epochs to threshold", "seconds to threshold")
TITLES = {"line": "", "epochs to threshold": "epochs to ε*²", "seconds to threshold": "seconds to ε*²"}
WIDTHS = {"line": 60, "α": 90, "epochs to threshold": 155, "seconds to threshold": 165, "wins": 90}
"""In pixels; the others share what is left."""
COLUMNS = ("line", "optimizer", "pass rate", *NUMBERS, "wins", "losses")
THREE_DIGITS = "<%= isNaN(value) ? '–' : isFinite(value) ? value.toPrecision(3) : '∞' %>"

TYPE = ":host .tabulator { font-size: 0.8125rem; }"
"""It grows with the page's, as a lecture hall needs."""


class Leaderboard:
    """One row a lane, with a sample of its curve, best first; a click on a head sorts by it."""

    def __init__(self) -> None:
        formatters: dict[str, Any] = {name: HTMLTemplateFormatter(template=THREE_DIGITS) for name in NUMBERS}
        formatters["pass rate"] = HTMLTemplateFormatter(template="<%= Math.round(100 * value) %> %")
        formatters |= {
            name: HTMLTemplateFormatter(template="<%= isNaN(value) ? '–' : value %>") for name in ("wins", "losses")
        }
        # What a person typed is text, whatever it looks like; the samples are our own drawings.
        formatters |= {"optimizer": {"type": "plaintext"}, "line": {"type": "html"}}
        self._table = pn.widgets.Tabulator(
            rows([]),
            disabled=True,
            show_index=False,
            selectable=False,
            layout="fit_columns",
            widths=WIDTHS,
            configuration={"columnDefaults": {"minWidth": 100}},
            titles=TITLES,
            formatters=formatters,
            text_align=dict.fromkeys(COLUMNS[2:], "right"),
            header_align=dict.fromkeys(COLUMNS[2:], "right"),
            stylesheets=[TYPE],
            sizing_mode="stretch_width",
            margin=(4, 10),
            visible=False,
        )
        self._said = html.pane()
        self.panel = pmui.Column(self._table, self._said, sizing_mode="stretch_width", margin=0)

    def refresh(self, lanes: Sequence[Lane]) -> None:
        """Show how these lanes stand."""
        self._table.visible = bool(lanes)
        now = rows(lanes[: len(view.LOOKS)])
        if not now.equals(self._table.value):
            self._table.value = now
        said = NOTHING
        if lanes:
            said = (
                "Medians over the runs.  Wins and losses: on how many instances a lane’s test loss is below and above "
                f"that of {lanes[0].name}."
            )
        self._said.object = f"<p>{escape(said)}</p>"


def rows(lanes: Sequence[Lane]) -> pd.DataFrame:
    """`explorer.views.race.leaderboard` with a sample of each lane's curve, as an SVG drawing."""
    table = view.leaderboard(lanes)
    looks = {lane.name: html.sample(*look) for lane, look in zip(lanes, view.LOOKS, strict=False)}
    table["line"] = [looks[name] for name in table["optimizer"]] if lanes else []
    shown = table.reindex(columns=list(COLUMNS)).astype({"wins": float, "losses": float})
    if lanes:  # nobody races against oneself
        shown.loc[shown.optimizer == lanes[0].name, ["wins", "losses"]] = float("nan")
    return shown
