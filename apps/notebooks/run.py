"""Run the notebooks from clean kernels and keep the outputs that show without one: pictures, tables and text.

    python apps/notebooks/run.py            all of them
    python apps/notebooks/run.py tour       one

What a live view puts into a notebook (megabytes of scripts that need a kernel) is left out.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
KEPT = ("image/png", "text/html", "text/plain")


def execute(file: Path) -> Any:
    """The notebook with the outputs of a clean kernel; the files it writes go to a folder that is thrown away."""
    notebook = nbformat.read(file, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(lightened, cell.outputs) if output is not None]
    return notebook


def lightened(output: Any) -> Any:
    """An output without what a page cannot show by itself; None where nothing is left or it is a word of warning."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    data = output.get("data", {})
    live = any("holoviews" in kind or "javascript" in kind for kind in data) or "<progress" in data.get("text/html", "")
    if live or not data or "<style>" in data.get("text/html", "")[:200]:
        return None
    output.data = {kind: data[kind] for kind in KEPT if kind in data}
    output.metadata = {}
    return output


if __name__ == "__main__":
    chosen = [FOLDER / f"{name}.ipynb" for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb"))
    for file in chosen:
        nbformat.write(execute(file), file)
        print(f"{file.name}: {file.stat().st_size / 1024:.0f} KB")
