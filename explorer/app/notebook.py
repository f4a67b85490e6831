"""The app in a notebook: everything that its page needs comes from the kernel, and what changes is pushed to it."""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import panel as pn
from panel.io.notebook import block_comm, push_on_root
from panel_material_ui.base import BUNDLE_PATH, DIST_PATH, MaterialComponent

from explorer.base.jupyter import kernel

SCRIPT = "window.panel_material_ui ??= import(URL.createObjectURL(new Blob([%s], {type: 'text/javascript'})))"
LINK = """
while (window.panel_material_ui === undefined) await new Promise(done => setTimeout(done, 20))
export default (await window.panel_material_ui).default
"""
NO_ECHO = """
const waiting = setInterval(() => {
  let kind = null
  try { kind = Bokeh.Models.get("panel.models.comm_manager.CommManager").prototype } catch { return }
  clearInterval(waiting)
  if (kind.echoless) return
  kind.echoless = true
  const changed = kind._document_changed
  kind._document_changed = function(event) { if (event.sync !== false) changed.call(this, event) }
}, 20)
"""
"""Panel 1.9's page sends back whatever the kernel sent it: what was streamed would be appended twice."""
FACE = re.compile(r"@font-face\s*{[^}]*}")
RULE = re.compile(r"\.material-icons{[^}]*}")


class Closeable(Protocol):
    """What holds a thread."""

    def close(self) -> None:
        """Let go of it."""


_owners: dict[Closeable, tuple[str, str]] = {}


def cell() -> tuple[str, str]:
    """The cell that is run, as its page names it, and which run of it this is; empty where nobody says."""
    parent = kernel().get_parent() if kernel() is not None else {}
    return str(parent.get("metadata", {}).get("cellId", "")), str(parent.get("header", {}).get("msg_id", ""))


def claim(app: Closeable) -> None:
    """`app` belongs to the cell that is run: close what an earlier run of the same cell made."""
    here, run = cell()
    if here:
        for other in [other for other, (there, then) in _owners.items() if there == here and then != run]:
            del _owners[other]
            other.close()
        _owners[app] = here, run


def prepare() -> None:
    """Send the cell's page the scripts and styles of the app: a classroom may have no way out to fetch them.

    At every call, since nobody tells whether the page was loaded anew; a page that has them leaves them alone.
    """
    from IPython.display import publish_display_data

    pn.extension("katex", "tabulator", inline=True)
    faces = FACE.findall((DIST_PATH / "material-icons.css").read_text(encoding="utf-8"))
    script = SCRIPT % json.dumps(BUNDLE_PATH.read_text(encoding="utf-8"))
    publish_display_data({"text/html": f"<style>{_embedded(faces[0])}</style>"})
    publish_display_data({"application/javascript": f"{script}\n{NO_ECHO}"})
    MaterialComponent._render_esm = classmethod(_script)  # pyright: ignore[reportAttributeAccessIssue]
    MaterialComponent.param["stylesheets"].default = RULE.findall(
        BUNDLE_PATH.with_suffix(".css").read_text(encoding="utf-8")
    )


class Shown(pn.Column):
    """What a cell shows."""

    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, sizing_mode="stretch_width", margin=0, **options)
        self._loop = asyncio.get_running_loop() if kernel() is not None else None

    def push(self) -> None:
        """Send what has changed to the pages that are there; for others it waits, in its order."""
        for ref in self._models:
            *_, comm = pn.state._views.get(ref, (None,))
            if comm is not None and comm._comm:
                push_on_root(ref)

    def _on_msg(self, ref: str, manager: Any, msg: Any) -> None:
        # JupyterLab has messages from the page handled in a thread of their own: Bokeh's documents are not made for it.
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._hear, ref, manager, msg)

    def _hear(self, ref: str, manager: Any, msg: Any) -> None:
        self.push()  # Panel would drop what waits
        super()._on_msg(ref, manager, msg)


@contextmanager
def pushed(shown: Sequence[Shown]) -> Iterator[None]:
    """What changes within goes to every page that shows one of these, at the end and at once."""
    with block_comm():
        yield
    for each in shown:
        each.push()


_own_script = MaterialComponent._render_esm.__func__


def _script(kind: type[MaterialComponent], compiled: Any = True, server: bool = False) -> str | None:
    """Panel sends the script of all Material widgets (1.4 MB) along with each: here each links to the one copy."""
    return _own_script(kind, compiled, server) if server or compiled == "compiling" else LINK


def _embedded(face: str) -> str:
    """A font's declaration with the font itself in the place of its address."""
    (name,) = re.findall(r"url\(\"?\./([\w-]+\.woff2)", face)
    data = b64encode((DIST_PATH / name).read_bytes()).decode()
    return re.sub(r"src:[^;}]*", f'src: url("data:font/woff2;base64,{data}") format("woff2")', face)
