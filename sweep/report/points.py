"""A sweep's results as a row per point, for drawing, with settings in words and values in bins."""

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
from sweep.tables.setting import LINUX_CEILING, word

SHOWN = [name for name, metric in METRICS.items() if metric.main or metric.part]
DRAWN = ("ratio", "added_s", "overhead_ns_per_operation", "flush_wait_ns", "stale_window_p99_ns")  # with intervals
FIXED = ("machine", "workload", "policy")  # filters of the page
MOST_BINS = 64  # values on one axis; above it they are binned
MOST_ROWS = 24_000  # of a page
MOST_CELLS = 320_000  # numbers of metrics on a page
BANDS = {  # by whether there are cost samples
    False: "Means over replicas; a band is their 95 % interval.",
    True: "Medians over cost samples; a band is 5 to 95 % of them.",
}


def read_points(file: pq.ParquetFile, constants: bool = False) -> tuple[pd.DataFrame, list[str]]:
    """A row per simulated point, and the parameters that vary independently.

    `<metric>_lo` and `<metric>_hi` of DRAWN metrics are the 95 % interval over replicas. With cost samples DRAWN
    metrics are medians over these, with 5 and 95 %, and the others are of the representative draw. Constant columns are
    left out unless `constants`; columns are read one by one, since a large file may not fit into memory.
    `attrs["notes"]` are sentences on missing points.
    """
    names = file.schema_arrow.names
    every_point = _column(file, "point")
    draw = _column(file, "draw") if "draw" in names else np.zeros_like(every_point)
    ok = pc.equal(file.read(columns=["status"])["status"], OK).to_numpy() if "status" in names else draw == draw
    rows = np.flatnonzero((draw == REPRESENTATIVE) & ok)
    first = rows[np.unique(every_point[rows], return_index=True)[1]]  # one row for each point
    points = _settings(file, first, constants).assign(point=every_point[first])
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
                for column, share in ((name, 0.5), (f"{name}_lo", 0.05), (f"{name}_hi", 0.95)):
                    made[column] = over.quantile(share).reindex(points["point"]).to_numpy()
    points = pd.concat([points, pd.DataFrame(made)], axis="columns")
    points.attrs |= attrs_of(file.schema_arrow.metadata)
    points.attrs |= {"notes": said, "band": BANDS[bool(len(others))]}
    return points, _own(points)


def _column(file: pq.ParquetFile, name: str) -> np.ndarray:
    return file.read(columns=[name]).column(name).to_numpy()


def _settings(file: pq.ParquetFile, rows: np.ndarray, constants: bool) -> pd.DataFrame:
    """Names and parameters of these rows; constant ones only if `constants`."""
    columns: dict[str, Any] = {}
    for name in (*NAMES, *PARAMETER_COLUMNS):
        if name in file.schema_arrow.names:
            values = file.read(columns=[name]).column(name).take(rows).to_pandas()
            if (
                name in ("policy", "machine", "workload", "cores", "jobs")
                or constants
                or values.nunique(dropna=False) > 1
            ):
                columns[name] = values
    return pd.DataFrame(columns)


def _over_replicas(name: str, values: np.ndarray, groups: np.ndarray) -> dict[str, np.ndarray]:
    """The mean of each group of rows; for DRAWN metrics also the 95 % interval."""
    rows = pd.DataFrame({"group": groups, name: values})
    mean = rows.groupby("group")[name].mean().to_numpy()
    if name not in DRAWN:
        return {name: mean}
    half = half_widths(rows, ["group"], name).sort_index().to_numpy()
    made = {name: mean, f"{name}_lo": mean - half, f"{name}_hi": mean + half}
    return made | ({"ratio_half": half} if name == "ratio" else {})  # of replicas alone, also with draws


def _own(points: pd.DataFrame) -> list[str]:
    """The parameters that vary independently; `jobs_per_core` if jobs are shares of cores."""
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
    """The values of these parameters at each point, in words, if they vary on a machine and workload."""
    names = [name for name in names if name in points and not (name == "jobs" and "jobs_per_core" in names)]
    varied = points.groupby(["machine", "workload"], sort=False)[names].nunique(dropna=False).max() > 1
    names = [name for name in names if name in ("cores", "jobs") or varied[name]]  # without constant ones
    if not names:
        return pd.Series("", index=points.index)
    codes = points.groupby(names, sort=False, dropna=False).ngroup()
    firsts = points.loc[codes.drop_duplicates().index, names]
    words = []
    for row in firsts.itertuples(index=False):
        words.append(", ".join(said for name, value in zip(names, row, strict=True) for said in word(name, value)))
    return pd.Series(np.array(words, dtype=object)[codes.to_numpy()], index=points.index)


def carried(
    points: pd.DataFrame, own: Sequence[str], most_rows: int = MOST_ROWS, most_cells: int = MOST_CELLS
) -> pd.DataFrame:
    """The rows and columns of a page: fewer values of a parameter if there are too many points.

    A parameter with more than MOST_BINS values is put into bins first, since random values differ at all points.
    `attrs["carried"]` has sentences on values left out, and `attrs["band"]` on the bands.
    """
    names = list(dict.fromkeys([*FIXED, *ALWAYS, *own]))
    some, said = points[[*names, *_metrics(points, len(points), most_cells)]].copy(), []
    numeric = [name for name in own if some[name].dtype.kind in "fi"]
    for name in numeric:
        if some[name].nunique() > MOST_BINS:
            some[name] = binned(some[name])
            said.append(f"{name} is in {MOST_BINS} bins; each shows its median.")
    if said:
        some = some.groupby(names, sort=False, dropna=False).median(numeric_only=True).reset_index()
    for most in (32, 16, 8, 5, 3, 2, 1):
        for name in sorted(numeric, key=lambda name: (name == "cores", -some[name].nunique())):
            if len(some) > most_rows:
                kept = _some_values(some[name], most)
                if len(kept) < some[name].nunique():
                    said = [each for each in said if not each.endswith(f"values of {name}.")]
                    said.append(f"The page has {len(kept)} of {points[name].nunique()} values of {name}.")
                    some = some[some[name].isin(kept)]
    some = some[[*names, *_metrics(some, len(some), most_cells)]].reset_index(drop=True)
    some.attrs = {**points.attrs, "carried": " ".join([*said, "All are in results.parquet."] if said else [])}
    return some


def _metrics(points: pd.DataFrame, rows: int, most_cells: int) -> list[str]:
    """The metrics that fit on a page, with their bands, most used first."""
    most = max(3 * len(DRAWN), most_cells // max(rows, 1))
    known = [name for name in points if name in SHOWN]
    ordered = [*(name for name in DRAWN if name in known), *(name for name in known if name not in DRAWN)]
    columns = [c for name in ordered for c in (name, f"{name}_lo", f"{name}_hi", f"{name}_half") if c in points]
    return columns[:most]


def _some_values(column: pd.Series, most: int) -> np.ndarray:
    """At most this many values of a column, evenly spaced, with Linux's own if it is among them."""
    values = np.sort(column.dropna().unique())
    kept = values[np.unique(np.linspace(0, len(values) - 1, most).astype(int))]
    linux = values[values == LINUX_CEILING] if column.name == "ceiling" else values[:0]
    return np.unique(np.concatenate([kept[len(linux) :] if len(kept) > 1 else kept[:0], linux])) if len(linux) else kept


def binned(values: pd.Series) -> pd.Series:
    """The middle of each value's bin: equal ratios if all are positive and far apart, else equal widths."""
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high / low >= 8
    edges = np.geomspace(low, high, MOST_BINS + 1) if log else np.linspace(low, high, MOST_BINS + 1)
    middle = np.sqrt(edges[:-1] * edges[1:]) if log else (edges[:-1] + edges[1:]) / 2
    at = np.clip(np.searchsorted(edges, values.to_numpy(), side="right") - 1, 0, MOST_BINS - 1)
    return pd.Series([float(f"{each:.4g}") for each in middle[at]], index=values.index)
