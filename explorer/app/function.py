"""The view of what a run has learnt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from explorer.app import html
from explorer.app.figure import drop_closed, move, replace
from explorer.app.session import Session
from explorer.challenge import Challenge
from explorer.records import FunctionSample
from explorer.training.probes import FunctionLook
from explorer.views import function as view

OUTPUTS = 2
"""Outputs shown at most: TIG's harness has two."""
MEANINGS = ("true function, ± the noise σ", "model as it is", "model of the best epoch")


class FunctionPanel:
    """`changed` is called when the person asks for another run or input; `look` is what is asked for."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._run = pmui.IntInput(label="Run", value=0, start=0, width=110, size="small")
        self._axis = pmui.IntInput(label="Input", value=1, start=1, width=110, size="small")
        for widget in (self._run, self._axis):
            widget.param.watch(lambda event: changed(), "value")
        self._said = html.pane()
        self._on_render = changed
        self._rendered: dict[Any, dict[str, Any]] = {}
        self._boxes = [self._box(output) for output in range(OUTPUTS)]
        legend = [
            f"<span>{html.sample(color, 'solid', width)}{meaning}</span>"
            for (color, width), meaning in zip(view.CURVES.values(), MEANINGS, strict=True)
        ]
        legend.append(f'<span><span style="color: {view.POINTS}">●</span> training samples</span>')
        self.panel = pmui.Column(
            html.pane(f'<div class="chips">{"".join(legend)}</div>'),
            pmui.FlexBox(self._run, self._axis, sizing_mode="stretch_width"),
            pn.FlexBox(*self._boxes, sizing_mode="stretch_width", margin=0),
            self._said,
            sizing_mode="stretch_width",
            margin=0,
        )

    @property
    def look(self) -> FunctionLook:
        """The run and the input that are asked for."""
        return FunctionLook(max(0, self._run.value or 0), max(1, self._axis.value or 1) - 1)

    def refresh(self, session: Session, challenge: Challenge) -> None:
        """Show what the session's run has learnt."""
        learnt = session.learnt
        self._plot(learnt)
        self._axis.end = challenge.input_dims
        said = "Press Start to see what is learnt."
        if learnt is not None and session.history is not None and session.instances is not None:
            self._run.end = len(session.history.runs) - 1
            seed = session.history.runs[learnt.run].seed
            said = view.caption(learnt, seed, float(session.instances.noise_mse[learnt.run]))
        self._run.visible, self._axis.visible = (self._run.end or 0) > 0, self._axis.end > 1
        self._said.object = f"<p>{said}</p>"

    def _plot(self, learnt: FunctionSample | None) -> None:
        outputs = 1 if learnt is None else learnt.truth.shape[1]
        for output, box in enumerate(self._boxes):
            box.visible = output < outputs
        drop_closed(self._rendered)
        for plots in self._rendered.values():
            output = plots["output"]
            for role, data in view.columns(learnt, output).items():
                replace(plots[role].handles["cds"], data)
            move(plots["figure"].handles["y_range"], *view.span(learnt, output))

    def _box(self, output: int) -> pn.Column:
        hooks = {role: self._hook(role, output) for role in ("samples", *view.CURVES, "figure")}
        plot = pn.pane.HoloViews(
            view.function(None, output, hooks), sizing_mode="stretch_width", height=400, linked_axes=False
        )
        return pn.Column(plot, sizing_mode="stretch_width", styles={"flex": "1 1 340px"}, margin=0)

    def _hook(self, role: str, output: int) -> view.Hook:
        def found(plot: Any, element: Any) -> None:
            self._rendered.setdefault(plot.state, {"output": output})[role] = plot
            if "cds" in plot.handles:
                plot.handles["cds"].name = f"output {output} {role}"
            if role == "figure":
                self._on_render()

        return found
