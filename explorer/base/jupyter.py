"""Whether there is a notebook around this process."""

from __future__ import annotations

import sys
from typing import Any


def kernel() -> Any:
    """The kernel of the notebook that this process serves; None where it serves none."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None)
