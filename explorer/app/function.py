"""The view of what a run has learnt."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from explorer.app import html
from explorer.app.figure import drop_closed, move, replace
from explorer.app.runs import RunInput
from explorer.app.session import Session
from explorer.challenge import Challenge
from explorer.records import FunctionSample
from explorer.training.probes import FunctionLook
from explorer.views import function as view
from explorer.views import plane
from explorer.views.style import LINE_LOOKS, Hook

OUTPUTS = 2
"""Outputs shown at most: TIG's harness has two."""
MEANINGS = ("true function, ± the noise σ", "model as it is", "model of the best epoch")


class FunctionPanel:
    """`changed` is called when the person asks for another input or anchor; `look` is what is asked for; `run` holds
    the run in hand."""

    def __init__(self, changed: Callable[[], None], run: RunInput) -> None:
        self._run = run
        self._input = run.input()
        self._axis = pmui.IntInput(label="Input", value=1, start=1, width=110, size="small")
        self._across = pmui.IntInput(label="Second input", value=2, start=1, width=130, size="small")
        self._anchor = pmui.IntInput(
            label="Through test sample",
            value=0,
            start=0,
            width=170,
            size="small",
            description="Where the other inputs are held: at this test sample; 0: at the centre.",
        )
        for widget in (self._axis, self._across, self._anchor):
            widget.param.watch(lambda event: changed(), "value")
        self._said = html.pane()
        self._on_render = changed
        self._curves: dict[Any, dict[str, Any]] = {}
        self._residuals: dict[Any, dict[str, Any]] = {}
        self._images: dict[Any, dict[str, Any]] = {}
        self._boxes = [self._box(output) for output in range(OUTPUTS)]
        self._planes: list[pn.Row] = []
        legend = [
            f"<span>{html.sample(color, 'solid', width)}{meaning}</span>"
            for (color, width), meaning in zip(view.CURVES.values(), MEANINGS, strict=True)
        ]
        legend.append(f'<span><span style="color: {view.POINTS}">●</span> training samples, of one input</span>')
        below = (
            f"<b>Residuals</b> of the test samples: each, their root mean square along the input "
            f"{html.sample(view.CURVES['kept'][0], 'solid', 3)}and ± the noise σ {html.sample(*LINE_LOOKS['noise'])}"
        )
        self._grid = pn.Column(sizing_mode="stretch_width", margin=0)
        self.panel = pmui.Column(
            html.pane(f'<div class="chips">{"".join(legend)}</div>'),
            pmui.FlexBox(self._input, self._axis, self._across, self._anchor, sizing_mode="stretch_width"),
            self._grid,
            pn.FlexBox(*self._boxes, sizing_mode="stretch_width", margin=0),
            html.pane(f"<p>{below}</p>"),
            self._said,
            sizing_mode="stretch_width",
            margin=0,
        )

    @property
    def look(self) -> FunctionLook:
        """The run, the inputs and the anchor that are asked for."""
        return FunctionLook(
            run=self._run.value,
            axis=max(1, self._axis.value or 1) - 1,
            across=max(1, self._across.value or 1) - 1,
            anchor=max(0, self._anchor.value or 0),
        )

    def refresh(self, session: Session, challenge: Challenge) -> None:
        """Show what the session's run has learnt."""
        self._run.show(self._input)
        learnt = session.learnt
        self._axis.end = self._across.end = challenge.input_dims
        self._anchor.end = challenge.test_size
        said = "Press Start to see what is learnt."
        if learnt is not None and session.history is not None and session.instances is not None:
            seed = session.history.runs[learnt.run].seed
            # The fleet may have trained an epoch that came after this run's end.
            ended = dataclasses.replace(learnt, epoch=min(learnt.epoch, session.epoch))
            said = view.caption(ended, seed, float(session.instances.noise_mse[learnt.run]))
            if session.replayed is not None and session.replayed < ended.epoch:
                said += "  Nothing earlier of this run is kept: its weights are, from when it is taken in hand."
        several = challenge.input_dims > 1
        self._axis.visible, self._anchor.visible, self._across.visible = several, several, challenge.input_dims > 2
        self._said.object = f"<p>{said}</p>"
        self._plot(learnt)
        self._map(learnt)

    def _plot(self, learnt: FunctionSample | None) -> None:
        outputs = 1 if learnt is None else learnt.truth.shape[1]
        for output, box in enumerate(self._boxes):
            box.visible = output < outputs
        for figures, columns, span in (
            (self._curves, view.columns, view.span),
            (self._residuals, view.residual_columns, view.residual_span),
        ):
            drop_closed(figures)
            for plots in figures.values():
                for role, data in columns(learnt, plots["output"]).items():
                    replace(plots[role].handles["cds"], data)
                move(plots["figure"].handles["y_range"], *span(learnt, plots["output"]))
                plots["figure"].handles["xaxis"].axis_label = _input(learnt, None if learnt is None else learnt.axis)

    def _map(self, learnt: FunctionSample | None) -> None:
        """The images over two inputs, where there are two; drawn when they are first needed."""
        outputs = 0 if learnt is None or learnt.across is None else min(OUTPUTS, learnt.truth.shape[1])
        while len(self._planes) < outputs:
            self._planes.append(self._row(len(self._planes)))
            self._grid.append(self._planes[-1])
        for output, row in enumerate(self._planes):
            row.visible = output < outputs
        drop_closed(self._images)
        for plots in self._images.values() if outputs else ():
            plot, output, picture = plots["image"], plots["output"], plots["picture"]
            if plots.get("held") is learnt or output >= outputs:
                continue
            plots["held"] = learnt
            plot.handles["cds"].data = plane.image(learnt, output, picture)
            low, high = plane.colours(learnt, output, picture)
            plot.handles["color_mapper"].update(low=low, high=high)
            assert learnt is not None
            for axis, place in (("xaxis", learnt.axis), ("yaxis", learnt.across)):
                plot.handles[axis].axis_label = _input(learnt, place)

    def _box(self, output: int) -> pn.Column:
        curves = {role: self._hook(self._curves, "", role, output) for role in ("samples", *view.CURVES, "figure")}
        roles = ("residuals", "above", "below", "floor", "figure")
        below = {role: self._hook(self._residuals, "residual ", role, output) for role in roles}
        parts = [(view.function(None, output, curves), 360), (view.residuals(None, output, below), 210)]
        return pn.Column(
            *(_pane(element, height) for element, height in parts),
            sizing_mode="stretch_width",
            styles={"flex": "1 1 340px"},
            margin=0,
        )

    def _row(self, output: int) -> pn.Row:
        boxes = []
        for picture in plane.PICTURES:
            hook = self._hook(self._images, f"{picture} ", "image", output, picture)
            pane = _pane(plane.plane(None, output, picture, {"image": hook}), 330)
            boxes.append(pn.Column(pane, sizing_mode="stretch_width", styles={"flex": "1 1 280px"}, margin=0))
        # Bokeh cannot lay out figures that come to a `FlexBox` after the page has loaded.
        return pn.Row(*boxes, styles={"flex-wrap": "wrap"}, sizing_mode="stretch_width", margin=0)

    def _hook(self, figures: dict[Any, Any], name: str, role: str, output: int, picture: str = "") -> Hook:
        def found(plot: Any, element: Any) -> None:
            figures.setdefault(plot.state, {"output": output, "picture": picture})[role] = plot
            if "cds" in plot.handles:
                plot.handles["cds"].name = f"output {output} {name}{role}"
            if role in ("figure", "image"):
                self._on_render()

        return found


def _pane(element: Any, height: int) -> pn.pane.HoloViews:
    return pn.pane.HoloViews(element, sizing_mode="stretch_width", height=height, linked_axes=False)


def _input(learnt: FunctionSample | None, place: int | None) -> str:
    """An input's name on an axis: with its number where there are several."""
    return "input" if learnt is None or place is None or len(learnt.anchor) == 1 else f"input {place + 1}"
