"""Every command and every code block of the README is run, and what it claims about files is true."""

import contextlib
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from test_imports import FREE, ROOMS

import explorer

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
INSTALLS = [command for command in COMMANDS if command.startswith("pip ")]
SERVERS = [command for command in COMMANDS if re.match(r"(explorer|panel) serve", command)]
SHORT = [command for command in COMMANDS if command not in INSTALLS + SERVERS]
BIN = Path(sys.executable).parent

PRELUDE = """
# The README's calls as they stand, but two epochs of training each.
import explorer as ex
trained = ex.train
ex.train = lambda *given, **named: trained(*given, **({"max_epochs": 2} | named))
"""


def test_every_block_is_of_a_kind_that_is_tested():
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "text"}
    assert len(INSTALLS) == 2
    assert len(SERVERS) == 1
    assert len(SHORT) >= 4


def test_python_blocks_run_in_one_session(tmp_path):
    """All but the file of the shelf, which is compared with itself below."""
    script = tmp_path / "readme.py"
    blocks = [block for kind, block in BLOCKS if kind == "python" and not block.startswith('"""')]
    assert len(blocks) == 2
    script.write_text(PRELUDE + "\n".join(blocks), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "lr" in done.stdout, "the library's table is printed"
    assert "<xarray.DataArray 'val_loss' (run: 16)>" in done.stdout


def test_the_optimizer_s_file_is_the_real_one():
    (shown,) = [block for kind, block in BLOCKS if kind == "python" and block.startswith('"""')]
    path = re.search(r"This is `explorer/(\S+\.py)`, whole:", TEXT)[1]
    assert shown == (Path(explorer.__file__).parent / path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader would be who types one command after another."""
    return tmp_path_factory.mktemp("reader")


@pytest.mark.parametrize("command", SHORT)
def test_commands_run(command, folder):
    """As they stand, in their order, but one epoch of training each."""
    program, *arguments = shlex.split(command)
    assert program == "explorer"
    if arguments[0] == "train":
        arguments += ["--max-epochs", "1"]
    if arguments[0] == "floors":
        arguments += ["--set", "max_epochs=2"]
    done = subprocess.run([BIN / program, *arguments], capture_output=True, text=True, timeout=100, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    for option in ("--json", "--csv"):
        if option in arguments:
            assert (folder / arguments[arguments.index(option) + 1]).stat().st_size > 0


@pytest.mark.parametrize("command", [INSTALLS[0].split("&&")[1].strip(), *SERVERS])
def test_servers_serve_the_app(command):
    """As they stand, but at a free port and without opening a browser."""
    program, *arguments = [word for word in shlex.split(command) if word != "--show"]
    if "--port" in arguments:
        del arguments[(at := arguments.index("--port")) : at + 2]
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
    with subprocess.Popen([BIN / program, *arguments, "--port", str(port)], cwd=ROOT) as running:
        try:
            page, began = "", time.monotonic()
            while not page:
                assert running.poll() is None, "the server ended"
                assert time.monotonic() - began < 60
                with contextlib.suppress(urllib.error.URLError):
                    path = "/main" if program == "panel" else "/"
                    page = urllib.request.urlopen(f"http://localhost:{port}{path}").read().decode()
                time.sleep(0.1)
            assert "<title>Optimizer Explorer</title>" in page
        finally:
            running.terminate()


def test_installing_is_left_to_ci_which_runs_the_readme_s_own_command():
    """`.ci/run` takes the command from this file, so it cannot drift from it."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "README.md" in script
    assert INSTALLS[1] not in script
    assert INSTALLS == ["pip install . && explorer serve --show", 'pip install ".[test]" && pytest']


def test_the_drawing_is_the_house():
    (drawing,) = [block for kind, block in BLOCKS if kind == "text"]
    rooms = re.findall(r"\w+", drawing.splitlines()[0])
    folders = {path.parent.name for path in Path(explorer.__file__).parent.glob("*/__init__.py")}
    beside = {"base", "cli", "lessons", "tournament"}
    assert set(rooms) == folders - beside
    for room in beside:
        assert f"`explorer/{room}`" in TEXT
    for place, room in enumerate(rooms):
        if room not in FREE:
            may_import, _ = ROOMS[room]
            assert may_import <= {*rooms[:place], "base", "records"}, room
    assert ROOMS["records"][0] == set()


def test_every_file_that_is_named_exists():
    named = re.findall(r"\]\((?!http)([^)]+)\)", TEXT) + re.findall(r"`((?:[\w.]+/)+[\w.]*|LICENSE)`", TEXT)
    assert len(named) >= 5
    for path in named:
        assert (ROOT / path).exists(), path
