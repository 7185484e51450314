"""What a report draws: each plot is a small table with a row per mark, and which of its columns go where.

The page and the pictures are drawn from the same plots. Tables are aggregated here, before anything is drawn: over
replicas always, over points and into bins where a sweep is too large to show every one, and then the note says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from sim.metrics import METRICS
from sim.parameters import PARAMETERS
from sweep.inputs.likelihood import is_beyond, spread
from sweep.report.plot import PLACE, Plot
from sweep.report.points import FIXED, MOST_BINS, binned, read_points, settings_of
from sweep.report.predicted import predicted
from sweep.tables.pareto import on_front
from sweep.tables.setting import settings

PARTS = [name for name, metric in METRICS.items() if metric.part]
CHOICES = ("tick_hz",)  # of who runs the machine, as the policy is: one front holds them all
MOST_SETTINGS = 24  # lines of one colour that a plot tells apart; above it they become a median and a band
MOST_ROWS = 4000  # marks of one plot
COSTS = {  # what a picture shows of builds, and of loops: against parameters, and against the window
    False: (("ratio", "system time over vanilla's"), ("added_s", "added system time, s")),
    True: (("overhead_ns_per_operation", "CPU time that an operation loses, ns"),) * 2,
}
REPLICAS = "Means over replicas; the band is their 95 % interval, or 5 to 95 % over the draws of the costs."


@cache
def colours() -> dict[str, Any]:
    """Which name has which colour, on the page and in the pictures: Okabe and Ito's."""
    return json.loads(Path(__file__).with_name("colours.json").read_text(encoding="utf-8"))


def plots(
    file: pq.ParquetFile, tables: Mapping[str, pd.DataFrame], fitted: Collection[str] = (), answer: str = "points"
) -> list[Plot]:
    """Every plot that the results and some of their tables allow, the one that carries the answer first.

    `fitted` are the machines that costs were fitted to: of several, one of them is shown first. `answer` is the name of
    the answer that the grid asks for.
    """
    reproduction = tables.get("reproduction")
    points, own = read_points(file)
    if "validation" in tables:
        return [*predicted(tables["validation"]), listing(points, own)]
    made: list[Plot | None] = [parts(points, own)]
    numeric = [name for name in own if name != "jobs_per_core" and points[name].dtype.kind in "fi"]
    ordered: list[str] = [name for name in ("cores", "jobs", "ceiling") if name in numeric]
    ordered += [name for name in numeric if name not in ordered]
    loops = is_of_loops(points)
    made += [lines(points, own, x, *COSTS[loops][0], fitted) for x in ordered[:6]]
    made += [heat(points, own), front(points, own, fitted)]
    made.append(listing(points, own))
    if reproduction is not None and len(reproduction):
        made.append(measured(reproduction))
    there = [plot for plot in made if plot is not None]
    cost = COSTS[loops][0][0]
    shown = {
        "reproduction": "measured",
        "crossover": f"{cost}_cores",
        "jobs": f"{cost}_jobs",
        "best_ceiling": "ceiling",
    }
    first = (shown | {"pareto": "front"}).get(answer, "parts")
    return sorted(there, key=lambda plot: (plot.name != first, plot.name == "points"))


def is_of_loops(points: pd.DataFrame) -> bool:
    """Whether no point is a build, so that there is no system time to draw."""
    return not np.isfinite(points["ratio"]).any() and bool(points["overhead_share"].notna().any())


def measured(table: pd.DataFrame) -> Plot:
    """The published system times beside every prediction that the table has (`<name>_s`, `<name>_lo_s`, ...)."""
    names = [str(each).removesuffix("_s") for each in table.columns if str(each).endswith("_s")]
    predictions = [each for each in names if not each.endswith(("_lo", "_hi")) and each != "measured"]
    columns = list(map(str, table.columns))
    settings = columns[columns.index("jobs") + 1 : columns.index("measured_s")]  # that the measurement does not say
    rows = []
    for _, row in table.iterrows():
        setting = "".join(f", {name} {_shown(row[name])}" for name in settings if row[name] == row[name])
        what = f"{row['machine']}, {row['cores']} CPUs, -j{row['jobs']}{setting}: {row['policy']}"
        for name in ["measured", *(each for each in predictions if f"{each}_lo" in names)]:
            keep = {key: row[key] for key in ("machine", "policy", "cores", "jobs")}
            ends = {end: row.get(f"{name}_{end}_s", math.nan) for end in ("lo", "hi")}
            error = 100.0 * (row[f"{name}_s"] / row["measured_s"] - 1.0) if name != "measured" else math.nan
            rows.append(
                {**keep, "what": what, "source": name, "system_time_s": row[f"{name}_s"]}
                | {"system_time_s_lo": ends["lo"], "system_time_s_hi": ends["hi"], "error_pct": error}
            )
    note = (
        "Simulated: mean and 95 % interval over replicas, or under draws of the costs where 90 % of measurements would "
        "lie. No spread of the measurements was ever published."
    )
    return Plot(
        "measured", "Measured against simulated", note, "dots", pd.DataFrame(rows), "system_time_s", "what",
        labels={"system_time_s": "system time of the build, s"}, series="source", log=("system_time_s",),
    )  # fmt: skip


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def parts(points: pd.DataFrame, own: Sequence[str]) -> Plot | None:
    """What the added system time is made of, for a handful of points."""
    some = points[
        (points["policy"] != "vanilla") & points[[part for part in PARTS if part in points]].notna().any(axis=1)
    ]
    if not 0 < len(some) <= MOST_SETTINGS:
        return None
    text = settings_of(
        some, ["cores", "jobs", *(name for name in own if name not in ("cores", "jobs", "jobs_per_core"))]
    )
    where = some["policy"] + " on " + some["machine"].astype(str) + ", " + text
    long = [
        some[[*FIXED]].assign(what=where, part=part.removesuffix("_s"), seconds=some[part])
        for part in PARTS
        if part in some
    ]
    return Plot(
        "parts", "What the added system time is made of",
        "Means over replicas. Where handlers are booked as interrupt time, their part is negative.", "stack",
        pd.concat(long, ignore_index=True), "seconds", "what", series="part",
        labels={"seconds": "added system time, s"},
    )  # fmt: skip


def lines(
    points: pd.DataFrame, own: Sequence[str], x: str, y: str, meaning: str, fitted: Collection[str] = ()
) -> Plot | None:
    """One metric against one parameter, a line per policy and setting of what else varies."""
    others = [name for name in own if name not in (x, "jobs_per_core" if x == "jobs" else "jobs")]
    if x != "jobs" and "jobs" in own and "jobs_per_core" not in own:
        others.append("jobs")
    table, note = _gathered(points, x, y, others)
    if table is None:
        return None
    length = table.groupby([*FIXED, "setting"], sort=False)[x].transform("size")
    table = table[length >= (2 if length.max() == 2 and not others else 3)].reset_index(drop=True)
    if table.empty:
        return None
    wide = bool((table[x] > 0).all() and table[x].max() / table[x].min() >= 8)
    label = _plain(x)
    beyond = spread().cores if x == "cores" and is_beyond(table[x]).any() else None
    if beyond is not None:
        note = f"{note} Shaded: beyond {beyond:g} CPUs no build was measured."
    made = Plot(
        f"{y}_{x}", f"{meaning[0].upper()}{meaning[1:]}, against {label}", note, "lines", table, x, y,
        labels={x: _with_unit(x), y: meaning}, beyond=beyond,
        log=((x,) if wide else ()) + ((y,) if (table[y] > 0).all() else ()),
    )  # fmt: skip
    with_setting = points.assign(setting=settings_of(points, others) if table["setting"].any() else "")
    return _begun(made, with_setting, others, ("setting", x), fitted)


def _gathered(points: pd.DataFrame, x: str, y: str, others: Sequence[str]) -> tuple[pd.DataFrame | None, str]:
    some = points[[*FIXED, x, y, f"{y}_lo", f"{y}_hi"]].copy()
    some = some[np.isfinite(some[y]) & some[x].notna()]
    if some.empty:
        return None, ""
    notes = []
    if some[x].nunique() > MOST_BINS:
        some[x] = binned(some[x])
        notes.append(f"{x} is drawn in {MOST_BINS} bins.")
    some["setting"] = settings_of(points.loc[some.index], others)
    rows = some.groupby([*FIXED, "setting", x], sort=False).ngroups
    if some["setting"].nunique() > MOST_SETTINGS or rows > MOST_ROWS:
        notes.append(f"Medians over everything else that varies ({', '.join(others)}), the band from 5 to 95 % of it.")
        some["setting"] = ""
        grouped = some.groupby([*FIXED, "setting", x], sort=False)[y]
        table = grouped.median().to_frame(y)
        table[f"{y}_lo"], table[f"{y}_hi"] = grouped.quantile(0.05), grouped.quantile(0.95)
    else:
        notes.append(REPLICAS)
        grouped = some.groupby([*FIXED, "setting", x], sort=False)
        table = grouped[[y, f"{y}_lo", f"{y}_hi"]].mean()
    table["points"] = grouped.size()
    return table.reset_index().sort_values([*FIXED, "setting", x], ignore_index=True), " ".join(notes)


def heat(points: pd.DataFrame, own: Sequence[str]) -> Plot | None:
    """System time over ceiling and a second parameter, with the best ceiling of every row."""
    numeric = [name for name in own if points[name].dtype.kind in "fi" and name not in ("ceiling", "jobs_per_core")]
    down = next((name for name in ("cores", "jobs") if name in numeric), next(iter(numeric), None))
    if "ceiling" not in own or down is None:
        return None
    some = points[(points["policy"] != "vanilla") & np.isfinite(points["ratio"])].copy()
    if some.empty:
        return None
    notes = [
        "Means over replicas. A ring marks the best ceiling of its row: the smallest that is within the best one's "
        "95 % interval."
    ]
    for name in ("ceiling", down):
        if some[name].nunique() > MOST_BINS:
            some[name] = binned(some[name])
            notes.append(f"{name} is drawn in {MOST_BINS} bins.")
    rest = [name for name in own if name not in ("ceiling", down, "jobs" if "jobs_per_core" in own else "")]
    some["setting"] = settings_of(some, rest)
    keys = [*FIXED, "setting", down, "ceiling"]
    if some["setting"].nunique() > MOST_SETTINGS or some.groupby(keys, sort=False).ngroups > MOST_ROWS:
        some["setting"] = ""
        notes.append(f"Medians over everything else that varies ({', '.join(rest)}).")
    table = some.groupby(keys, sort=False)[["ratio", "ratio_half"]].median().reset_index()
    table = table.sort_values(keys, ignore_index=True)
    least = table.loc[table.groupby([*FIXED, "setting", down])["ratio"].transform("idxmin")].reset_index(drop=True)
    near = table["ratio"] <= least["ratio"] + least["ratio_half"].fillna(0.0)
    table["best"] = False
    table.loc[table[near].groupby([*FIXED, "setting", down])["ceiling"].idxmin(), "best"] = True
    table = table.drop(columns="ratio_half")
    return Plot(
        "ceiling", "The ceiling of single-page flushes, and the best one", " ".join(notes), "heat", table, "ceiling",
        down, "ratio", labels={"ceiling": "tlb_single_page_flush_ceiling, pages", down: _with_unit(down)}
        | {"ratio": "system time over vanilla's"},
    )  # fmt: skip


def front(points: pd.DataFrame, own: Sequence[str], fitted: Collection[str] = ()) -> Plot | None:
    """Overhead against the stale window, and the points that nothing beats in both."""
    x, (y, meaning) = "stale_window_p99_ns", COSTS[is_of_loops(points)][1]
    if x not in points:
        return None
    drawable = (points[x] > 0) & (points[y] > 0)  # on logarithmic axes; NaN is neither
    some = points[drawable & (points["policy"] != "vanilla")].copy()
    if some.empty:
        return None
    rest = [name for name in ("cores", "jobs_per_core", "jobs") if name in own] + _rest(own)
    apart = [name for name in rest if name not in CHOICES]
    some["setting"] = settings_of(some, apart)
    keys = [*FIXED, "setting", *(name for name in CHOICES if name in own)]
    note = "Means over replicas. The line is the Pareto front: nothing is better than its points in both."
    if some.groupby(keys, sort=False).ngroups > MOST_ROWS:
        some["setting"] = settings_of(some, ["cores"])
        keys = [*FIXED, "setting"]
        note = f"Medians of {len(some)} points by machine, workload, policy and cores. " + note
    shown = [x, y, "ratio" if y == "added_s" else "elongation"]
    table = some.groupby(keys, sort=False, dropna=False)[shown].median().reset_index()
    table["front"] = False
    for _, mine in table.groupby([*PLACE, "setting"], sort=False):
        table.loc[mine.index, "front"] = on_front(mine[x].to_numpy(), mine[y].to_numpy())
    made = Plot(
        "front", "Overhead against the stale window", note, "scatter", table, x, y,
        labels={x: "stale window, 99th percentile", y: meaning}, log=(x, y),
    )  # fmt: skip
    return _begun(made, some, rest, ("setting", *CHOICES), fitted)


def _begun(
    made: Plot, points: pd.DataFrame, names: Sequence[str], apart: Sequence[str], fitted: Collection[str]
) -> Plot:
    """The plot, beginning with the panel that the answer speaks of; `names` tell points apart, `apart` the plot."""
    ordered = points.iloc[np.argsort(~points["machine"].isin(fitted).to_numpy(), kind="stable")]
    row = next(settings(ordered[[*FIXED, *names, "setting"]], apart, 1))[1].iloc[0]
    here = (made.table[[*PLACE, "setting"]] == row[[*PLACE, "setting"]]).all(axis="columns")
    return replace(made, spoken_of=made.panels()[here].iloc[0]) if here.any() else made


def listing(points: pd.DataFrame, own: Sequence[str]) -> Plot:
    """The points themselves, as many as a page carries."""
    keep = [*FIXED, "cores", "jobs", *_rest(own)]
    shown = [name for name, metric in METRICS.items() if metric.main and name in points]
    table = points[list(dict.fromkeys([*keep, *shown]))]
    note = "Means over replicas."
    if len(table) > 1000:
        pick = np.unique(np.linspace(0, len(table) - 1, 1000).astype(int))
        table, note = table.iloc[pick], f"1000 of {len(table)} points, evenly spaced; all are in results.parquet."
    note = " ".join([*points.attrs.get("notes", []), *([note] if len(table) else [])])
    return Plot("points", "The points", note, "table", table.reset_index(drop=True), series="policy")


def _rest(own: Sequence[str]) -> list[str]:
    return [name for name in own if name not in ("cores", "jobs", "jobs_per_core")]


def _plain(name: str) -> str:
    return {"cores": "logical CPUs", "jobs": "make -j"}.get(name, name)


def _with_unit(name: str) -> str:
    if name in ("cores", "jobs"):
        return _plain(name)
    return f"{name}, {PARAMETERS[name].unit}" if name in PARAMETERS else name
