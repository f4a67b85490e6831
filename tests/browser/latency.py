"""How long a change of a widget takes to reach the page while training runs as fast as it can on the CPU.

    python tests/browser/latency.py [changes]

Measured in the page itself: from the key that moves the accuracy slider to the moment at which the data source of the
threshold line in the browser holds the new value.  Prints the median and the 95th percentile in milliseconds; and how
long after Start the first epoch was in the page.
"""

import sys

import numpy as np
from pages import epoch, press, serve, sources, until

from explorer.cli.browser import chromium

CHANGE = """async () => {
  const source = [...Bokeh.documents[0]._all_models.values()].find(model => model.name === 'log threshold')
  const before = source.data.y[0]
  let slider = null
  const walk = root => { for (const element of root.querySelectorAll('*')) {
    if (element.matches('input[type=range]') && element.getAttribute('aria-label') !== null) sliders.push(element)
    if (element.shadowRoot) walk(element.shadowRoot) } }
  const sliders = []
  walk(document)
  slider = sliders.find(element => element.getAttribute('aria-label').startsWith('Accuracy')) ?? sliders[1]
  const began = performance.now()
  slider.focus()
  const setter = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set
  setter.call(slider, Number(slider.value) + 50)
  slider.dispatchEvent(new Event('change', {bubbles: true, composed: true}))
  while (source.data.y[0] === before && performance.now() - began < 5000)
    await new Promise(next => setTimeout(next, 1))
  return performance.now() - began
}"""
FIRST = """async () => {
  const source = [...Bokeh.documents[0]._all_models.values()].find(model => model.name === 'log test')
  const began = performance.now()
  while (source.data.epoch.length === 0 && performance.now() - began < 20000)
    await new Promise(next => setTimeout(next, 1))
  return performance.now() - began
}"""


def main(changes: int) -> None:
    server, address = serve()
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(address)
        page.get_by_role("button", name="Start", exact=True).wait_for()
        until(lambda: sources(page)["log threshold"]["y"])
        press(page, "Start")
        print(f"first epoch in the page {page.evaluate(FIRST):.0f} ms after Start")
        until(lambda: epoch(page) >= 5)
        took = []
        for _ in range(changes):
            took.append(page.evaluate(CHANGE))
            page.wait_for_timeout(150)
            if page.get_by_role("status").filter(has_text="Finished").count():
                press(page, "Start")
                until(lambda: epoch(page) >= 2)
        median, high = np.percentile(took, [50, 95])
        print(f"{changes} changes while training: median {median:.0f} ms, 95th percentile {high:.0f} ms")
    server.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
