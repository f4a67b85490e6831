"""The house's one direction: which room may import which, and what it may import from outside."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import explorer

PACKAGE = Path(explorer.__file__).parent

# DESIGN's table.  `base` is read by all; stdlib is free, but for what starts threads or processes.
ROOMS = {
    "base": (set(), {"numpy", "param", "torch", "triton"}),
    "challenge": ({"base"}, {"numpy", "param", "torch", "triton"}),
    "optimizers": ({"base"}, {"numpy", "param", "scipy", "torch", "triton"}),
    "records": (set(), {"numpy", "pandas", "platformdirs", "psutil", "sqlalchemy", "xarray"}),
    "training": (
        {"base", "challenge", "optimizers", "records"},
        {"IPython", "numpy", "pandas", "param", "psutil", "torch", "triton", "xarray"},
    ),
    "tournament": (
        {"base", "challenge", "optimizers", "records", "training"},
        {"distributed", "numpy", "pandas", "param", "scipy", "sqlalchemy", "torch"},
    ),
    "lessons": ({"base", "challenge", "optimizers", "records"}, {"numpy", "pandas", "yaml"}),
    "views": ({"records"}, {"bokeh", "holoviews", "numpy", "pandas", "xarray"}),
}
FREE = {"app", "cli"}
"""Rooms that may import everything."""
STARTS_THREADS = {"_thread", "concurrent", "multiprocessing", "threading"}
THREAD_OWNERS = {
    "training/worker.py",
    "training/heap.py",
    "training/line.py",
    "training/tally.py",
    "training/separate/child.py",
    "training/separate/process.py",
    "records/store/recorder.py",
    "tournament/host.py",
    "base/side_by_side.py",
}
"""A worker's thread and a tournament's live with their session, the recorder's with the process, the watch of a
plug-in's process with that; heap, line, tally and `separate.process` have but locks; the last one's end with its
function."""


def files():
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imported(source, package):
    """The dotted names that a module inside `package` imports, wherever in the file, relative ones resolved."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            if base in ("explorer", ""):
                yield from (f"{base}.{alias.name}" for alias in node.names)
            else:
                yield base


def offences(file, source):
    """What `file` (relative to the package) imports although its room may not."""
    room = file.split("/")[0]
    package = ".".join(["explorer", *Path(file).parent.parts])
    found = []
    for name in imported(source, package):
        top, *rest = name.split(".")
        if top in STARTS_THREADS and file not in THREAD_OWNERS:
            found.append(name)
        if room in FREE or room not in ROOMS:
            continue
        rooms, outside = ROOMS[room]
        if top == "explorer":
            allowed = bool(rest) and rest[0] in {room, *rooms}
        else:
            allowed = top in outside or top in sys.stdlib_module_names
        if not allowed:
            found.append(name)
    return found


@pytest.mark.parametrize("file", files())
def test_a_room_imports_only_what_it_may(file):
    assert offences(file, (PACKAGE / file).read_text(encoding="utf-8")) == []


def test_every_folder_is_a_known_room():
    folders = {file.split("/")[0] for file in files() if "/" in file}
    assert folders <= set(ROOMS) | FREE
    assert {"base", "challenge", "optimizers", "records", "training"} <= folders


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("challenge/data.py", "import explorer.optimizers"),
        ("challenge/data.py", "def late():\n    from explorer.training.fleet import Fleet"),
        ("challenge/data.py", "from ..optimizers import adam"),
        ("challenge/data.py", "import threading"),
        ("optimizers/adam.py", "from explorer import Challenge"),
        ("optimizers/adam.py", "import explorer.challenge.model"),
        ("training/fleet.py", "import holoviews as hv"),
        ("training/fleet.py", "from concurrent.futures import ThreadPoolExecutor"),
        ("records/history.py", "import torch"),
        ("records/history.py", "from explorer.base import tensors"),
        ("tournament/runner.py", "from explorer.views import race"),
        ("tournament/scoring.py", "import panel"),
        ("training/fleet.py", "from explorer.tournament import scores"),
        ("views/losses.py", "import panel"),
        ("views/losses.py", "from explorer.training import Result"),
        ("app/page.py", "import threading"),
        ("base/tensors.py", "from explorer.challenge import Challenge"),
    ],
)
def test_the_law_is_noticed_when_broken(file, source):
    assert offences(file, source)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("challenge/data.py", "from . import settings\nfrom explorer.base.random import Stream\nimport math, torch"),
        ("training/worker.py", "import threading"),
        ("app/page.py", "import panel, explorer.training.worker"),
    ],
)
def test_the_law_lets_pass_what_it_should(file, source):
    assert offences(file, source) == []


def test_the_library_does_not_load_the_user_interface():
    """A machine without Panel can train."""
    code = "import sys, explorer; print(*{m.split('.')[0] for m in sys.modules} & {'panel', 'holoviews', 'bokeh'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "PASSIVE 1000"),
        ({"GOMP_SPINCOUNT": "5"}, "PASSIVE 5"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"),  # a person's own choice is theirs, whole
    ],
)
def test_torch_threads_wait_as_is_best_unless_told_otherwise(before, after):
    names = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
    code = f"import os, explorer; print(*[os.environ.get(name) for name in {names}])"
    environment = {name: value for name, value in os.environ.items() if name not in names} | before
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == after
