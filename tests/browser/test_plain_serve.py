"""`panel serve apps/main.py`, with its own defaults, in a process of its own."""

import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from pages import epoch, free_port, press, until

APP = Path(__file__).parents[2] / "apps" / "main.py"


@pytest.fixture
def plain():
    """The process and its address."""
    port = free_port()
    served = subprocess.Popen([sys.executable, "-m", "panel", "serve", str(APP), "--port", str(port)])
    address = f"http://localhost:{port}/main"
    try:
        until(lambda: urlopen(address).status == 200, 60)
        yield psutil.Process(served.pid), address
    finally:
        served.terminate()
        served.wait(20)


def busy(process, seconds=1.0):
    """The share of a processor that the process takes."""
    return process.cpu_percent(seconds) / 100


@pytest.mark.timeout(180)
def test_closing_a_tab_ends_its_training_within_45_seconds(plain, browser):
    process, address = plain
    page = browser.new_page()
    page.goto(address + "?num_hidden_layers=20&patience=1000")
    page.get_by_role("button", name="Start", exact=True).wait_for()
    press(page, "Start")
    until(lambda: epoch(page) >= 2)
    threads = process.num_threads()
    assert busy(process) > 0.5
    page.close()
    began = time.monotonic()
    until(lambda: busy(process) < 0.1 and process.num_threads() < threads, 45)
    assert time.monotonic() - began <= 45
