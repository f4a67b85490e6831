"""The notebooks run from clean kernels, and what is kept of them shows without one."""

import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "apps" / "notebooks"
FILES = sorted(FOLDER.glob("*.ipynb"))


def kinds(notebook):
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [kind for output in outputs for kind in output.get("data", {"text/plain": ""})]


def pictures(notebook):
    whole = nbformat.writes(notebook)
    return whole.count('"image/png":') + whole.count("data:image/png;base64,")


@pytest.fixture(scope="module")
def running():
    """All of them, as they run, two at a time: much of a notebook is starting its kernel and importing."""
    execute = runpy.run_path(str(FOLDER / "run.py"))["execute"]
    with ThreadPoolExecutor(2) as pool:
        yield {file: pool.submit(execute, file) for file in FILES}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_notebook_runs_and_gives_what_is_kept_of_it(file, running):
    kept = nbformat.read(file, as_version=4)
    fresh = running[file].result()
    assert kinds(fresh) == kinds(kept)
    assert pictures(fresh) == pictures(kept) > 0
    assert set(kinds(kept)) <= {"image/png", "text/html", "text/plain"}
    assert file.stat().st_size < 300_000
    counts = [cell.execution_count for cell in kept.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "as run from a clean kernel, top to bottom"
    assert "<script" not in file.read_text(encoding="utf-8")


def test_there_are_four():
    assert len(FILES) == 4
