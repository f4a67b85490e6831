"""The documentation's site builds without a warning, a broken link or anything from outside."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from explorer import optimizers

DOCS = Path(__file__).parent.parent / "assets" / "docs"
LOADED = re.compile(r"<(?:script|img|iframe|source)[^>]*\bsrc=\"(http[^\"]*)\"|<link[^>]*href=\"(http[^\"]*)\"")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "-q", "-d", folder / "doctrees", DOCS, folder / "html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "html"


def test_everything_is_in_it(site):
    shelf = (site / "made" / "optimizers.html").read_text(encoding="utf-8")
    for name in optimizers.names():
        assert f'id="{name.replace("_", "-")}"' in shelf, name
    assert shelf.count("<math") >= 10
    reference = (site / "reference.html").read_text(encoding="utf-8")
    for name in ("explorer.train", "explorer.Explorer.add", "explorer.optimizers.create"):
        assert f'id="{name}"' in reference
    for notebook in (DOCS.parent.parent / "apps" / "notebooks").glob("*.ipynb"):
        assert "<img" in (site / "made" / f"{notebook.stem}.html").read_text(encoding="utf-8")


def test_nothing_comes_from_outside(site):
    for page in site.rglob("*.html"):
        assert LOADED.findall(page.read_text(encoding="utf-8")) == [], page.name
