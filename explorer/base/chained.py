"""What a Triton kernel begins with, so that the next one is put in place while it runs.  Imported by kernels alone."""

# pyright: reportMissingImports=false

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def follow(CHAINED: tl.constexpr):
    """Wait for the kernel before, and let the next one be put in place: a launch then costs half as much.

    To wait first and allow next means that a kernel never runs beside any but its two neighbours.
    """
    if CHAINED:
        gdc_wait()
        gdc_launch_dependents()
