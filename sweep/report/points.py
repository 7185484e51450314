"""A sweep's results as a row per point, for drawing, with settings in words and values in bins."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from sim.metrics import METRICS
from sweep.inputs.costs import REPRESENTATIVE
from sweep.plan.points import NAMES
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables.bands import over_draws
from sweep.tables.coordinates import ALWAYS, attrs_of, coordinates
from sweep.tables.replicas import half_width
from sweep.tables.selection import notes, rows_kept, simulated
from sweep.tables.setting import LINUX_CEILING

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
    there = file.schema_arrow.names

    def column(name: str) -> pd.Series:
        return file.read([name])[name].to_pandas()

    kept, copied = rows_kept(there, column)
    every = pd.DataFrame({name: column(name)[kept] for name in ("point", "draw", "status") if name in there})
    every = every if "draw" in there else every.assign(draw=REPRESENTATIVE)
    rows = simulated(every)
    single = rows[rows["draw"] == REPRESENTATIVE]
    has_draws = len(single) < len(rows)
    firsts = single.drop_duplicates("point").sort_values("point")
    made: dict[str, Any] = {"point": firsts["point"].to_numpy()}
    for name in (*NAMES, *PARAMETER_COLUMNS):
        if name in there:
            values = column(name)[firsts.index].reset_index(drop=True)
            if constants or name in (*FIXED, *ALWAYS) or values.nunique(dropna=False) > 1:
                made[name] = values
    points = pd.DataFrame(made).set_index("point")
    made = {"replicas": single["point"].value_counts()}
    for name in SHOWN:
        if name in there:
            values = column(name)
            over_replicas = single.assign(**{name: values})
            made[name] = over_replicas.groupby("point")[name].mean()
            if name in DRAWN:
                half = half_width(over_replicas.groupby("point")[name])
                made |= {f"{name}_lo": made[name] - half, f"{name}_hi": made[name] + half}
                made |= {"ratio_half": half} if name == "ratio" else {}  # of replicas alone, also with draws
                if has_draws:
                    over = over_draws(rows.assign(**{name: values}), [name])
                    ends = (("", "50"), ("_lo", "05"), ("_hi", "95"))
                    made |= {f"{name}{end}": over[f"{name}_{at}"] for end, at in ends}
    points = pd.concat([points, pd.DataFrame(made, index=points.index)], axis="columns").reset_index()
    planned = every.loc[every["draw"] == REPRESENTATIVE, "point"].nunique()
    points.attrs |= attrs_of(file.schema_arrow.metadata)
    points.attrs |= {"notes": notes(planned, planned - len(points), copied), "band": BANDS[has_draws]}
    return points, _own(points)


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


def carried(
    points: pd.DataFrame, own: Sequence[str], most_rows: int = MOST_ROWS, most_cells: int = MOST_CELLS
) -> pd.DataFrame:
    """The rows and columns of a page: fewer values of a parameter if there are too many points.

    Of the metrics, the most used come first. A parameter with more than MOST_BINS values is put into bins first, since
    random values differ at all points.
    `attrs["carried"]` has sentences on values left out, and `attrs["band"]` on the bands.
    """
    names = list(dict.fromkeys([*FIXED, *ALWAYS, *own]))
    ordered = dict.fromkeys(f"{name}{end}" for name in (*DRAWN, *SHOWN) for end in ("", "_lo", "_hi", "_half"))
    metrics = [name for name in ordered if name in points][: max(3 * len(DRAWN), most_cells // max(len(points), 1))]
    some, said = points[[*names, *metrics]].copy(), []
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
    some = some.reset_index(drop=True)
    some.attrs = {**points.attrs, "carried": " ".join([*said, "All are in results.parquet."] if said else [])}
    return some


def _some_values(column: pd.Series, most: int) -> np.ndarray:
    """At most this many values of a column, evenly spaced, with Linux's own if it is among them."""
    values = np.sort(column.dropna().unique())
    kept = values[np.unique(np.linspace(0, len(values) - 1, most).astype(int))]
    if column.name == "ceiling" and LINUX_CEILING in values:
        kept[np.abs(kept - LINUX_CEILING).argmin()] = LINUX_CEILING
    return kept


def binned(values: pd.Series) -> pd.Series:
    """The middle of each value's bin: equal ratios if all are positive and far apart, else equal widths."""
    low, high = float(values.min()), float(values.max())
    log = low > 0 and high / low >= 8
    edges = np.geomspace(low, high, MOST_BINS + 1) if log else np.linspace(low, high, MOST_BINS + 1)
    middle = np.sqrt(edges[:-1] * edges[1:]) if log else (edges[:-1] + edges[1:]) / 2
    at = np.clip(np.searchsorted(edges, values.to_numpy(), side="right") - 1, 0, MOST_BINS - 1)
    return pd.Series([float(f"{each:.4g}") for each in middle[at]], index=values.index)
