"""The view of the frontier: up to which accuracy factor each optimizer passes, by number of hidden layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from explorer.app import html
from explorer.app.figure import drop_closed, move, replace
from explorer.app.session import Session
from explorer.app.widgets import Widgets
from explorer.challenge import Challenge
from explorer.records import Status
from explorer.views import frontier as view
from explorer.views.frontier import FLOORS, Cell
from explorer.views.losses import set_labels
from explorer.views.race import LOOKS, role
from explorer.views.style import LINE_LOOKS

ROLES = {
    "rates": ("cells", "edge", "frontier", "figure"),
    "lines": (*map(role, range(len(LOOKS))), *FLOORS, "points", "figure"),
}


class FrontierFigure:
    """The map of one optimizer's pass rate, and beside it the frontiers of all.  `on_render` is called when a copy of
    either has been made."""

    def __init__(self, on_render: Callable[[], None]) -> None:
        self._on_render = on_render
        self._rendered: dict[str, dict[Any, dict[str, Any]]] = {"rates": {}, "lines": {}}
        # Bokeh cannot lay out figures that come to a `FlexBox` after the page has loaded, as all of a view does.
        self.panel = pn.Row(*map(self._box, ROLES), styles={"flex-wrap": "wrap"}, sizing_mode="stretch_width", margin=0)

    def refresh(self, cells: Sequence[Cell], optimizer: str) -> None:
        """Show these cells, on the map those of one optimizer."""
        depths = sorted({cell.depth for cell in cells})
        span = (depths[0] - 1.0, depths[-1] + 1.0) if depths else (0.5, 10.5)
        ticks = {float(depth): str(depth) for depth in depths}
        data = {"rates": view.rate_columns(cells, optimizer), "lines": view.line_columns(cells)}
        for kind, rendered in self._rendered.items():
            drop_closed(rendered)
            for plots in rendered.values():
                for name, columns in data[kind].items():
                    replace(plots[name].handles["cds"], columns)
                handles = plots["figure"].handles
                if plots.get("span") != span:  # only then, so that a person may zoom
                    plots["span"] = span
                    move(handles["x_range"], *span)
                if handles["xaxis"].major_label_overrides != ticks:
                    set_labels(handles["xaxis"], ticks)

    def _box(self, kind: str) -> pn.Column:
        hooks = {name: self._hook(kind, name) for name in ROLES[kind]}
        element = view.rates(hooks) if kind == "rates" else view.lines(hooks)
        plot = pn.pane.HoloViews(element, sizing_mode="stretch_width", height=400, linked_axes=False)
        return pn.Column(plot, sizing_mode="stretch_width", styles={"flex": "1 1 340px"}, margin=0)

    def _hook(self, kind: str, name: str) -> Any:
        def found(plot: Any, element: Any) -> None:
            self._rendered[kind].setdefault(plot.state, {})[name] = plot
            if "cds" in plot.handles:
                plot.handles["cds"].name = f"frontier {kind} {name}"
            if name == "figure":
                self._on_render()

        return found


class FrontierPanel:
    """How hard a challenge each optimizer passes.

    `changed` is called when the person asks for something else to be shown; `on_start(depths)` when they want these
    numbers of hidden layers to be trained.
    """

    def __init__(self, changed: Callable[[], None], on_start: Callable[[list[int]], None]) -> None:
        self._changed, self._on_start = changed, on_start
        self._challenge = Challenge()
        self._figure = FrontierFigure(changed)
        self._depths = pmui.TextInput(
            label="Depths",
            value="2, 4, 7, 10",
            description="Numbers of hidden layers, between commas: each is trained as a fleet of its own.",
            width=200,
            size="small",
        )
        self._start = pmui.Button(
            label="Train the frontier", icon="play_arrow", variant="outlined", size="small", on_click=self._go
        )
        self._optimizer = pmui.Select(label="Optimizer", options=[], width=280, size="small", visible=False)
        self._widgets = Widgets()
        self._depths.param.watch(lambda event: self._read(), "value")
        self._widgets.watch(self._optimizer, lambda name: self._changed())
        self._legend, self._said, self._table = html.pane(), html.pane(), html.pane()
        self.panel = pmui.Column(
            pmui.FlexBox(self._depths, self._start, self._optimizer, align_items="center", sizing_mode="stretch_width"),
            self._legend,
            self._figure.panel,
            self._said,
            self._table,
            sizing_mode="stretch_width",
            margin=0,
        )

    def refresh(self, session: Session, challenge: Challenge) -> None:
        """Show what the session's lanes have reached, whatever accuracy factor they are scored with."""
        self._challenge = challenge
        cells = cells_of(session)
        names = view.optimizers(cells)
        chosen = self._optimizer.value if self._optimizer.value in names else next(iter(names), None)
        self._optimizer.visible = len(names) > 1
        if self._optimizer.options != names or self._optimizer.value != chosen:
            self._widgets.show(self._optimizer, options=names, value=chosen)
        self._figure.refresh(cells, chosen or "")
        self._legend.object = _legend(names)
        self._said.object = f"<p>{caption(cells, chosen)}</p>"
        self._table.object = table(cells)

    def _read(self) -> list[int] | None:
        """The depths that are asked for; None, with a sentence at the input, where they cannot be trained."""
        try:
            depths = parse_depths(self._depths.value, self._challenge)
        except ValueError as error:
            self._depths.param.update(error_state=True, helper_text=str(error))
            return None
        self._depths.param.update(error_state=False, helper_text="")
        return depths

    def _go(self, _: Any) -> None:
        depths = self._read()
        if depths is not None:
            self._on_start(depths)


def parse_depths(text: str, challenge: Challenge) -> list[int]:
    """The numbers of hidden layers that `text` lists, ascending, each once; `ValueError` with a sentence where it lists
    none, or one that the challenge cannot be trained with."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError("Depths is empty: it must list numbers of hidden layers, for instance 2, 4, 7, 10.")
    depths = sorted({Challenge.parse("num_hidden_layers", part) for part in parts})
    for depth in depths:
        challenge.replace(num_hidden_layers=depth)
    return depths


def cells_of(session: Session) -> list[Cell]:
    """What the session's lanes have reached; of lanes with the same optimizer and depth the last."""
    cells = {}
    for lane in session.lanes:
        outcomes = lane.outcomes
        if outcomes is not None:
            cell = Cell(lane.optimizer.described, lane.challenge.num_hidden_layers, outcomes)
            cells[cell[:2]] = cell
    return list(cells.values())


def caption(cells: Sequence[Cell], chosen: str | None) -> str:
    """What the frontier says, in sentences with its numbers."""
    mine = sorted((cell for cell in cells if cell.optimizer == chosen), key=lambda cell: cell.depth)
    if chosen is None or not mine:
        return (
            "Nothing is trained yet. Choose numbers of hidden layers and press “Train the frontier”: each is trained "
            "once, and every accuracy factor is read from the same runs."
        )
    reached = {cell.depth: view.frontier(cell.outcomes) for cell in mine}
    passed = {depth: factor for depth, factor in reached.items() if np.isfinite(factor)}
    failed = [str(depth) for depth, factor in reached.items() if not np.isfinite(factor)]
    said = []
    if passed:
        depth = max(passed, key=lambda depth: passed[depth])
        said.append(
            f"With {escape(chosen)} at least half of the runs pass up to an accuracy factor of {passed[depth]:.0f} at "
            f"{depth} hidden layers"
        )
        worst = min(passed, key=lambda depth: passed[depth])
        said[0] += f", and of {passed[worst]:.0f} at {worst}." if worst != depth else "."
    if failed:
        said.append(
            f"With {' and '.join(failed)} hidden layers{'' if passed else f', {escape(chosen)} fails:'} more than half "
            f"of the runs fail even accuracy factor 0."
        )
    said += [sentence for floor in FLOORS if (sentence := _floor(mine[-1], floor))]
    going = sum(int((cell.outcomes.status == Status.RUNNING).sum()) for cell in cells)
    if going:
        said.append(
            f"{going} of {sum(len(cell.outcomes) for cell in cells)} runs are still training: it can still rise."
        )
    return "  ".join(said)


def _floor(cell: Cell, floor: str) -> str:
    if not np.isfinite(cell.outcomes[FLOORS[floor]]).all() or not cell.outcomes.alpha.notna().any():
        return ""
    height = view.floor_frontier(cell.outcomes, floor)
    if np.isfinite(height):
        return f"A run that ends at its {floor} passes in half of the instances up to {height:.0f}."
    return f"Even at the {floor} more than half of the instances fail accuracy factor 0."


def table(cells: Sequence[Cell]) -> str:
    """One row an optimizer, one column a depth: the frontier, and how many runs it is read from."""
    if not cells:
        return ""
    depths = sorted({cell.depth for cell in cells})
    found = {cell[:2]: cell for cell in cells}
    rows = []
    for index, name in enumerate(view.optimizers(cells)):
        row = [html.sample(*LOOKS[index]), escape(name)]
        for depth in depths:
            cell = found.get((name, depth))
            row.append("–" if cell is None else _spell(view.frontier(cell.outcomes)))
        rows.append(row)
    for floor in FLOORS:
        at = [next(cell for cell in cells if cell.depth == depth).outcomes for depth in depths]
        heights = [view.floor_frontier(outcomes, floor) for outcomes in at]
        if np.isfinite(heights).any():
            rows.append([html.sample(*LINE_LOOKS[floor]), floor, *map(_spell, heights)])
    heads = ["", "accuracy factor that half pass", *(f"{depth} layers" for depth in depths)]
    return html.table(heads, ["".join(f"<td>{value}</td>" for value in row) for row in rows])


def _spell(factor: float) -> str:
    return f"{factor:.0f}" if np.isfinite(factor) else "none"


def _legend(names: Sequence[str]) -> str:
    looks = {name: LOOKS[index] for index, name in enumerate(names)} | {floor: LINE_LOOKS[floor] for floor in FLOORS}
    curves = [f"<span>{html.sample(*look)}{escape(name)}</span>" for name, look in looks.items()]
    notes = "<span>● half of the runs pass up to here</span><span>✕ not even accuracy factor 0</span>"
    return f'<div class="chips">{"".join(curves)}{notes}</div>'
