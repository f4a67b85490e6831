"""The view of a sweep: which value is best, how much that matters, and on to the race with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import panel_material_ui as pmui

from explorer.app import html
from explorer.app.fields import SYMBOLS
from explorer.app.runs import RunInput
from explorer.app.session import Session
from explorer.app.sweep_curves import SweepCurves
from explorer.app.sweep_figure import SweepFigure
from explorer.app.widgets import Widgets
from explorer.challenge import Challenge
from explorer.records import Status
from explorer.views.race import LOOKS, Lane
from explorer.views.sensitivity import SCORES, Point, best, bound, choices, points, swept, tolerance
from explorer.views.style import LINE_LOOKS, number
from explorer.views.sweep import Pick
from explorer.views.sweep_axes import spell

HOW = (
    "<p>Nothing is swept. Type several values, separated by commas, into a hyperparameter’s field, for instance "
    "<code>1e-4, 3e-4, 1e-3</code>, and press Start: every value trains on every seed, all at once.</p>"
)

BEST = "best value"
"""The choice of no value in particular."""

MARKS = (f"◯ {BEST}", "□ chosen value: click a point for its curves")


class SweepPanel:
    """What the values of a swept hyperparameter reach.

    `changed` is called when the person asks for something else to be shown; `on_pick(lane, hyperparameters)` when they
    want to see these values of the session's lane of that index in the race; `run` holds the run in hand.
    """

    def __init__(
        self, changed: Callable[[], None], on_pick: Callable[[int, dict[str, float]], None], run: RunInput
    ) -> None:
        self._changed, self._on_pick = changed, on_pick
        self._figure = SweepFigure(changed, self._take)
        self._curves = SweepCurves(changed, run)
        self._picked: Pick | None = None
        self._offered: dict[str, Pick] = {}
        self._shown: Pick | None = None
        self._names: tuple[str, ...] = ()
        self._widgets = Widgets()
        self._name, self._score, self._lane, self._value = (
            pmui.Select(label=label, options=[], width=width, size="small")
            for label, width in (("Hyperparameter", 200), ("Score", 160), ("Lane", 240), ("Value", 200))
        )
        self._score.param.update(options=list(SCORES), value="test loss")
        self._value.param.update(options=[BEST], value=BEST)
        self._race = pmui.Button(
            label="Race this value", icon="flag", variant="outlined", size="small", on_click=self._go
        )
        for widget in (self._name, self._lane):
            self._widgets.watch(widget, lambda value: self._take(None))
        self._widgets.watch(self._score, lambda score: changed())
        self._widgets.watch(self._value, lambda text: self._take(self._offered.get(text)))
        self._how, self._legend, self._said, self._table = html.pane(HOW), html.pane(), html.pane(), html.pane()
        self._box = pmui.Column(
            self._legend,
            pmui.FlexBox(self._name, self._score, self._lane, sizing_mode="stretch_width"),
            self._figure.panel,
            pmui.FlexBox(self._value, self._race, align_items="center", sizing_mode="stretch_width"),
            self._said,
            self._curves.panel,
            self._table,
            visible=False,
            sizing_mode="stretch_width",
            margin=0,
        )
        self.panel = pmui.Column(self._how, self._box, sizing_mode="stretch_width", margin=0)

    def refresh(self, session: Session, challenge: Challenge) -> None:
        """Show the sweeps among the session's lanes."""
        reached = [lane.race_lane() for lane in session.lanes[: len(LOOKS)]]
        lanes = {index: lane for index, lane in enumerate(reached) if lane is not None}
        offered = {" × ".join(map(_label_of, names)): names for names in choices(list(lanes.values()))}
        self._box.visible = bool(offered)
        self._how.object = "" if offered else HOW
        if not offered:
            self._picked, self._shown, self._offered = None, None, {}
            return
        name = self._name.value if self._name.value in offered else next(iter(offered))
        self._offer(self._name, list(offered), name)
        self._names, score = offered[name], self._score.value
        names = self._names
        lanes = {index: lane for index, lane in lanes.items() if set(names) <= set(swept(lane))}
        tables = {index: points(lane, names, score) for index, lane in lanes.items()}
        index = self._show_choices(lanes, tables)
        winner = best(tables[index], score)
        picked = self._picked or (None if winner is None else (index, winner.values))
        self._shown, self._race.disabled = picked, picked is None
        if len(names) == 1:
            filled = [tables.get(at, []) for at in range(len(LOOKS))]
            limit = bound(list(lanes.values()), score)
            self._figure.curves(filled, limit, score, name, picked)
            self._legend.object = _legend(lanes, limit)
        else:
            self._figure.heat(tables[index], index, score, [_label_of(part) for part in names], picked)
            self._legend.object = _chips([f"{index + 1} {escape(lanes[index].name)}", "medians over the runs", *MARKS])
        values = None if picked is None else picked[1]
        self._said.object = f"<p>{_caption(lanes[index], tables[index], names, values, score)}</p>"
        if self._picked is None:
            self._curves.hide()
        else:
            chosen = dict(zip(names, self._picked[1], strict=True))
            self._curves.refresh(session.lanes[index], chosen, _what(names, self._picked[1]))
        self._table.object = _table(lanes, tables, names, score)

    def _show_choices(self, lanes: dict[int, Lane], tables: dict[int, list[Point]]) -> int:
        """Bring the selects of lane and value up to date; the lane's index."""
        labels = {f"{index + 1}  {lane.name}": index for index, lane in lanes.items()}
        label = next((label for label, index in labels.items() if self._picked and index == self._picked[0]), None)
        label = label or (self._lane.value if self._lane.value in labels else next(iter(labels)))
        self._lane.visible = len(labels) > 1
        self._offer(self._lane, list(labels), label)
        index = labels[label]
        self._offered = {", ".join(map(spell, point.values)): (index, point.values) for point in tables[index]}
        if self._picked not in self._offered.values():
            self._picked = None
        value = next((text for text, pick in self._offered.items() if pick == self._picked), BEST)
        self._offer(self._value, [BEST, *self._offered], value)
        return index

    def _offer(self, widget: Any, options: list[str], value: str) -> None:
        if widget.options != options or widget.value != value:
            self._widgets.show(widget, options=options, value=value)

    def _take(self, pick: Pick | None) -> None:
        """A person has picked this; None: what is best."""
        self._picked = pick
        self._changed()

    def _go(self, _: Any) -> None:
        if self._shown is not None:
            lane, values = self._shown
            self._on_pick(lane, dict(zip(self._names, values, strict=True)))


def _label_of(name: str) -> str:
    return SYMBOLS.get(name, name.replace("_", " "))


def _legend(lanes: Mapping[int, Lane], limit: float) -> str:
    looks = [f"{html.sample(*LOOKS[index])}{index + 1} {escape(lane.name)}" for index, lane in lanes.items()]
    if not np.isnan(limit):
        looks.append(f"{html.sample(*LINE_LOOKS['threshold'])}threshold <b>{number(limit)}</b>")
    return _chips([*looks, "median and quartiles over the runs", "✕ diverged", *MARKS])


def _chips(texts: Sequence[str]) -> str:
    return f'<div class="chips">{"".join(f"<span>{text}</span>" for text in texts)}</div>'


def _what(names: Sequence[str], values: Sequence[float]) -> str:
    return ", ".join(f"{_label_of(name)} = {spell(value)}" for name, value in zip(names, values, strict=True))


def _caption(
    lane: Lane, table: Sequence[Point], names: Sequence[str], values: tuple[float, ...] | None, score: str
) -> str:
    """What the chosen value reaches (None: no value has reached anything), and whether the sweep is wide enough."""
    if values is None:
        said = f"No value of {escape(lane.name)} has reached a {score} so far."
    else:
        said = _reached(lane, table, names, values, score)
    others = [_label_of(name) for name in swept(lane) if name not in names]
    if others:
        said += f"  Pooled over the values of {', '.join(others)}."
    going = int((lane.outcomes.status == Status.RUNNING).sum())
    return said + (f"  {going} of the lane’s {len(lane.outcomes)} runs are still training." if going else "")


def _reached(lane: Lane, table: Sequence[Point], names: Sequence[str], values: tuple[float, ...], score: str) -> str:
    point = next(point for point in table if point.values == values)
    said = (
        f"{escape(lane.name)} with {_what(names, values)}: median {score} {number(point.median)} "
        f"(quartiles {number(point.low)} to {number(point.high)}), {point.passed} of {point.runs} runs pass"
    )
    said += f", {point.lost} diverged." if point.lost else "."
    if point is not best(table, score):
        return said
    ends = [sorted({other.values[axis] for other in table}) for axis in range(len(names))]
    at_end = [
        _label_of(name)
        for name, value, tried in zip(names, values, ends, strict=True)
        if value in (tried[0], tried[-1])
    ]
    said += "  It is the best of this sweep"
    return said + (f", and at the end of what was tried for {' and '.join(at_end)}: widen it." if at_end else ".")


def _table(lanes: Mapping[int, Lane], tables: Mapping[int, Sequence[Point]], names: Sequence[str], score: str) -> str:
    """One row a lane: how many values were tried, the best one, and how far from it one may be."""
    heads = ["", "lane", "values tried", "best", f"median {score}", "pass"]
    heads += ["within twice the best", "decades"] if len(names) == 1 else []
    rows = []
    for index, lane in lanes.items():
        table, winner = tables[index], best(tables[index], score)
        cells = [html.sample(*LOOKS[index]), f"{index + 1} {escape(lane.name)}", str(len(table))]
        cells += ["–"] * 3 if winner is None else [", ".join(map(spell, winner.values)), number(winner.median)]
        cells += [] if winner is None else [f"{winner.passed} of {winner.runs}"]
        if len(names) == 1:
            cells += _sensitivity(table, score)
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    return html.table(heads, rows)


def _sensitivity(table: Sequence[Point], score: str) -> list[str]:
    """The values that do at most twice as badly as the best, and how many decades they span: at least, where the sweep
    ends before they do."""
    found = tolerance(table, score)
    if found is None:
        return ["–", "–"]
    low, high = found
    ends = low == table[0].values[0] or high == table[-1].values[0]
    decades = f"{'≥ ' if ends else ''}{number(float(np.log10(high / low)))}" if low > 0 else "–"
    return [f"{spell(low)} to {spell(high)}", decades]
