"""The live picture of what a run has learnt."""

from __future__ import annotations

from typing import Any

import panel as pn

from explorer.app.figure import move, replace
from explorer.records import FunctionSample
from explorer.views import function as view

OUTPUTS = 2
"""Outputs shown at most: TIG's harness has two."""


class FunctionFigure:
    """One plot an output; what is new replaces the data of each rendered copy."""

    def __init__(self) -> None:
        self._rendered: dict[Any, tuple[int, dict[str, Any]]] = {}
        self._boxes = [self._box(output) for output in range(OUTPUTS)]
        self.panel = pn.FlexBox(*self._boxes, sizing_mode="stretch_width", margin=0)

    def refresh(self, sample: FunctionSample | None) -> None:
        """Show this sample; None: nothing yet."""
        outputs = 1 if sample is None else sample.truth.shape[1]
        for output, box in enumerate(self._boxes):
            box.visible = output < outputs
        for figure in [figure for figure in self._rendered if figure.document is None]:
            del self._rendered[figure]
        for output, plots in self._rendered.values():
            for role, data in view.columns(sample, output).items():
                replace(plots[role].handles["cds"], data)
            move(plots["figure"].handles["y_range"], *view.span(sample, output))

    def _box(self, output: int) -> pn.Column:
        hooks = {role: self._hook(role, output) for role in ("samples", *view.CURVES, "figure")}
        plot = pn.pane.HoloViews(view.function(None, output, hooks), sizing_mode="stretch_width", height=400)
        return pn.Column(plot, sizing_mode="stretch_width", styles={"flex": "1 1 380px"}, margin=0)

    def _hook(self, role: str, output: int) -> view.Hook:
        def found(plot: Any, element: Any) -> None:
            self._rendered.setdefault(plot.state, (output, {}))[1][role] = plot
            if "cds" in plot.handles:
                plot.handles["cds"].name = f"output {output} {role}"

        return found
