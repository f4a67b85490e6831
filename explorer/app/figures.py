"""The numbers beside the plot, as small HTML: they take the page's colours and cost the browser nothing."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from explorer.app import words
from explorer.app.session import Session
from explorer.records import LOSSES
from explorer.views import function
from explorer.views.style import LOSS_LOOKS, number

STYLE = """
:host { display: block; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(122px, 1fr)); gap: 8px; }
.figure { border: 1px solid color-mix(in srgb, currentColor 18%, transparent); border-radius: 8px; padding: 7px 11px; }
.figure dt { font-size: 12px; opacity: 0.75; white-space: nowrap; }
.figure dd { margin: 1px 0 0; font-size: 20px; font-weight: 600; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.pass { background: #12814f; color: white; } .fail { background: #c02647; color: white; }
.pass dt, .fail dt { opacity: 0.95; }
dl { margin: 0; }
.chips { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 14px; }
.chips span { white-space: nowrap; font-variant-numeric: tabular-nums; }
.chips svg { vertical-align: middle; margin-right: 6px; }
table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; text-align: right; }
tr { border-bottom: 1px solid color-mix(in srgb, currentColor 15%, transparent); }
th { font-weight: 600; position: sticky; top: 0; } .wide { overflow: auto; max-height: 420px; }
td.pass, td.fail { border-radius: 4px; text-align: center; }
p { margin: 0; line-height: 1.45; }
"""


def cards(session: Session) -> str:
    """Epoch, losses, threshold, α, quality, verdict and speed; medians where there are several runs."""
    table, history = session.outcomes, session.history

    def median(column: str) -> float:
        values = np.array([]) if table is None else table[column].to_numpy(float)
        return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")

    threshold = float("nan") if session.threshold is None else float(np.median(session.threshold))
    items = [
        _card("Epoch", "0" if history is None else str(history.epoch)),
        _verdict(table),
        _card("Best validation", number(median("val_loss"))),
        _card("Test at best", number(median("test_loss"))),
        _card("Threshold ε*²", number(threshold)),
        _card("α", number(median("alpha"))),
        _card("Quality", number(median("quality"))),
        _card("Epochs per second", number(session.epochs_per_second)),
    ]
    return f'<dl class="figures">{"".join(items)}</dl>'


def chips(session: Session) -> str:
    """The legend, beside the plot instead of on it: a sample of each curve with its last value."""
    history = session.history
    last = [float("nan")] * len(LOSSES)
    if history is not None and history.epoch:
        at_end = history.losses[:, np.arange(len(history.runs)), np.maximum(history.epochs, 1) - 1]
        last = [float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan") for values in at_end]
    several = history is not None and len(history.runs) > 1
    curves = [
        f"<span>{_sample(look.color, look.dash, look.width)}{name} <b>{number(value)}</b></span>"
        for (name, look), value in zip(LOSS_LOOKS.items(), last, strict=True)
    ]
    note = "<span>medians and quartiles; ended runs held at their last loss</span>" if several else ""
    return f'<div class="chips">{"".join(curves)}<span>◆ best epoch</span><span>✕ end</span>{note}</div>'


def runs(table: pd.DataFrame | None, swept: list[str]) -> str:
    """One row a run."""
    if table is None:
        return "<p>No runs yet: press Start.</p>"
    heads = [
        "seed",
        *swept,
        "status",
        "epochs",
        "best epoch",
        "validation",
        "test",
        "threshold",
        "α",
        "quality",
        "verdict",
    ]
    rows = []
    for row in table.to_dict("records"):
        done = row["best_epoch"] > 0
        missed = "not yet" if row["status"] == "running" else "fail"
        word = ("pass" if row["passed"] else missed) if done else "–"
        numbers = [number(row[name]) for name in ("val_loss", "test_loss", "threshold", "alpha", "quality")]
        cells = [row["seed"], *(number(row[name]) for name in swept), words.STATUSES[row["status"]], row["epochs"]]
        cells += [row["best_epoch"] or "–", *numbers]
        tag = f' class="{word}"' if done else ""
        rows.append("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + f"<td{tag}>{word}</td></tr>")
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(rows)
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _card(title: str, value: str, box: str = "") -> str:
    return f'<div class="figure {box}"><dt>{escape(title)}</dt><dd>{escape(value)}</dd></div>'


def _verdict(table: pd.DataFrame | None) -> str:
    if table is None or not (table.best_epoch > 0).any():
        return _card("Verdict", "–")
    passed = int(table.passed.sum())
    going = (table.status == "running").any()
    if len(table) == 1:
        word = "Pass" if passed else "Not yet" if going else "Fail"
    else:
        word = f"{passed} of {len(table)} pass"
    good = 2 * passed >= len(table)
    return _card("Verdict", word, "pass" if good else "" if going else "fail")


def _sample(color: str, dash: str, width: float) -> str:
    pattern = {"solid": "none", "dashed": "6 3", "dotted": "2 3", "dashdot": "6 3 2 3"}[dash]
    return (
        f'<svg width="26" height="8" aria-hidden="true"><line x1="0" y1="4" x2="26" y2="4" stroke="{color}" '
        f'stroke-width="{width}" stroke-dasharray="{pattern}"/></svg>'
    )


LEARNT = '<div class="chips">{}</div>'.format(
    "".join(
        f"<span>{_sample(color, 'solid', width)}{words}</span>"
        for (color, width), words in zip(
            function.CURVES.values(),
            ("true function, ± the noise σ", "model as it is", "model of the best epoch"),
            strict=True,
        )
    )
    + f'<span style="color: {function.POINTS}">●</span> training samples'
)
"""What the colours of the function view mean."""
