"""Choosing a device and a precision by name."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "float64": torch.float64}


def choices() -> list[str]:
    """Names that `resolve` takes on this machine."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    several = [f"cuda:{index}" for index in range(count)] if count > 1 else []
    return ["auto", "cpu", *(["cuda"] if count else []), *several]


def resolve(name: str) -> torch.device:
    """The device called `name`: auto, cpu, cuda or cuda:1; `ValueError` if it is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name in {"cpu", *(["cuda"] if count else []), *(f"cuda:{index}" for index in range(count))}:
        return torch.device(name)
    if name.startswith("cuda") and not count:
        raise ValueError(f"device = {name!r} is not available: no CUDA device here; it must be auto or cpu.")
    raise ValueError(f"device = {name!r} is not known: it must be one of {', '.join(choices())}.")


def precision(name: str) -> torch.dtype:
    """The dtype of a precision name; `ValueError` if there is none such."""
    try:
        return PRECISIONS[name]
    except KeyError:
        raise ValueError(f"precision = {name!r} is not known: it must be one of {', '.join(PRECISIONS)}.") from None


@contextmanager
def at_work(device: torch.device, precision: str) -> Iterator[None]:
    """On a CUDA device: make it the current one, and let torch multiply float32 matrices in `precision`, in here alone.

    That switch is the process's: other threads' products in that moment take it, too.
    """
    if device.type != "cuda":
        yield
        return
    switch = torch.backends.cuda.matmul
    before = switch.fp32_precision
    switch.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        with torch.cuda.device(device):
            yield
    finally:
        switch.fp32_precision = before


def describe(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}, {torch.get_num_threads()} threads)"
