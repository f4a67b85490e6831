"""The numbers beside the plots, as HTML."""

from __future__ import annotations

from html import escape

import numpy as np
import pandas as pd

from explorer.app import words
from explorer.app.html import sample, table
from explorer.app.session import Session
from explorer.records import LOSSES
from explorer.views.style import LOSS_LOOKS, number


def cards(session: Session, outcomes: pd.DataFrame | None) -> str:
    """Epoch, losses, threshold, α, quality, verdict and speed; medians where there are several runs."""
    history = session.history

    def median(column: str) -> float:
        values = np.array([]) if outcomes is None else outcomes[column].to_numpy(float)
        return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")

    threshold = float("nan") if session.threshold is None else float(np.median(session.threshold))
    items = [
        _card("Epoch", "0" if history is None else str(history.epoch)),
        _verdict(outcomes),
        _card("Best validation", number(median("val_loss"))),
        _card("Test at best", number(median("test_loss"))),
        _card("Threshold ε*²", number(threshold)),
        _card("α reached", number(median("alpha"))),
        _card("Quality", number(median("quality"))),
        _card("Epochs / s", number(session.epochs_per_second)),
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
        f"<span>{sample(look.color, look.dash, look.width)}{name} <b>{number(value)}</b></span>"
        for (name, look), value in zip(LOSS_LOOKS.items(), last, strict=True)
    ]
    note = "<span>medians and quartiles; runs that stopped are held at their last loss</span>" if several else ""
    return f'<div class="chips">{"".join(curves)}<span>◆ best epoch</span><span>✕ end</span>{note}</div>'


def runs(outcomes: pd.DataFrame | None, swept: list[str], hand: int) -> str:
    """One row a run, that in hand marked."""
    if outcomes is None:
        return "<p>No runs yet: press Start.</p>"
    heads = [
        "run",
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
    for run, row in enumerate(outcomes.to_dict("records")):
        done = row["best_epoch"] > 0
        missed = "not yet" if row["status"] == "running" else "fail"
        word = ("pass" if row["passed"] else missed) if done else "–"
        numbers = [number(row[name]) for name in ("val_loss", "test_loss", "threshold", "alpha", "quality")]
        cells = [
            f"▶ {run}" if run == hand else run,
            row["seed"],
            *(number(row[name]) for name in swept),
            words.STATUSES[row["status"]],
            row["epochs"],
        ]
        cells += [row["best_epoch"] or "–", *numbers]
        tag = f' class="{word}"' if done else ""
        rows.append("".join(f"<td>{escape(str(cell))}</td>" for cell in cells) + f"<td{tag}>{word}</td>")
    return table([escape(name) for name in heads], rows)


def _card(title: str, value: str, box: str = "") -> str:
    return f'<div class="figure {box}"><dt>{escape(title)}</dt><dd>{escape(value)}</dd></div>'


def _verdict(outcomes: pd.DataFrame | None) -> str:
    if outcomes is None or (outcomes.epochs == 0).all():
        return _card("Verdict", "–")
    passed, going = int(outcomes.passed.sum()), (outcomes.status == "running").any()
    if len(outcomes) == 1:
        word = "Pass" if passed else "Not yet" if going else "Fail"
    else:
        word = f"{passed} of {len(outcomes)}"
    return _card(
        "Verdict" if len(outcomes) == 1 else "Pass",
        word,
        "pass" if passed == len(outcomes) else "" if going or passed else "fail",
    )
