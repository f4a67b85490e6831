"""The replay bar: every view as it was after any epoch."""

from __future__ import annotations

from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui

from explorer.app import html
from explorer.app.session import SAMPLES, Session
from explorer.app.widgets import Widgets

SPEEDS = {"5 epochs/s": 1, "25 epochs/s": 5, "100 epochs/s": 20}
"""Epochs at each of five ticks a second."""
TICK = 200


class ReplayBar:
    """A switch; while it is on, a slider over the epochs so far, with a button that lets it run.

    `changed` is called when another epoch is to be shown.  epoch: that one; None: the latest.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._widgets = Widgets()
        self._ticking: pn.io.PeriodicCallback | None = None
        self._on = pmui.Switch(label="Replay", margin=(6, 10))
        self._slider = pmui.IntSlider(label="Epoch shown", start=0, end=1, value=0, sizing_mode="stretch_width")
        self._play = pmui.Button(label="Play", icon="play_circle", size="small", variant="outlined", margin=(6, 4))
        self._speed = pmui.Select(
            label="Speed", options=list(SPEEDS), value="25 epochs/s", width=140, size="small", margin=(6, 4)
        )
        self._on.param.watch(lambda event: self._turn(event.new), "value")
        self._widgets.watch(self._slider, lambda epoch: self._moved())
        self._play.on_click(lambda event: self._toggle())
        self._held = html.pane()
        row = pmui.Row(self._slider, self._play, self._speed, sizing_mode="stretch_width", margin=0)
        self._tools = pmui.Column(row, self._held, sizing_mode="stretch_width", margin=0)
        # Bokeh's own row: the tools are in the page from their first use on, since they cost the page's first second.
        self.panel = pn.Row(self._on, sizing_mode="stretch_width", min_width=120, margin=0)
        self.last = 0

    @property
    def epoch(self) -> int | None:
        """The epoch that is asked for."""
        return self._slider.value if self._on.value else None

    def load(self, epoch: int) -> None:
        """Ask for this epoch, as an address does: it is shown once it is there."""
        self._widgets.show(self._slider, end=max(epoch, self._slider.end), value=epoch)
        self._on.value = True

    def refresh(self, session: Session) -> None:
        """Follow the session: the slider ends at its last epoch."""
        self.last = session.epoch
        self._tools.visible = self._on.value
        if self._on.value and self._tools not in self.panel:
            self.panel.append(self._tools)
        self._held.object = f"<p>{held(session)}</p>" if self._on.value else ""
        if self._on.value and self.last > 0 and self._slider.end != self.last:
            value = min(self._slider.value, self.last) if not session.busy else self._slider.value
            self._widgets.show(self._slider, end=max(self.last, value), value=value)

    def forget(self) -> None:
        """A new experiment: back to the present."""
        self._halt()
        self._on.value = False

    def _turn(self, on: bool) -> None:
        if on and self.last:
            value = min(self._slider.value, self.last) or self.last
            self._widgets.show(self._slider, end=self.last, value=value)
        if not on:
            self._halt()
        self._changed()

    def _moved(self) -> None:
        if self._on.value:
            self._changed()

    def _toggle(self) -> None:
        if self._ticking is not None:
            self._halt()
            return
        if self._slider.value >= self._slider.end:
            self._widgets.show(self._slider, value=0)
            self._changed()
        self._play.param.update(label="Hold", icon="pause_circle")
        self._ticking = pn.state.add_periodic_callback(self._tick, period=TICK)  # pyright: ignore[reportArgumentType]

    async def _tick(self) -> None:
        following = self._slider.value + SPEEDS[self._speed.value]
        self._widgets.show(self._slider, value=min(following, self._slider.end))
        self._changed()
        if following >= self._slider.end:
            self._halt()

    def _halt(self) -> None:
        if self._ticking is not None:
            self._ticking.stop()
            self._ticking = None
            self._play.param.update(label="Play", icon="play_circle")


def held(session: Session) -> str:
    """What is kept to look back at, and how much of it at most."""
    lane = session.lane
    if lane is None or lane.history is None:
        return "Nothing is trained yet."
    said = f"Kept: the losses of all {session.epoch} epochs"
    if lane.filmed is not None and lane.filmed.frames:
        film = lane.filmed
        every = "every epoch" if film.interval == 1 else f"every {film.interval} epochs"
        since = f" from epoch {film.first} on, when it was taken in hand," if film.first else ""
        said += f"; the weights of run {film.run}{since} {every}, {film.frames} of at most {film.at_most} snapshots"
    if lane.inside:
        said += f"; {len(lane.inside)} of at most {SAMPLES} looks inside"
    return said + ".  What would be more is thinned evenly."
