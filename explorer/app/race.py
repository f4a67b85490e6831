"""The live race: kept lanes and the one that trains now, on one plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_field
from html import escape
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from explorer.app import html
from explorer.app.figure import drop_closed, extend, move, replace
from explorer.app.session import Session
from explorer.challenge import Challenge
from explorer.records import History, Instances
from explorer.training.result import outcomes
from explorer.views import race as view
from explorer.views.race import Lane
from explorer.views.style import number


class RaceFigure:
    """One curve a lane.  `loss` (a key of the loss view's looks) and `seconds` say what is shown over what."""

    def __init__(self, on_render: Callable[[], None]) -> None:
        self._on_render = on_render
        self.loss, self.seconds = "test", False
        self._rendered: dict[Any, dict[str, Any]] = {}
        roles = ["threshold", "figure", *map(view.role, range(len(view.LOOKS)))]
        self.panel = pn.Column(
            pn.pane.HoloViews(
                view.race({role: self._hook(role) for role in roles}),
                sizing_mode="stretch_width",
                height=440,
                linked_axes=False,
            ),
            sizing_mode="stretch_width",
            margin=0,
        )

    def refresh(self, lanes: Sequence[Lane], threshold: float | None) -> None:
        """Show these lanes, at most as many as there are looks, and the threshold if it is known."""
        lanes = lanes[: len(view.LOOKS)]
        shown = view.window(lanes, self.loss, self.seconds, threshold)
        drop_closed(self._rendered)
        for plots in self._rendered.values():
            held = plots.setdefault("held", [()] * len(view.LOOKS))
            for index in range(len(view.LOOKS)):
                lane = lanes[index] if index < len(lanes) else None
                holds = (lane and lane.history, self.loss, self.seconds)
                source = plots[view.role(index)].handles["cds"]
                restarted, held[index] = holds != held[index], holds
                start = 0 if restarted else len(source.data["x"])
                extend(source, view.columns(lane, self.loss, self.seconds, start), restarted)
            replace(plots["threshold"].handles["cds"], {"y": [] if threshold is None else [threshold]})
            move(plots["figure"].handles["x_range"], 0.0, shown.end)
            move(plots["figure"].handles["y_range"], shown.low, shown.high)
            plots["figure"].handles["xaxis"].axis_label = "seconds" if self.seconds else "epoch"

    def _hook(self, role: str) -> Any:
        def found(plot: Any, element: Any) -> None:
            self._rendered.setdefault(plot.state, {})[role] = plot
            if "cds" in plot.handles:
                plot.handles["cds"].name = f"race {role}"
            if role == "figure":
                self._on_render()

        return found


def leaderboard(lanes: Sequence[Lane]) -> str:
    """The table of the race, as HTML, with a sample of each lane's curve."""
    if not lanes:
        return "<p>Nothing to compare yet: train, then press Keep, then train another optimizer.</p>"
    looks = {lane.name: look for lane, look in zip(lanes, view.LOOKS, strict=False)}
    table = view.leaderboard(lanes[: len(view.LOOKS)])
    heads = ["", "optimizer", "pass rate", "α", "quality", "epochs to ε*²", "seconds to ε*²"]
    heads.append(f"wins : losses to {escape(lanes[0].name)}")
    rows = []
    for row in table.to_dict("records"):
        numbers = [number(row[name]) for name in ("α", "quality", "epochs to threshold", "seconds to threshold")]
        duel = "–" if row["optimizer"] == lanes[0].name else f"{row['wins']} : {row['losses']}"
        cells = [html.sample(*looks[row["optimizer"]]), escape(row["optimizer"]), f"{100 * row['pass rate']:.0f} %"]
        rows.append("".join(f"<td>{cell}</td>" for cell in [*cells, *numbers, duel]))
    return html.table(heads, rows)


def threshold(lanes: Sequence[Lane]) -> float | None:
    """The median threshold of the lanes' instances."""
    return float(np.median(lanes[0].outcomes.threshold)) if lanes else None


class RacePanel:
    """The lanes that were kept, the one that trains, and how they compare.

    `changed` is called when the person asks for something else to be shown.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._kept: list[_Kept] = []
        self._figure = RaceFigure(changed)
        self._loss = pmui.Select(label="Loss", value="test", options=list(view.CHOICES), width=150, size="small")
        self._clock = pmui.Select(label="Over", value="epochs", options=["epochs", "seconds"], width=150, size="small")
        self._lanes = pmui.MultiChoice(label="Kept", options=[], value=[], sizing_mode="stretch_width", width=None)
        for widget in (self._loss, self._clock):
            widget.param.watch(lambda event: changed(), "value")
        self._lanes.param.watch(self._dropped, "value")
        self._board = html.pane()
        self.panel = pmui.Column(
            pmui.FlexBox(self._loss, self._clock, sizing_mode="stretch_width"),
            self._lanes,
            self._figure.panel,
            self._board,
            sizing_mode="stretch_width",
            margin=0,
        )

    def keep(self, session: Session) -> str:
        """Keep the session's runs as a lane; a sentence where that changes more than one would expect."""
        lane = _Kept.of(session)
        if lane is None:
            return "There is nothing to keep yet: train first."
        said = ""
        if self._kept and self._kept[0].setting != lane.setting:
            self._kept.clear()
            said = "Lanes share their instances: those kept before had others, and were dropped."
        names = {kept.name for kept in self._kept}
        if len(self._kept) >= len(view.LOOKS) - 1:
            return f"There is room for {len(view.LOOKS) - 1} kept lanes: drop one first."
        self._kept.append(lane.renamed(names))
        self._list()
        return said

    def refresh(self, session: Session, challenge: Challenge) -> None:
        """Show the kept lanes, and the session's runs if they were not kept and share the lanes' instances."""
        shown = list(self._kept)
        current = _Kept.of(session)
        fits = current is not None and (not shown or current.setting == shown[0].setting)
        if current is not None and fits and all(kept.history is not current.history for kept in shown):
            shown.append(current.renamed({kept.name for kept in shown}))
        lanes = [kept.lane(challenge) for kept in shown]
        self._figure.loss, self._figure.seconds = self._loss.value, self._clock.value == "seconds"
        self._figure.refresh(lanes, threshold(lanes))
        self._board.object = leaderboard(lanes)

    def _list(self) -> None:
        names = [kept.name for kept in self._kept]
        self._lanes.param.update(options=names, value=names)

    def _dropped(self, event: Any) -> None:
        self._kept = [kept for kept in self._kept if kept.name in event.new]
        self._list()
        self._changed()


@dataclass(frozen=True)
class _Kept:
    """A lane with what its scores need.  setting: what lanes of one race have in common."""

    name: str
    history: History
    instances: Instances
    setting: dict[str, Any]

    @classmethod
    def of(cls, session: Session) -> _Kept | None:
        plan, history, instances = session.plan, session.history, session.instances
        if plan is None or history is None or instances is None or not history.epoch:
            return None
        values = plan.challenge.values
        del values["accuracy_factor"]
        return cls(plan.optimizer.described, history, instances, values | {"seeds": plan.seeds})

    def renamed(self, taken: set[str]) -> _Kept:
        name, number = self.name, 2
        while name in taken:
            name, number = f"{self.name} #{number}", number + 1
        return replace_field(self, name=name)

    def lane(self, challenge: Challenge) -> Lane:
        return Lane(self.name, self.history, outcomes(challenge, self.history, self.instances))
