"""Bad input on the command line: one sentence, exit code 2, no traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def sentences() -> Iterator[None]:
    """Turn a `ValueError` inside into its sentence on standard error and exit code 2."""
    try:
        yield
    except ValueError as error:
        print(f"explorer: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
