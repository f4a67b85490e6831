"""Doing something in a thread of its own."""

from concurrent.futures import ThreadPoolExecutor


def aside(what, *arguments):
    """What `what(*arguments)` gives elsewhere, since Playwright's event loop may be running in this thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(what, *arguments).result()
