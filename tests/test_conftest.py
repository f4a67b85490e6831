"""The suite's own rules: in CI a skip is a failure, elsewhere it is a skip."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = """
import pytest

def test_fine(): pass

@pytest.mark.skip(reason="no browser")
def test_marked(): pass

def test_inside(): pytest.skip("no browser")

@pytest.mark.xfail(reason="known", strict=True)
def test_known(): assert False
"""


@pytest.mark.parametrize(
    ("ci", "summary"), [("true", "1 failed, 1 passed, 1 xfailed, 1 error"), ("", "1 passed, 2 skipped, 1 xfailed")]
)
def test_nothing_is_skipped_in_ci(tmp_path, ci, summary):
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_skips.py").write_text(SKIPS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"CI": ci}, cwd=tmp_path)
    assert done.stdout.splitlines()[-1].startswith(summary), done.stdout
    assert ("Nothing may be skipped in CI: Skipped: no browser" in done.stdout) == bool(ci)
