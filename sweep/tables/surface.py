"""Tables of the surface around the patch: scaling, crossover, best ceiling, Pareto, counters.

Each is a pure function of results. A point's coordinates are what tells points apart by the plan's axes; `jobs` becomes
jobs per CPU where the grid gives it as a share of `cores`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.tables.coordinates import coordinates
from sweep.tables.replicas import means

SHARES = (0.01, 0.1, 0.5)
PASSED = {  # of each cost, what a policy is asked to stay below
    "ratio": (1.1, 1.5, 2.0, 10.0),
    "overhead_share": SHARES,
    "sender_overhead_share": SHARES,
}
BUILD_COSTS = ("ratio", "system_time_s", "wall_time_s")
LOOP_COSTS = ("overhead_share", "sender_overhead_share", "elongation", "operations_per_s")
FRONTS = {"ratio": "front", "overhead_share": "front", "elongation": "elongation_front"}  # columns of `pareto`
FLAT = 0.01  # ceilings within this share of the best system time are as good as it
LINUX_CEILING = 33
TINY = 1e-9  # a ratio that has a logarithm
COUNTERS = ("nr_tlb_remote_flush_received", "nr_tlb_local_flush_one", "interrupts_per_flush", "marks_per_flush")


def costs_of(results: pd.DataFrame) -> list[str]:
    """What the flush events of builds, and of loops, are told to cost, as far as there are any of them."""
    builds, loops = (results[name].notna().any() for name in ("system_time_s", "operations_per_s"))
    return [*(BUILD_COSTS if builds or not loops else ()), *(LOOP_COSTS if loops else ())]


def scaling(results: pd.DataFrame) -> pd.DataFrame:
    """What it costs by policy and cores: of builds the ratio and times, of loops shares of time and operations."""
    if results["cores"].nunique() < 2:
        return pd.DataFrame()
    table, names = means(results, [*costs_of(results), "flush_wait_ns", "handler_share"])
    table["jobs_per_core"] = (table["jobs"] / table["cores"]).round(3)
    others = [name for name in names if name not in ("cores", "jobs")]
    relative = coordinates(results).relative.get("jobs") == "cores"
    load, other_load = ("jobs_per_core", "jobs") if relative else ("jobs", "jobs_per_core")
    order = [*others, load, "cores", other_load]
    rest = [name for name in table.columns if name not in (*order, "point")]
    return table.sort_values(order, kind="stable")[[*order, *rest, "point"]].reset_index(drop=True)


def crossover(results: pd.DataFrame) -> pd.DataFrame:
    """Cores at which each policy first passes a ratio, or a share of CPU time; NaN and a word where it never does.

    Interpolated on log axes. `metric` says what is passed, and `passes` which value of it; `largest` is the most that
    the metric is at any number of cores.
    """
    table = scaling(results)
    if not len(table):
        return table
    where = list(table.columns[: list(table.columns).index("cores")])
    rows = []
    for key, group in table.groupby(where, sort=False, dropna=False):
        if len(group) < 2 or group["policy"].iloc[0] == "vanilla":
            continue
        for metric in _passed(group):
            known = group[group[metric].notna()]  # no ratio where the base has no system time
            cores, cost = known["cores"].to_numpy(float), known[metric].to_numpy(float)
            for value in PASSED[metric]:
                at = _first_crossing(cores, cost, value)
                said = "not known" if not len(cores) else f"never up to {cores[-1]:.0f}"
                if np.isfinite(at):
                    said = f"already at {cores[0]:.0f}" if at == cores[0] else f"at {at:.0f}"
                largest = float(cost.max()) if len(cost) else float("nan")
                row = {"metric": metric, "passes": value, "cores": at, "said": said, "largest": largest}
                rows.append(dict(zip(where, key, strict=True)) | row)
    return pd.DataFrame(rows)


def _passed(group: pd.DataFrame) -> list[str]:
    """What points of one kind are asked to stay below: builds a ratio, loops shares of time."""
    loop = "operations_per_s" in group and group["operations_per_s"].notna().any()
    return [name for name in PASSED if name in group and (name == "ratio") != loop]


def _first_crossing(cores: np.ndarray, ratio: np.ndarray, threshold: float) -> float:
    above = np.flatnonzero(ratio >= threshold)
    if not len(above):
        return float("nan")
    k = int(above[0])
    if k == 0:
        return float(cores[0])
    x0, x1 = np.log(cores[k - 1 : k + 1])
    y0, y1 = np.log(np.maximum(ratio[k - 1 : k + 1], TINY))
    return float(np.exp(x0 + (np.log(threshold) - y0) / (y1 - y0) * (x1 - x0)))


def best_ceiling(results: pd.DataFrame) -> pd.DataFrame:
    """The flat stretch of ceilings around the cheapest, and the price of Linux's 33."""
    if "ceiling" not in coordinates(results).columns(results):
        return pd.DataFrame()
    table, names = means(results, ["system_time_s", "added_s"])
    where = [name for name in names if name != "ceiling"]
    rows = []
    for key, group in table.groupby(where, sort=False, dropna=False):
        if len(group) < 2 or group["policy"].iloc[0] == "vanilla":
            continue
        known = group[group["system_time_s"].notna()].sort_values("ceiling")
        stretch = _flat_stretch(known["ceiling"].to_numpy(float), known["system_time_s"].to_numpy(float))
        rows.append(dict(zip(where, key, strict=True)) | stretch)
    return pd.DataFrame(rows)


def _flat_stretch(ceilings: np.ndarray, cost: np.ndarray) -> dict[str, float]:
    """The ceilings around the cheapest that are as good as it, ascending `ceilings`; NaN of none."""
    names = "best_from best_to best_system_time_s price_of_33_s price_of_33_pct worst_system_time_s".split()
    if not len(cost):
        return dict.fromkeys(names, float("nan"))
    best = int(cost.argmin())
    good = cost <= cost[best] * (1.0 + FLAT)
    low = high = best
    while low > 0 and good[low - 1]:
        low -= 1
    while high < len(good) - 1 and good[high + 1]:
        high += 1
    linux = cost[ceilings == LINUX_CEILING]
    price = float(linux[0] - cost[best]) if len(linux) else float("nan")
    percent = 100.0 * price / cost[best] if cost[best] > 0 else float("nan")
    values = (ceilings[low], ceilings[high], cost[best], price, percent, cost.max())
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def pareto(results: pd.DataFrame) -> pd.DataFrame:
    """Cost and 99th percentile window of each policy; `front` where no other is better in one and as good in both.

    The cost of a build is its ratio; of a loop the share of CPU time that is lost, and for `elongation_front` how much
    longer an operation takes.
    """
    if results["policy"].nunique() < 2:
        return pd.DataFrame()
    costs = [name for name in (*FRONTS, "system_time_s") if name in costs_of(results)]
    windows = ["stale_window_ns", "stale_window_p99_ns"]
    table, names = means(results, [*costs, *windows])
    where = [name for name in names if name not in ("policy", "tick_hz")]  # both are choices
    groups = []
    for _, group in table.groupby(where, sort=False, dropna=False):
        known = group[np.isfinite(group["stale_window_p99_ns"])]
        first = next((name for name in FRONTS if name in costs and known[name].notna().any()), None)
        if first is not None and (known := known[np.isfinite(known[first])])["policy"].nunique() >= 2:
            windows_ns = known["stale_window_p99_ns"].to_numpy()
            for name in (first, "elongation") if first == "overhead_share" else (first,):
                cost = known[name].to_numpy(float)
                finite = np.isfinite(cost)  # no elongation where a rate leaves no time for own work
                front = np.zeros(len(known), dtype=bool)
                front[finite] = on_front(cost[finite], windows_ns[finite])
                known = known.assign(**{FRONTS[name]: front})
            groups.append(known)
    if not groups:
        return pd.DataFrame()
    together = pd.concat(groups)
    fronts = [name for name in dict.fromkeys(FRONTS.values()) if name in together]
    return together[[*names, *costs, *windows, *fronts, "point"]].reset_index(drop=True)


def on_front(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether no other point is at most as large in both and smaller in one, [point]: the Pareto front."""
    order = np.lexsort((y, x))
    ascending, least = x[order], y[order]
    begins = np.r_[True, ascending[1:] != ascending[:-1]]
    group = np.cumsum(begins) - 1
    lowest = least[begins]  # y of each x
    before = np.r_[np.inf, np.minimum.accumulate(lowest)[:-1]]  # of all smaller x
    front = np.zeros(len(x), dtype=bool)
    front[order] = (least == lowest[group]) & (least < before[group])
    return front


def counters(results: pd.DataFrame) -> pd.DataFrame:
    """The kernel's counters for the whole build."""
    table, names = means(results, list(COUNTERS))
    return table[["point", *names, *COUNTERS]]
