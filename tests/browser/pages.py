"""What the browser tests do with a page."""

import os
import time
from urllib.request import urlopen

from explorer.cli.browser import free_port

os.environ.setdefault("BOKEH_RESOURCES", "server")  # as `explorer serve` does

READ_SOURCES = """() => {
  const found = {}
  for (const model of Bokeh.documents[0]._all_models.values())
    if (model.type === 'ColumnDataSource' && model.name)
      found[model.name] = Object.fromEntries(Object.entries(model.data).map(([name, x]) => [name, Array.from(x)]))
  return found
}"""


def serve(**options):
    """The app on a free port; the server (with `.stop()`) and its address."""
    import panel as pn

    from explorer.app import page

    port = free_port()
    server = pn.serve(page, port=port, threaded=True, show=False, title="Optimizer Explorer", **options)
    address = f"http://localhost:{port}/"
    until(lambda: urlopen(address).status == 200, 60)
    return server, address


def sources(page):
    """What the browser's data sources hold: {name: {column: values}}."""
    return page.evaluate(READ_SOURCES)


def press(page, name):
    """Click the button of that accessible name."""
    page.get_by_role("button", name=name, exact=True).click()


def epoch(page):
    """How many epochs the test curve in the browser has."""
    return len(sources(page)["log test"]["epoch"])


def status(page):
    """The line that says what is going on."""
    return page.get_by_role("status").inner_text()


def until(true, seconds=20.0):
    """Wait until `true()`; its value.  Errors on the way count as not yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            value = true()
        except Exception:
            if time.monotonic() > end:
                raise
            value = None
        if value:
            return value
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
