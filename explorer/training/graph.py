"""Running ahead of a CUDA device: an epoch as one graph, and not more than a few epochs at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from explorer.base.launch import compiling
from explorer.base.tensors import Tensors

MOST = 16
"""Graphs that a fleet keeps where its optimizer asks for several; other epochs are launched kernel by kernel."""

AHEAD = 2
"""Epochs that the host may be ahead of the device: enough to keep it busy, few enough to stop soon."""


def capture(
    epoch: Callable[[], object],
    rehearse: Callable[[], object] | None,
    touched: Iterable[Tensor],
    pool: Any = None,
) -> Callable[[], None]:
    """`epoch` as one CUDA graph: a function that launches it.

    rehearse: does on the device what `epoch` does, if less often, so that kernels are compiled and libraries loaded
    before the capture; None where the device has done the same before.  touched: all that an epoch changes for good,
    which is as it was when this returns.  pool: memory shared with other graphs, of which one runs at a time.
    """
    touched = list(touched)
    if rehearse is not None:
        _leaving(touched, rehearse)
    of_host = [(tensor, tensor.clone()) for tensor in touched if not tensor.is_cuda]
    graph = torch.cuda.CUDAGraph()
    # Other threads have streams of their own, and may use them while this one captures.
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        epoch()
    for tensor, before in of_host:  # the device has done nothing of it yet
        tensor.copy_(before)
    return graph.replay


def _leaving(touched: Sequence[Tensor], rehearse: Callable[[], object]) -> None:
    """`rehearse` on a stream aside, first with the kernels compiled side by side; then `touched` is put back."""
    kept = [(tensor, tensor.clone()) for tensor in touched]
    here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        with compiling(aside.device):
            rehearse()
        rehearse()
    here.wait_stream(aside)
    for tensor, before in kept:
        tensor.copy_(before)


def tensors_of(state: Any) -> Iterator[Tensor]:
    """Every tensor of an optimizer's state, buffers as one."""
    if isinstance(state, Tensors):
        yield state.buffer
    elif isinstance(state, Tensor):
        yield state
    elif isinstance(state, dict):
        yield from tensors_of(list(state.values()))
    elif isinstance(state, list | tuple):
        for part in state:
            yield from tensors_of(part)


class Leash:
    """Keeps the host at most `AHEAD` epochs ahead of a CUDA device, asleep while it waits."""

    def __init__(self) -> None:
        self._events: deque[torch.cuda.Event] = deque()

    def launched(self) -> None:
        """An epoch is on its way: wait until no more than `AHEAD` are."""
        event = torch.cuda.Event(blocking=True)
        event.record()
        self._events.append(event)
        if len(self._events) > AHEAD:
            self._events.popleft().synchronize()
