"""A sweep's rows as a row per point, for drawing: read column by column, settings in words, values in bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from sweep.inputs.costs import REPRESENTATIVE
from sweep.plan.points import NAMES
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables.coordinates import ALWAYS, attrs_of, coordinates
from sweep.tables.replicas import t95

METRICS = (
    "system_time_s added_s ratio wall_time_s flush_wait_ns flush_wait_p99_ns interrupts_per_flush "
    "sender_s handler_s switch_s refill_s bookkeeping_s stale_window_ns stale_window_p99_ns"
).split()
FIXED = ("machine", "workload", "policy")  # filters of the page
MOST_BINS = 64  # values on one axis; above it they are binned


def read_points(file: pq.ParquetFile) -> tuple[pd.DataFrame, list[str]]:
    """A row per point, and the parameters that the sweep varies on their own.

    `<metric>_lo` and `<metric>_hi` are the 95 % interval over replicas; under draws of the costs a row is the
    representative draw, and they are 5 and 95 % over these. Constant columns are left out, column by column, so that
    a large file does not have to fit into memory.
    """
    names = file.schema_arrow.names
    every_point = file.read(columns=["point"]).column("point").to_numpy()
    draw = file.read(columns=["draw"]).column("draw").to_numpy() if "draw" in names else np.zeros_like(every_point)
    single = draw == REPRESENTATIVE
    point = every_point[single]
    order = np.argsort(point, kind="stable")
    first = order[np.unique(point[order], return_index=True)[1]]
    count = np.bincount(np.unique(point, return_inverse=True)[1])
    columns: dict[str, Any] = {"point": point[first], "replicas": count}
    for name in (*NAMES, *PARAMETER_COLUMNS):
        if name in names:
            values = file.read(columns=[name]).column(name).to_pandas()[single].iloc[first].reset_index(drop=True)
            if name in ("policy", "machine", "workload", "cores", "jobs") or values.nunique(dropna=False) > 1:
                columns[name] = values
    groups = np.unique(point, return_inverse=True)[1]
    replicas = int(count.max())
    factor = t95(replicas - 1) / math.sqrt(replicas)
    for name in [*METRICS, *(each for each in names if each.startswith("nr_tlb_"))]:
        if name not in names:
            continue
        every = file.read(columns=[name]).column(name).to_numpy()
        values = every[single]
        mean = np.bincount(groups, values) / count
        columns[name] = mean
        with np.errstate(invalid="ignore"):
            squares = np.bincount(groups, (values - mean[groups]) ** 2)
            half = factor * np.sqrt(squares / np.maximum(count - 1, 1))
        if name == "ratio":
            columns["ratio_half"] = half  # of the replicas alone, draws or not
        columns[f"{name}_lo"], columns[f"{name}_hi"] = mean - half, mean + half
        if not single.all():
            others = pd.Series(every[~single]).groupby([(every_point - draw)[~single], draw[~single]]).mean()
            for end, quantile in (("lo", 0.05), ("hi", 0.95)):
                over = others.groupby(level=0).quantile(quantile)
                columns[f"{name}_{end}"] = over.reindex(point[first]).to_numpy()
    points = pd.DataFrame(columns)
    points.attrs |= attrs_of(file.schema_arrow.metadata)
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
    own += ["costs"] if "costs" in points else []
    return points, own


def settings_of(points: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """What these parameters are at each point, in words."""
    names = [name for name in names if name in points]
    if not names:
        return pd.Series("", index=points.index)
    codes = points.groupby(names, sort=False, dropna=False).ngroup()
    firsts = points.loc[codes.drop_duplicates().index, names]
    words = []
    for row in firsts.itertuples(index=False):
        each = dict(zip(names, row, strict=True))
        words.append(", ".join(_word(name, value) for name, value in each.items()))
    return pd.Series(np.array(words, dtype=object)[codes.to_numpy()], index=points.index)


def _word(name: str, value: Any) -> str:
    text = f"{value:g}" if isinstance(value, int | float) else str(value)
    if name == "jobs_per_core":
        return f"jobs = {text} x cores"
    return f"{text} CPUs" if name == "cores" else f"-j{text}" if name == "jobs" else f"{name} {text}"


def binned(values: pd.Series) -> pd.Series:
    """The middle of the bin of each value: equal ratios where all are above 0 and far apart, else equal widths."""
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high / low >= 8
    edges = np.geomspace(low, high, MOST_BINS + 1) if log else np.linspace(low, high, MOST_BINS + 1)
    middle = np.sqrt(edges[:-1] * edges[1:]) if log else (edges[:-1] + edges[1:]) / 2
    at = np.clip(np.searchsorted(edges, values.to_numpy(), side="right") - 1, 0, MOST_BINS - 1)
    return pd.Series([float(f"{each:.4g}") for each in middle[at]], index=values.index)
