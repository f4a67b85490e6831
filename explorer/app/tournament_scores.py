"""The scores of a tournament as they stand: profiles, table, times, and the curves behind any cell."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import pandas as pd
import panel_material_ui as pmui

from explorer.app import html
from explorer.app import tournament_report as report
from explorer.app.tournament_figures import CurvesFigure, ProfileFigure, TimesFigure
from explorer.app.tournament_form import TITLES
from explorer.app.widgets import Widgets
from explorer.tournament import MEASURES, Store, Tournament, intervals, timed
from explorer.views.tournament_curves import Curve

RESAMPLES = 400
NOTHING = "<p>No scores yet: they begin when every entrant has done its first study on a workload.</p>"


class ScorePanel:
    """What a tournament has come to, by one ruleset and clock.  `changed` is called when a person asks for another."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._seen: tuple[Any, ...] = ()
        self._widgets = Widgets()
        self._ruleset, self._measure, self._workload, self._submission = (
            pmui.Select(label=label, options=[], width=width, size="small")
            for label, width in (("Ruleset", 180), ("Time in", 150), ("Workload", 200), ("Submission", 220))
        )
        self._measure.param.update(options=list(MEASURES), value="seconds")
        for widget in (self._ruleset, self._measure, self._workload, self._submission):
            self._widgets.watch(widget, lambda value: self._changed())
        self._profiles = ProfileFigure(self._rendered)
        self._times = TimesFigure(self._rendered, self._tapped)
        self._curves = CurvesFigure(self._rendered)
        self._html = {name: html.pane() for name in ("board", "times", "curves")}
        wide = {"sizing_mode": "stretch_width", "margin": 0}
        self._box = pmui.Column(
            pmui.Paper(
                pmui.Column(
                    pmui.FlexBox(self._ruleset, self._measure, sizing_mode="stretch_width"),
                    self._html["board"],
                    self._profiles.panel,
                    **wide,
                ),
                sizing_mode="stretch_width",
                margin=10,
            ),
            pmui.Paper(
                pmui.Column(
                    pmui.FlexBox(self._workload, self._submission, sizing_mode="stretch_width"),
                    self._html["times"],
                    self._times.panel,
                    self._html["curves"],
                    self._curves.panel,
                    **wide,
                ),
                sizing_mode="stretch_width",
                margin=10,
            ),
            **wide,
        )
        self.panel = self._box

    def refresh(self, held: Tournament | None, store: Store | None) -> None:
        """Show a tournament as it stands; only if something is new, since scoring takes tenths of a second."""
        self._box.visible = held is not None and store is not None and bool(held.outcomes)
        if held is None or store is None or not self._box.visible:
            self._seen = ()
            return
        spec = held.spec
        self._offer(self._ruleset, {TITLES[ruleset.key]: ruleset.key for ruleset in spec.rulesets})
        self._offer(self._workload, {workload.name: workload.name for workload in spec.workloads})
        self._offer(self._submission, {one.name: one.name for one in spec.submissions})
        asked = (self._ruleset.value, self._measure.value, self._workload.value, self._submission.value)
        seen = (spec.key, len(held.outcomes), *asked)
        if seen != self._seen:
            self._seen = seen
            self._draw(held, store)

    def _draw(self, held: Tournament, store: Store) -> None:
        ruleset, measure = self._ruleset.value, self._measure.value
        spec, table = held.spec, held.table()
        part: Any = held.comparable()
        places = {submission.name: place for place, submission in enumerate(spec.submissions)}
        part = part[part.ruleset == ruleset] if len(part) else part
        scored: Any = held.scores(measure) if len(part) else None
        self._profiles.panel.visible = scored is not None
        if scored is None:
            self._html["board"].object = NOTHING
        else:
            several = part.study.nunique() > 1
            ends = intervals(timed(part, measure), resamples=RESAMPLES) if several else None
            held_out = {workload.name for workload in spec.workloads if workload.kind != "base"}
            board = report.leaderboard(scored, ends, ruleset, places, held_out)
            self._html["board"].object = board + _so_far(held, part)
            ratios = scored.ratios.loc[ruleset].dropna(axis=1, how="all")
            self._profiles.refresh(ratios, scored.benchmark[ruleset], places)
        rows: Any = table[(table.ruleset == ruleset) & (table.workload == self._workload.value)]
        self._times.refresh(rows, measure, places)
        self._html["times"].object = (
            f"<p>Every trial on <b>{escape(self._workload.value)}</b>, a row a study: ● reached, the study’s best "
            "large; ▷ not there when it ended or the study’s best was: its time lies beyond; ▏ median of studies; "
            "dotted: the fastest, and 4 ×.  Tap a mark for its submission’s curves.</p>"
        )
        self._draw_curves(held, store, ruleset, measure)

    def _draw_curves(self, held: Tournament, store: Store, ruleset: str, measure: str) -> None:
        name, load = self._submission.value, self._workload.value
        (workload,) = (one for one in held.spec.workloads if one.name == load)
        cell = [
            unit
            for unit in held.units
            if (unit.ruleset, unit.submission, unit.workload) == (ruleset, name, load) and unit.key in held.outcomes
        ]
        batches, drawn, messages = len(workload.challenge().batches()), [], []
        for unit in cell:
            outcome = store.whole(unit)
            if outcome is None:
                continue
            messages.append(outcome.message)
            epochs = range(1, len(outcome.clock) + 1)
            clock = {"seconds": outcome.clock, "epochs": epochs}.get(measure) or [batches * epoch for epoch in epochs]
            fastest = min(range(len(outcome.trials)), key=lambda at, of=outcome.trials: (of[at].epochs, of[at].nearest))
            for at, trial in enumerate(outcome.trials):
                point = ", ".join(f"{field} {value:.3g}" for field, value in trial.point.items())
                reached = getattr(trial, measure)
                drawn.append(Curve(unit.study, at, point, outcome.losses[at], clock, reached, at == fastest))
        self._curves.refresh(drawn, workload.targets, measure)
        said = "".join(f"<p>{escape(message)}</p>" for message in dict.fromkeys(filter(None, messages)))
        self._html["curves"].object = (
            f"<p><b>{escape(name)}</b> on <b>{escape(load)}</b>: a curve a trial, a colour a study, the best trial of "
            f"a study strong; the workload is reached at 1.</p>{said}"
        )

    def _offer(self, widget: Any, options: dict[str, str]) -> None:
        if widget.options != options:
            value = widget.value if widget.value in options.values() else next(iter(options.values()))
            self._widgets.show(widget, options=options, value=value)

    def _tapped(self, submission: str) -> None:
        self._widgets.show(self._submission, value=submission)
        self._changed()

    def _rendered(self) -> None:
        """A copy of a figure has been made, and is empty."""
        self._seen = ()
        self._changed()


def _so_far(held: Tournament, part: pd.DataFrame) -> str:
    """What of an unfinished tournament the scores are of, and whether its seconds can be compared."""
    said = "<p>Speed-up: 1 − geometric mean of time over the baseline’s.</p>" if held.spec.baseline else ""
    if held.pending:
        said = (
            f"<p>So far: {part.study.nunique()} of {held.spec.rulesets[0].studies} studies on "
            f"{part.workload.nunique()} of {len(held.spec.workloads)} workloads, done by all.</p>{said}"
        )
    if part.device.nunique() > 1:
        said += "<p>Seconds are of different devices: compare epochs.</p>"
    elif part.device.str.startswith("CPU").all():
        said += "<p>Seconds on a CPU grow with whatever else it does; epochs and evaluations do not.</p>"
    return said
