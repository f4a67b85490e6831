"""The documentation site: `sphinx-build -W -n assets/docs site`, with the extra `docs` and nothing from outside."""

from __future__ import annotations

import inspect
import re
import shutil
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

import explorer as ex
from explorer.optimizers import modifiers

logger = logging.getLogger(__name__)
HERE = Path(__file__).parent
ROOT = HERE.parent.parent

project = "Optimizer Explorer"
author = copyright = "The Optimizer Explorer authors"
release = ex.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = project
html_show_sourcelink = False
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # they are kept with their outputs, and tests run them
default_role = "code"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
suppress_warnings = ["mystnb.unknown_mime_type"]


def setup(app: Any) -> None:
    """What Sphinx is told beyond its settings."""
    app.connect("builder-inited", gather)
    app.connect("autodoc-process-docstring", translate)
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))


def gather(app: Any) -> None:
    """Take the notebooks in, and write down what is declared in the code: settings and optimizers."""
    made = HERE / "made"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    for notebook in (ROOT / "apps" / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, made)
    shelf = [(name, ex.optimizers.get(name)) for name in ex.optimizers.names()]
    pages = {
        "challenge": f"# The challenge's settings\n\n{described(ex.Challenge)}",
        "optimizers": "# Optimizers\n\n" + "\n\n".join(f"## {name}\n\n{described(kind)}" for name, kind in shelf),
        "modifiers": "# Modifiers\n\n"
        + "\n\n".join(f"## {name}\n\n{described(modifiers.get(name))}" for name in modifiers.names()),
    }
    for name, text in pages.items():
        (made / f"{name}.md").write_text(text + "\n", encoding="utf-8")


def described(kind: Any) -> str:
    """A class's docstring, and a table of what it declares."""
    rows = [
        f"| `{name}` | {field.default} | {kind.allowed(name)} | {(field.doc or '').replace('|', '&#124;')} |"
        for name, field in kind.fields().items()
    ]
    table = ["| setting | default | allowed | meaning |", "| --- | --- | --- | --- |", *rows] if rows else []
    doc = re.sub(
        r"^>>> .*(?:\n(?!\n).*)*", r"```python\n\g<0>\n```", inspect.cleandoc(kind.__doc__), flags=re.MULTILINE
    )
    return doc + "\n\n" + "\n".join(table)


def translate(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """The docstrings' dollars are reStructuredText's math."""
    text = "\n".join(lines)
    text = re.sub(
        r"\$\$(.+?)\$\$", lambda found: f"\n\n.. math:: {' '.join(found[1].split())}\n\n", text, flags=re.DOTALL
    )
    lines[:] = text.splitlines()


def inline(writer: Any, node: nodes.Node) -> None:
    """A formula within a line, as MathML: browsers draw it without a script."""
    writer.body.append(formula(node.astext(), False))
    raise nodes.SkipNode


def block(writer: Any, node: nodes.Node) -> None:
    """A formula by itself."""
    writer.body.append(f'<div class="math" style="overflow-x: auto">{formula(node.astext(), True)}</div>')
    raise nodes.SkipNode


def formula(text: str, by_itself: bool) -> str:
    """As MathML; as it is written where that is not known."""
    try:
        return tex2mathml(text.replace("…", r"\ldots ").replace(r"\dots", r"\ldots"), as_block=by_itself)
    except MathError as error:
        logger.info("a formula stays as it is written: %s", error)
        return f"<code>{escape(text)}</code>"
