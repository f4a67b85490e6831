"""The History page: every experiment that the run store has."""

from __future__ import annotations

import math
from html import escape

import pandas as pd
import panel as pn
import panel_material_ui as pmui

from explorer.app import html
from explorer.app.pages import Pages
from explorer.records.store import Store, StoreTrouble, Summary


class HistoryPage:
    """A table of experiments, looked up anew whenever the page is turned to."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._search = pmui.TextInput(
            label="Search", placeholder="words in titles, notes, settings", sizing_mode="stretch_width"
        )
        self._said = html.pane()
        self._table = pn.widgets.Tabulator(
            _rows([]), disabled=True, show_index=False, pagination="local", page_size=20, sizing_mode="stretch_width"
        )
        self._search.param.watch(self._look, "value")
        self.sidebar = pmui.Column(self._search, sizing_mode="stretch_width")
        self.main = pmui.Column(self._said, self._table, sizing_mode="stretch_width")
        self.main.param.watch(self._look, "visible")
        self._look()

    def _look(self, _=None) -> None:
        """Show what is in the store now."""
        if not self.main.visible:
            return
        try:
            store = Store()
            try:
                found = store.find(self._search.value or "")
            finally:
                store.close()
        except StoreTrouble as trouble:
            found, said = [], escape(str(trouble))
        else:
            said = f"{len(found)} experiments." if found else "Nothing is in the store yet."
        self._said.object = f'<p role="status">{said}</p>'
        self._table.value = _rows(found)


def _rows(found: list[Summary]) -> pd.DataFrame:
    """One row an experiment, as the table has it."""
    rows = []
    for one in found:
        ratios = [lane.ratio for lane in one.lanes if not math.isnan(lane.ratio)]
        row = {
            "Experiment": one.title,
            "Began": pd.Timestamp(one.began, unit="s"),
            "State": one.phase,
            "Runs": sum(lane.runs for lane in one.lanes),
            "Epochs": max((lane.epoch for lane in one.lanes), default=0),
            "Best test / noise": min(ratios, default=math.nan),
            "Notes": one.notes,
        }
        rows.append(row)
    names = ["Experiment", "Began", "State", "Runs", "Epochs", "Best test / noise", "Notes"]
    return pd.DataFrame(rows, columns=names)
