"""Launching Triton kernels; or compiling all that are met, side by side, before any runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from explorer.base.side_by_side import side_by_side

_met: ContextVar[dict[Any, Any] | None] = ContextVar("met", default=None)

waiting: ContextVar[Callable[[], None] | None] = ContextVar("waiting", default=None)
"""What was put off and must be done before any kernel runs, if there is such."""


def runs_kernels(device: torch.device) -> bool:
    """Whether Triton kernels run on this device."""
    return device.type == "cuda" and find_spec("triton") is not None


def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    """Run a Triton kernel on the current stream; inside `compiling`, only remember it."""
    if (settle := waiting.get()) is not None:
        settle()
    met = _met.get()
    if met is None:
        kernel[grid](*arguments, **options)
        return
    # About as fine as Triton's own key; two that it tells apart and this does not are compiled one after the other.
    kinds = tuple(
        (argument.dtype, argument.data_ptr() % 16 == 0)
        if isinstance(argument, Tensor)
        else (type(argument), argument == 1, argument % 16 == 0)
        for argument in arguments
    )
    met.setdefault((kernel, kinds, tuple(sorted(options.items()))), (kernel, grid, arguments, options))


def is_compiling() -> bool:
    """Whether this is inside `compiling`."""
    return _met.get() is not None


@contextmanager
def compiling(device: torch.device) -> Iterator[None]:
    """Kernels launched in here do not run: they are compiled at the end, several at a time."""
    token = _met.set({})
    try:
        yield
        met = list((_met.get() or {}).values())
    finally:
        _met.reset(token)

    def compile(call: tuple[Any, tuple[int, ...], tuple[Any, ...], dict[str, Any]]) -> None:
        kernel, grid, arguments, options = call
        with torch.cuda.device(device):
            compiled = kernel.run(*arguments, grid=grid, warmup=True, **options)
            # Builds the launcher and loads the kernel now; where Triton has this no more, the first launch does.
            getattr(compiled, "_init_handles", lambda: None)()

    with torch.cuda.device(device):
        for kernel, *_ in met:
            kernel.device_caches[torch.cuda.current_device()]  # made here, lest two threads make one each
    side_by_side(compile, met)
