"""Small HTML panes: they take the page's colours and cost the browser nothing."""

from __future__ import annotations

import panel as pn

STYLE = """
:host { display: block; font-size: 0.875rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: 8px; }
.figure { border: 1px solid color-mix(in srgb, currentColor 18%, transparent); border-radius: 8px; padding: 7px 11px; }
.figure dt { font-size: 0.75rem; opacity: 0.75; white-space: nowrap; }
.figure dd { margin: 1px 0 0; font-size: 1.25rem; font-weight: 600; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.pass { background: #12814f; color: white; } .fail { background: #c02647; color: white; }
.pass dt, .fail dt { opacity: 0.95; }
dl { margin: 0; }
.chips { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 0.875rem; }
.chips span { font-variant-numeric: tabular-nums; }
.chips svg { vertical-align: middle; margin-right: 6px; }
table { border-collapse: collapse; width: 100%; font-size: 0.8125rem; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; text-align: right; }
tr { border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); }
th { font-weight: 600; position: sticky; top: 0; } .wide { overflow: auto; max-height: 420px; }
td.text { text-align: left; } kbd { font: inherit; font-weight: 600; white-space: nowrap; }
td.pass, td.fail { border-radius: 4px; text-align: center; }
p { margin: 0; line-height: 1.45; } p.below { margin-top: 10px; }
.note { border-left: 4px solid; border-radius: 4px; padding: 7px 10px; }
.hint { border-color: #b35c00; background: color-mix(in srgb, #e07b00 12%, transparent); }
.good { border-color: #12814f; background: color-mix(in srgb, #12814f 14%, transparent); font-weight: 600; }
"""


CODE = ":host code { color: inherit; background: color-mix(in srgb, currentColor 9%, transparent); }"
"""For Markdown: the theme's own colour of code is too pale to read on white."""


def pane(text: str = "") -> pn.pane.HTML:
    """A pane of HTML in the app's style; whatever people can type must be escaped before it goes in."""
    return pn.pane.HTML(text, stylesheets=[STYLE], sizing_mode="stretch_width", margin=(4, 10))


def sample(color: str, dash: str, width: float) -> str:
    """A short stretch of a curve, for a legend."""
    pattern = {"solid": "none", "dashed": "6 3", "dotted": "2 3", "dashdot": "6 3 2 3", "dotdash": "2 3 6 3"}[dash]
    return (
        f'<svg width="26" height="8" aria-hidden="true"><line x1="0" y1="4" x2="26" y2="4" stroke="{color}" '
        f'stroke-width="{width}" stroke-dasharray="{pattern}"/></svg>'
    )


def table(heads: list[str], rows: list[str]) -> str:
    """A table that scrolls by itself, by keyboard too; heads are plain text, rows are `<td>` elements."""
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
