"""The app in a real JupyterLab: live, beside other cells, its results in the kernel."""

import contextlib
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

import nbformat
import pytest
from pages import until

from explorer.cli.browser import free_port

CELLS = [
    "import threading\n"
    "import explorer as ex\n"
    "challenge = ex.Challenge.preset('tig', width=8, patience=1000)\n"
    "app = ex.Explorer(challenge, ['adam', 'muon'], pace='10 epochs/s')\n"
    "app",
    "app.race",
    "print('meanwhile', 6 * 7, app.session.phase)",
    "run = app.results\n"
    "print('kept', run.names, [(kept.history.sizes['epoch'], kept.outcomes.status[0]) for kept in run])\n"
    "print('workers', sum(thread.name == 'explorer-worker' for thread in threading.enumerate()))",
]
HELD = """name => Bokeh.documents.map(shown => {
  for (const model of shown._all_models.values())
    if (model.type === 'ColumnDataSource' && model.name === name) return Array.from(model.data.epoch || model.data.x)
  return []
})"""


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab that has a notebook of `CELLS` open."""
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "race.ipynb")
    port = free_port()
    options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=", "--LabApp.news_url=None"]
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={tmp_path}"],
            env=os.environ | folders | {"IPYTHONDIR": str(tmp_path / "ipython")},
            stdout=log,
            stderr=log,
        ) as server,
    ):

        def answers():
            with contextlib.suppress(urllib.error.URLError):
                return urllib.request.urlopen(f"http://localhost:{port}/api").status == 200

        try:
            until(answers, 60)
            yield f"http://localhost:{port}/lab/tree/race.ipynb?reset"
        finally:
            server.terminate()


NOT_OURS = "Cannot read properties of undefined (reading 'rowManager')"
"""Panel 1.9.4's table puts its scroll bars back in a later frame, without asking whether it is still there."""


def test_the_app_lives_in_a_cell(lab, page):
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(lab)
    cells = page.locator(".jp-CodeCell")
    until(lambda: cells.count() == len(CELLS), 60)
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=60_000)

    def run(place):
        cells.nth(place).locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        return cells.nth(place)

    def printed(place, word):
        return until(lambda: re.search(rf"{word} .*", cells.nth(place).locator(".jp-OutputArea").inner_text()), 30)[0]

    def held(name):
        return max(page.evaluate(HELD, name), key=len)

    start = run(0).get_by_role("button", name="Start", exact=True)
    start.wait_for(timeout=60_000)
    start.click()
    until(lambda: len(held("log test")) > 5, 30)

    run(2)
    assert printed(2, "meanwhile") == "meanwhile 42 running"
    run(1).get_by_role("button", name="Stop", exact=True).wait_for(timeout=30_000)

    seen = until(lambda: len(held("race lane 0")), 30)
    until(lambda: len(held("race lane 0")) > seen, 30)
    until(lambda: cells.nth(1).locator(".tabulator-row").count() == 2, 30)
    cells.nth(1).get_by_role("button", name="Stop", exact=True).click()
    cells.nth(1).get_by_role("status").filter(has_text="Stopped").wait_for(timeout=30_000)
    run(3)
    told = re.fullmatch(r"kept \['adam', 'muon'\] \[\((\d+), 'stopped'\), \((\d+), 'stopped'\)\]", printed(3, "kept"))
    assert int(told[1]) - int(told[2]) in (0, 1)  # the second may have been stopped in the epoch that the first had
    epochs = list(range(1, int(told[1]) + 1))
    until(lambda: held("log test") == held("race lane 0") == epochs, 30)  # nothing is lost on its way
    assert printed(3, "workers") == "workers 1"

    run(0)
    until(lambda: cells.nth(0).get_by_role("status").filter(has_text="Ready").count(), 60)
    run(3)
    until(lambda: "kept []" in printed(3, "kept"), 30)
    assert printed(3, "workers") == "workers 1", "the first app's thread has ended"
    assert [error for error in errors if error != NOT_OURS] == []
