"""A sweep's rows as a row per point, for drawing: read column by column, settings in words, values in bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sim.metrics import METRICS
from sweep.inputs.costs import REPRESENTATIVE
from sweep.plan.points import NAMES
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables.coordinates import ALWAYS, attrs_of, coordinates
from sweep.tables.replicas import half_widths
from sweep.tables.selection import OK, copies, notes
from sweep.tables.setting import word

SHOWN = [name for name, metric in METRICS.items() if metric.main or metric.part]
DRAWN = ("ratio", "overhead_ns_per_operation")  # with intervals
FIXED = ("machine", "workload", "policy")  # filters of the page
MOST_BINS = 64  # values on one axis; above it they are binned


def read_points(file: pq.ParquetFile) -> tuple[pd.DataFrame, list[str]]:
    """A row per point that was simulated, and the parameters that the sweep varies on their own.

    `<metric>_lo` and `<metric>_hi` of what is DRAWN are the 95 % interval over replicas; under draws of the costs a row
    is the representative draw, and they are 5 and 95 % over these. Constant columns are left out, column by column, so
    that a large file does not have to fit into memory. `attrs["notes"]` says which points are not there.
    """
    names = file.schema_arrow.names
    every_point = _column(file, "point")
    draw = _column(file, "draw") if "draw" in names else np.zeros_like(every_point)
    ok = pc.equal(file.read(columns=["status"])["status"], OK).to_numpy() if "status" in names else draw == draw
    rows = np.flatnonzero((draw == REPRESENTATIVE) & ok)
    first = rows[np.unique(every_point[rows], return_index=True)[1]]  # of each point
    points = _settings(file, first).assign(point=every_point[first])
    copied = copies(points[name] for name in (*NAMES, *PARAMETER_COLUMNS) if name in points)
    planned = np.unique(every_point[draw == REPRESENTATIVE]).size
    said = notes(planned, planned - len(points), int(copied.sum()))
    points = points[~copied].reset_index(drop=True)
    rows = rows[np.isin(every_point[rows], points["point"])]
    others = np.flatnonzero((draw != REPRESENTATIVE) & ok)
    groups = np.unique(every_point[rows], return_inverse=True)[1]
    points = points.assign(replicas=np.bincount(groups))
    made: dict[str, np.ndarray] = {}
    for name in SHOWN:
        if name in names:
            values = _column(file, name)
            made |= _over_replicas(name, values[rows], groups)
            if len(others) and name in DRAWN:
                by = [(every_point - draw)[others], draw[others]]
                over = pd.Series(values[others]).groupby(by).mean().groupby(level=0)
                for end, share in (("lo", 0.05), ("hi", 0.95)):
                    made[f"{name}_{end}"] = over.quantile(share).reindex(points["point"]).to_numpy()
    points = pd.concat([points, pd.DataFrame(made)], axis="columns")
    points.attrs |= attrs_of(file.schema_arrow.metadata)
    points.attrs["notes"] = said
    return points, _own(points)


def _column(file: pq.ParquetFile, name: str) -> np.ndarray:
    return file.read(columns=[name]).column(name).to_numpy()


def _settings(file: pq.ParquetFile, rows: np.ndarray) -> pd.DataFrame:
    """Names and parameters of these rows, as far as they are not constant."""
    columns: dict[str, Any] = {}
    for name in (*NAMES, *PARAMETER_COLUMNS):
        if name in file.schema_arrow.names:
            values = file.read(columns=[name]).column(name).take(rows).to_pandas()
            if name in ("policy", "machine", "workload", "cores", "jobs") or values.nunique(dropna=False) > 1:
                columns[name] = values
    return pd.DataFrame(columns)


def _over_replicas(name: str, values: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    """The mean of each group of rows, and of what is drawn with it its 95 % interval."""
    rows = pd.DataFrame({"group": groups, name: values})
    mean = rows.groupby("group")[name].mean().to_numpy()
    if name not in DRAWN:
        return {name: mean}
    half = half_widths(rows, ["group"], name).sort_index().to_numpy()
    made = {name: mean, f"{name}_lo": mean - half, f"{name}_hi": mean + half}
    return made | ({"ratio_half": half} if name == "ratio" else {})  # of the replicas alone, draws or not


def _own(points: pd.DataFrame) -> list[str]:
    """The parameters that the sweep varies on their own; `jobs_per_core` where jobs are shares of cores."""
    told_apart = coordinates(points)
    own = [name for name in PARAMETER_COLUMNS if name in (*ALWAYS, *told_apart.own) and name in points]
    own = [name for name in own if points[name].nunique(dropna=False) > 1]
    if told_apart.relative.get("jobs") == "cores" and {"cores", "jobs"} <= set(own):
        share = (points["jobs"] / points["cores"]).round(6)
        if share.nunique() == 1:
            own.remove("jobs")
        else:
            points["jobs_per_core"] = share
            own.append("jobs_per_core")
    return own + (["costs"] if "costs" in points else [])


def settings_of(points: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """What these parameters are at each point, in words, as far as they vary on a machine and workload."""
    names = [name for name in names if name in points and not (name == "jobs" and "jobs_per_core" in names)]
    varied = points.groupby(["machine", "workload"], sort=False)[names].nunique(dropna=False).max() > 1
    names = [name for name in names if name in ("cores", "jobs") or varied[name]]  # the others say nothing
    if not names:
        return pd.Series("", index=points.index)
    codes = points.groupby(names, sort=False, dropna=False).ngroup()
    firsts = points.loc[codes.drop_duplicates().index, names]
    words = []
    for row in firsts.itertuples(index=False):
        words.append(", ".join(said for name, value in zip(names, row, strict=True) for said in word(name, value)))
    return pd.Series(np.array(words, dtype=object)[codes.to_numpy()], index=points.index)


def binned(values: pd.Series) -> pd.Series:
    """The middle of the bin of each value: equal ratios where all are above 0 and far apart, else equal widths."""
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high / low >= 8
    edges = np.geomspace(low, high, MOST_BINS + 1) if log else np.linspace(low, high, MOST_BINS + 1)
    middle = np.sqrt(edges[:-1] * edges[1:]) if log else (edges[:-1] + edges[1:]) / 2
    at = np.clip(np.searchsorted(edges, values.to_numpy(), side="right") - 1, 0, MOST_BINS - 1)
    return pd.Series([float(f"{each:.4g}") for each in middle[at]], index=values.index)
