"""A film of one run: its weights at evenly spaced epochs, bounded in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from explorer.base.tensors import Tensors
from explorer.challenge.data import FIELDS
from explorer.records import Filmed
from explorer.training.fleet import Fleet

ALIKE = (*FIELDS, "num_hidden_layers", "width", "frozen_layers")
"""The challenge's settings that two films must share, beside the seed, to be of one start and one loss."""


@dataclass(frozen=True)
class Frame:
    """A run's weights after `epoch` epochs (0: the start), running statistics included; each `[P]`, in CPU memory.

    params: as they were.  best: the model that was kept then.  `Film.tensors` makes either a model.
    """

    epoch: int
    params: Tensor
    best: Tensor


class Film:
    """Frames of run `run` of one fleet, which `offer` takes at epoch 0 and after every epoch.

    A frame is taken at every multiple of `interval`, which starts at 1; when the film is full, every second frame is
    dropped and the interval doubles, so what is held stays evenly spaced and keeps the start.  `close` and `end` add
    the last epoch.  Full are `at_most` frames, or fewer where they would exceed `budget` bytes, but never under two:
    the start and the end.
    """

    def __init__(self, run: int = 0, at_most: int = 64, budget: int = 64 << 20) -> None:
        self.run = run
        self.interval = 1
        self.instance: tuple[object, ...] = ()
        """What two films of one start and one loss have in common; empty before the first frame."""
        self._at_most, self._budget = at_most, budget
        self._spaced: list[Frame] = []
        self._last: Frame | None = None
        self._source: _Source | None = None
        self._ended = False

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Everything that is held, by epoch; waits for copies that are still on their way."""
        if self._source is not None:
            self._source.settle()
        return (*self._spaced, *([] if self._last is None else [self._last]))

    def told(self, generation: int, lane: int) -> Filmed:
        """What is held, for whoever looks back; no device is waited for."""
        frames = len(self._spaced) + (self._last is not None)
        first = self._spaced[0].epoch if self._spaced else 0
        return Filmed(generation, self.run, first, frames, self.interval, self._at_most, lane)

    def at(self, epoch: int) -> Frame:
        """The latest frame at or before `epoch`; `LookupError` if there is none."""
        held = [frame for frame in self.frames if frame.epoch <= epoch]
        if not held:
            raise LookupError(f"Nothing was filmed up to epoch {epoch}.")
        return held[-1]

    def tensors(self, weights: Tensor, device: torch.device | str = "cpu") -> Tensors:
        """A frame's `params` or `best` as a fleet of one has them, on `device`."""
        if self._source is None:
            raise LookupError("Nothing was filmed yet.")
        return Tensors(self._source.layout, weights[None].to(device))

    def offer(self, fleet: Fleet) -> None:
        """An epoch is complete, or the start is made: take a frame of it, if one is due; a device is not waited for."""
        if self._ended:
            return
        if self._source is None:
            self._source = _Source(fleet, self.run)
            self.instance = (fleet.runs[self.run].seed, *(getattr(fleet.challenge, name) for name in ALIKE))
            self._at_most = max(2, min(self._at_most, self._budget // self._source.frame_bytes))
            self._ended = self._source.last_epoch < fleet.epoch
            if self._ended:  # the run's weights are gone: the fleet moved them on after its end
                return
        self._source.follow(fleet.epoch)
        self._last = None  # no longer the last, and not one of the evenly spaced
        if fleet.epoch % self.interval:
            return
        if len(self._spaced) >= self._at_most - 1:
            self._thin(fleet.epoch)
            if self._ended or fleet.epoch % self.interval or len(self._spaced) >= self._at_most - 1:
                return
        self._spaced.append(self._source.frame(fleet.epoch))

    def close(self, fleet: Fleet) -> None:
        """Take the run's last complete epoch, too, and drop what was taken after the run's end; may be called early."""
        if self._source is not None and not self._ended:
            self._finish_at(self._source.last_epoch)
            self._ended = self._source.last_epoch < fleet.epoch

    def end(self, epoch: int) -> None:
        """The run ended with `epoch`: its last frame, whatever is offered later."""
        if self._source is not None and not self._ended:
            self._finish_at(epoch)
            self._ended = True

    def _finish_at(self, epoch: int) -> None:
        assert self._source is not None
        self._spaced = [frame for frame in self._spaced if frame.epoch <= epoch]
        if not self._spaced or self._spaced[-1].epoch < epoch:
            self._last = self._source.frame(epoch)

    def _thin(self, epoch: int) -> None:
        # A run that has ended is not thinned for the sake of epochs that it did not have.  To ask waits for the device,
        # but the interval doubles only a few times.
        assert self._source is not None
        if self._source.last_epoch < epoch:
            self.end(self._source.last_epoch)
            return
        self.interval *= 2
        self._spaced = [frame for frame in self._spaced if frame.epoch % self.interval == 0]


class _Source:
    """Where frames come from: one run's rows of the fleet's buffers, and its weights after its last complete epoch.

    The fleet's own move on after a run's end, and in an epoch that is given up half-way.
    """

    def __init__(self, fleet: Fleet, run: int) -> None:
        self.layout = fleet.params.layout
        self._params, self._best = fleet.params.buffer[run], fleet.best.buffer[run]
        self._epochs = fleet._epochs[run]
        self._weights = self._params.clone()
        self._on_cuda = fleet.device.type == "cuda"
        self._copied: torch.Event | None = None
        self.frame_bytes = 2 * self._params.numel() * self._params.element_size()

    @property
    def last_epoch(self) -> int:
        """The run's last epoch so far; waits for the device."""
        return int(self._epochs)

    def follow(self, epoch: int) -> None:
        """The fleet has completed `epoch`: hold this run's weights, if it went so far."""
        going = self._epochs == epoch
        if self._on_cuda:
            torch.where(going, self._params, self._weights, out=self._weights)
        elif going:
            self._weights.copy_(self._params)

    def frame(self, epoch: int) -> Frame:
        return Frame(epoch, self._copy(self._weights), self._copy(self._best))

    def settle(self) -> None:
        """Wait for copies that are on their way from a device."""
        if self._copied is not None:
            self._copied.synchronize()
            self._copied = None

    def _copy(self, row: Tensor) -> Tensor:
        if not self._on_cuda:
            return row.clone()
        # In order with the training on this stream, which need not be waited for therefore.
        there = torch.empty(row.shape, dtype=row.dtype, pin_memory=True)
        there.copy_(row, non_blocking=True)
        self._copied = torch.cuda.current_stream(row.device).record_event()
        return there
