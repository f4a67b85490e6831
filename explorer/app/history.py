"""The History page: every experiment that the run store has, and what can be done with it."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import datetime
from html import escape
from typing import Any

import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import NumberFormatter

from explorer.app import html, stored
from explorer.app.pages import Pages
from explorer.app.widgets import Widgets
from explorer.records.store import ENDED, INTERRUPTED, Store, Summary
from explorer.training import continuation
from explorer.views.race import LOOKS

log = logging.getLogger(__name__)

COLUMNS = ["Experiment", "Began", "State", "Runs", "Epochs", "Test / noise", "Pinned", "Notes"]
MOST = 500
"""Experiments that are listed at most; a search finds the others."""
LABELS = {
    "compare": ("Compare in race", "flag"),
    "reopen": ("Reopen settings", "tune"),
    "go_on": ("Continue", "play_arrow"),
    "pin": ("Pin", "push_pin"),
    "delete": ("Delete", "delete"),
}


class HistoryPage:
    """A table of experiments, looked up anew whenever the page is turned to; buttons act on rows that are ticked."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._found: list[Summary] = []
        self._gone: list[str] = []
        self._widgets = Widgets()
        wide: dict[str, Any] = {"sizing_mode": "stretch_width", "size": "small"}
        self._search = pmui.TextInput(label="Search", placeholder="words in titles, notes, settings", **wide)
        self._phases = pmui.MultiChoice(
            label="States", options=["running", "paused", *ENDED], sizing_mode="stretch_width"
        )
        self._pinned = pmui.Switch(label="Pinned only", margin=(4, 10))
        self._deleted = pmui.Switch(label="Deleted in the last week", margin=(4, 10))
        for widget in (self._search, self._phases, self._pinned, self._deleted):
            widget.param.watch(self._look, "value")
        refresh = pmui.Button(label="Refresh", icon="refresh", variant="outlined", size="small", margin=(6, 10))
        refresh.on_click(self._look)
        self.sidebar = pmui.Column(
            self._search, self._phases, self._pinned, self._deleted, refresh, sizing_mode="stretch_width"
        )
        self._said = html.pane()
        self._html = html.pane()
        self._notice = pmui.Alert(
            self._html, severity="warning", closeable=True, visible=False, sizing_mode="stretch_width", margin=10
        )
        self._buttons = {name: self._button(name, *LABELS[name]) for name in LABELS}
        self._undo = pmui.Button(label="Undo", icon="undo", size="small", visible=False, margin=(6, 4))
        self._undo.on_click(lambda _: self._bring_back(self._gone))
        self._table = pn.widgets.Tabulator(
            _rows([]),
            disabled=True,
            show_index=False,
            selectable="checkbox",
            pagination="local",
            page_size=15,
            layout="fit_data_stretch",
            formatters={"Test / noise": NumberFormatter(format="0.000", nan_format="–")},
            text_align={"Runs": "right", "Epochs": "right", "Test / noise": "right"},
            sizing_mode="stretch_width",
            margin=10,
        )
        self._table.param.watch(self._choose, "selection")
        self._details = html.pane()
        self._notes = pmui.TextAreaInput(label="Notes", rows=2, max_length=10_000, sizing_mode="stretch_width")
        self._widgets.watch(self._notes, self._annotate)
        self.main = pmui.Column(
            pmui.FlexBox(*self._buttons.values(), self._undo, sizing_mode="stretch_width"),
            self._said,
            self._notice,
            self._table,
            self._notes,
            self._details,
            sizing_mode="stretch_width",
        )
        self.main.param.watch(self._look, "visible")
        self._look()

    @property
    def _chosen(self) -> list[Summary]:
        """What is ticked, in the order of the list."""
        return [self._found[index] for index in sorted(self._table.selection) if index < len(self._found)]

    def _button(self, name: str, label: str, icon: str) -> Any:
        act: Callable[[Store, list[Summary]], None] = getattr(self, f"_{name}")

        def pressed(_: Any) -> None:
            self._ask(lambda store: act(store, self._chosen))

        variant = "contained" if name == "compare" else "outlined"
        button = pmui.Button(label=label, icon=icon, variant=variant, size="small", disabled=True, margin=(6, 4))
        button.on_click(pressed)
        return button

    # What is shown

    def _look(self, _: Any = None) -> None:
        """Show what is in the store now; what was ticked stays so where it is still there."""
        if not self.main.visible:
            return
        ticked = {one.id for one in self._chosen}
        self._found = []
        known = self._ask(self._find)
        narrowed = self._search.value or self._phases.value or self._pinned.value or self._deleted.value
        nothing = "Nothing was found." if narrowed else "Nothing is in the store yet: what is trained is kept here."
        count = f"{len(self._found)} experiment{'' if len(self._found) == 1 else 's'}"
        said = (f"{count}." if self._found else nothing) if known else ""
        self._said.object = f'<p role="status">{said}</p>'
        self._table.value = _rows(self._found)
        self._table.selection = [place for place, one in enumerate(self._found) if one.id in ticked]
        self._choose()

    def _choose(self, _: Any = None) -> None:
        """Other rows are ticked: enable what can be done with them, and say more about a single one."""
        chosen = self._chosen
        single = chosen[0] if len(chosen) == 1 else None
        for name, enabled in {
            "compare": bool(chosen) or bool(self._pages.explorer.session.guests),
            "reopen": single is not None,
            "go_on": single is not None and single.phase == INTERRUPTED and not self._deleted.value,
            "pin": bool(chosen),
            "delete": bool(chosen),
        }.items():
            self._buttons[name].disabled = not enabled
        self._buttons["compare"].label = "Compare in race" if chosen else "Compare with none"
        self._buttons["pin"].label = "Unpin" if chosen and all(one.pinned for one in chosen) else "Pin"
        self._buttons["delete"].label = "Bring back" if self._deleted.value else "Delete"
        notes = single.notes if single is not None else ""
        self._widgets.show(self._notes, visible=single is not None, value=notes)
        self._details.object = "" if single is None else _details(single)

    def _find(self, store: Store) -> None:
        pinned = True if self._pinned.value else None
        self._found = store.find(
            self._search.value or "", self._phases.value, pinned, self._deleted.value, "pinned", MOST
        )

    def _ask(self, act: Callable[[Store], None]) -> bool:
        """Do something with the store, and whether that was done: what is wrong with it or with what was asked becomes
        a sentence on the page."""
        try:
            store = Store()
            try:
                act(store)
            finally:
                store.close()
        except ValueError as error:
            self._complain(str(error))
            return False
        return True

    def _complain(self, sentence: str) -> None:
        self._html.object = f"<p>{escape(sentence)}</p>"
        self._notice.param.update(closed=False, visible=True)

    # What the buttons do

    def _compare(self, store: Store, chosen: list[Summary]) -> None:
        explorer = self._pages.explorer
        lanes = [lane for one in chosen for lane in stored.lanes(store, one)]
        if len(lanes) > len(LOOKS) - 1:
            raise ValueError(f"These are {len(lanes)} lanes; {len(LOOKS) - 1} can be compared with at once.")
        explorer.compare(lanes)
        self._pages.show("Explore")

    def _reopen(self, store: Store, chosen: list[Summary]) -> None:
        setting = stored.setting(store, chosen[0])
        self._pages.explorer.reopen(setting)
        self._leave(setting)

    def _go_on(self, store: Store, chosen: list[Summary]) -> None:
        setting, plan = stored.setting(store, chosen[0]), continuation.go_on(store, chosen[0].id)
        self._pages.explorer.go_on(plan, setting)
        self._leave(setting)

    def _leave(self, setting: stored.Setting) -> None:
        """To the explorer, or stay with what could not be set."""
        if setting.missed:
            self._complain("  ".join(setting.missed))
        else:
            self._pages.show("Explore")

    def _pin(self, store: Store, chosen: list[Summary]) -> None:
        pinned = not all(one.pinned for one in chosen)
        for one in chosen:
            store.pin(one.id, pinned)
        self._look()

    def _delete(self, store: Store, chosen: list[Summary]) -> None:
        if self._deleted.value:
            self._bring_back([one.id for one in chosen])
            return
        for one in chosen:
            store.delete(one.id)
        self._gone = [one.id for one in chosen]
        self._undo.param.update(visible=True, label=f"Undo ({len(self._gone)} deleted)")
        self._look()

    def _bring_back(self, ids: list[str]) -> None:

        def undelete(store: Store) -> None:
            for id in ids:
                store.undelete(id)

        self._ask(undelete)
        self._gone = []
        self._undo.visible = False
        self._look()

    def _annotate(self, notes: str) -> None:
        chosen = self._chosen
        if len(chosen) != 1:
            return
        self._ask(lambda store: store.annotate(chosen[0].id, notes))
        self._look()


def _rows(found: list[Summary]) -> pd.DataFrame:
    """One row an experiment, as the table has it."""
    rows = []
    for one in found:
        ratios = [lane.ratio for lane in one.lanes if not math.isnan(lane.ratio)]
        row = (
            one.title,
            datetime.fromtimestamp(one.began).strftime("%Y-%m-%d %H:%M"),
            str(one.phase),
            sum(lane.runs for lane in one.lanes),
            max((lane.epoch for lane in one.lanes), default=0),
            min(ratios, default=math.nan),
            "★" if one.pinned else "",
            " ".join(one.notes.split()),
        )
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _details(one: Summary) -> str:
    """Its lanes as a table, and what there is to say of it."""
    rows = []
    for lane in one.lanes:
        stand = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(lane.statuses.items()))
        ratio = "–" if math.isnan(lane.ratio) else f"{lane.ratio:.3f}"
        cells = [lane.name, lane.epoch, f"{lane.seconds:.1f}", ratio, stand, lane.device]
        rows.append("".join(f"<td>{escape(str(cell))}</td>" for cell in cells))
    said = f"<p>{escape(one.message)}</p>" if one.message else ""
    return said + html.table(["lane", "epochs", "seconds", "test / noise", "runs", "device"], rows)
