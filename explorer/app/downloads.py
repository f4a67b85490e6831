"""What a person can take away: tables of what a view shows, the whole experiment, a page of its own."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import xarray as xr
from bokeh.embed import components
from bokeh.settings import settings

from explorer.app.session import Lane, Session
from explorer.records import LOSSES, FunctionSample, InsideSample, LandscapeSample

LANES = ("Losses", "Race")
OUTCOMES = ("Sweep", "Frontier")


def table(session: Session, view: str) -> pd.DataFrame:
    """The numbers behind a view, one row an observation; `ValueError` with a sentence where there are none yet."""
    if view in LANES:
        lanes = session.lanes if view == "Race" else [lane for lane in (session.lane,) if lane is not None]
        parts = [losses(lane) for lane in lanes if lane.shown is not None]
    elif view in OUTCOMES:
        parts = [outcomes(lane) for lane in session.lanes if lane.outcomes is not None]
    elif view == "Function":
        parts = [] if session.learnt is None else [function(session.learnt)]
    elif view == "Inside":
        parts = [inside(sample) for sample in session.inside]
    else:
        parts = [] if session.landscape is None else [landscape(session.landscape)]
    parts = [part for part in parts if len(part)]
    if not parts:
        raise ValueError("There is nothing to download yet: press Start first.")
    return pd.concat(parts, ignore_index=True)


def losses(lane: Lane) -> pd.DataFrame:
    """A lane's losses: one row a run and epoch."""
    assert lane.shown is not None
    long = lane.shown.to_xarray().to_dataframe().reset_index()
    return _named(lane, long).dropna(subset=list(LOSSES), how="all")


def outcomes(lane: Lane) -> pd.DataFrame:
    """A lane's outcomes: one row a run."""
    assert lane.outcomes is not None
    return _named(lane, lane.outcomes)


def function(sample: FunctionSample) -> pd.DataFrame:
    """A function sample, one row a place and output: its `curve` along the input, the `residual` of each test sample
    and, where there are two inputs, the `plane` of both; x2 is the second."""
    parts = {
        "curve": {"x": sample.x, "truth": sample.truth, "kept": sample.kept, "current": sample.current},
        "residual": {"x": sample.test_x, "residual": sample.residuals},
    }
    if sample.across is not None:
        x, x2 = np.meshgrid(sample.plane, sample.plane)
        outputs = sample.truth.shape[1]
        truth, kept = (values.reshape(-1, outputs) for values in (sample.plane_truth, sample.plane_kept))
        parts["plane"] = {"x": x.ravel(), "x2": x2.ravel(), "truth": truth, "kept": kept}
    rows = pd.concat([_by_output(values).assign(part=part) for part, values in parts.items()], ignore_index=True)
    own = {"run": sample.run, "epoch": sample.epoch, "part": rows.pop("part")}
    return pd.concat([pd.DataFrame(own, index=rows.index), rows], axis=1)


def _by_output(values: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """One row a place and output of arrays `[n]`, which hold for every output, and `[n, O]`."""
    outputs = max(value.shape[1] for value in values.values() if value.ndim == 2)
    long = {name: value.ravel() if value.ndim == 2 else np.repeat(value, outputs) for name, value in values.items()}
    places = len(next(iter(values.values())))
    return pd.DataFrame({"output": np.tile(np.arange(1, outputs + 1), places), **long})


def inside(sample: InsideSample) -> pd.DataFrame:
    """A look inside: one row a layer."""
    columns = {field.name: getattr(sample, field.name) for field in fields(sample)}
    layers = len(sample.layers)
    along = {name: value for name, value in columns.items() if np.ndim(value) == 1 and len(value) == layers}
    return pd.DataFrame({"epoch": sample.epoch, "run": sample.run, "layer": sample.layers, **along}).drop(
        columns=["layers"], errors="ignore"
    )


def landscape(sample: LandscapeSample) -> pd.DataFrame:
    """Paths and surface: one row a point; points of the surface have no epoch."""
    paths = [
        pd.DataFrame({"lane": name, "epoch": epochs, "x": path[:, 0], "y": path[:, 1], "loss": along})
        for name, epochs, path, along in zip(sample.names, sample.epochs, sample.paths, sample.losses, strict=True)
    ]
    x, y = np.meshgrid(sample.x, sample.y)
    surface = pd.DataFrame(
        {"lane": "surface", "epoch": np.nan, "x": x.ravel(), "y": y.ravel(), "loss": sample.surface.ravel()}
    )
    return pd.concat([*paths, surface], ignore_index=True)


def csv(session: Session, view: str) -> io.StringIO:
    """The view's table as text."""
    return io.StringIO(table(session, view).to_csv(index=False))


def parquet(session: Session, view: str) -> io.BytesIO:
    """The view's table as Parquet."""
    return io.BytesIO(table(session, view).to_parquet(index=False))


def experiment(session: Session) -> xr.DataTree:
    """Everything: a group for each lane, with its losses, its outcomes and its settings, and under it what was sampled
    of it; a group for the landscape."""
    groups = {}
    for place, lane in enumerate(session.lanes, 1):
        if lane.outcomes is not None:
            groups[f"lane {place}"] = _group(lane)
            sampled = {"inside": [inside(sample) for sample in lane.inside]}
            sampled["function"] = [] if lane.learnt is None else [function(lane.learnt)]
            groups |= {f"lane {place}/{name}": _rows(tables) for name, tables in sampled.items() if tables}
    if session.landscape is not None:
        groups["landscape"] = _rows([landscape(session.landscape)])
    if not groups or session.plan is None:
        raise ValueError("There is nothing to download yet: press Start first.")
    root = xr.Dataset(attrs={"seeds": list(session.plan.seeds), "precision": session.plan.precision})
    return xr.DataTree.from_dict({"/": root, **groups})


def netcdf(session: Session) -> io.BytesIO:
    """The whole experiment as one NetCDF file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "experiment.nc"
        experiment(session).to_netcdf(file, engine="h5netcdf")
        return io.BytesIO(file.read_bytes())


def page(panel: Any, title: str) -> io.StringIO:
    """The figures of a view as a page that needs no server and no network; hover and zoom stay."""
    figures = [model for pane in shown(panel) for model, _ in pane._models.values()]
    if not figures:
        raise ValueError("There is nothing to download yet: the view has no figure.")
    script, boxes = components(figures)
    # Bokeh alone: its `file_html` would add what Panel needs for widgets, from files that such a page cannot reach.
    library = (Path(settings.bokehjs_path()) / "js" / "bokeh.min.js").read_text(encoding="utf-8")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><script>{library}</script>'
    return io.StringIO(f"<!doctype html><html><head>{head}</head><body>{''.join(boxes)}{script}</body></html>")


def shown(panel: Any) -> Iterator[pn.pane.HoloViews]:
    """The plots that are visible in a layout."""
    if not panel.visible:
        return
    if isinstance(panel, pn.pane.HoloViews):
        yield panel
    parts: Sequence[Any] = getattr(panel, "objects", ())
    for part in parts:
        if isinstance(part, pn.viewable.Viewable):
            yield from shown(part)


def _rows(tables: Sequence[pd.DataFrame]) -> xr.Dataset:
    return pd.concat(tables, ignore_index=True).rename_axis("row").to_xarray()


def _named(lane: Lane, rows: pd.DataFrame) -> pd.DataFrame:
    own = {"lane": lane.name, "num_hidden_layers": lane.challenge.num_hidden_layers}
    return pd.concat([pd.DataFrame(own, index=rows.index), rows], axis=1)


def _group(lane: Lane) -> xr.Dataset:
    assert lane.shown is not None
    assert lane.outcomes is not None
    table = lane.outcomes.rename_axis("run").to_xarray()
    history = lane.shown.to_xarray()
    renamed = table.rename({name: f"final_{name}" for name in (*LOSSES, "seconds")})
    both = history.merge(renamed.drop_vars([name for name in renamed.data_vars if name in history.coords]))
    settings = {"challenge": lane.challenge.values, "optimizer": lane.optimizer.key, **lane.optimizer.values}
    return both.assign_attrs(name=lane.name, settings=json.dumps(settings, default=str))
