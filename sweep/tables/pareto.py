"""Cost and stale window of each policy, and the policies that no other one beats in both."""

import numpy as np
import pandas as pd

from sim.policies import Policies
from sweep.tables import crossover
from sweep.tables.replicas import costs_of, means
from sweep.tables.setting import settings
from sweep.tables.words import COSTS, PLACE, Answer, Tables, banded, duration, enumerated, estimate, factor, few, unmet

OF_LOOPS = "overhead_ns_per_operation"
FRONTS = {"ratio": "front", OF_LOOPS: "front", "elongation": "elongation_front"}  # columns of `pareto`
WINDOW = "stale_window_p99_ns"
MOST_OF_FRONT = 4  # policies that a sentence names


def pareto(results: pd.DataFrame) -> pd.DataFrame:
    """Cost and 99th percentile window of each policy; `front` if no other is better in one and as good in both.

    The cost of a build is its ratio. The cost of a loop is the CPU time lost per operation on all busy CPUs, and for
    `elongation_front` the elongation. A share of time would depend on each policy's own pace.
    """
    if results["policy"].nunique() < 2:
        return pd.DataFrame()
    costs = [name for name in (*FRONTS, "system_time_s", "operations_per_s") if name in costs_of(results)]
    windows = ["stale_window_ns", "stale_window_p99_ns"]
    table, names = means(results, [*costs, *windows])
    table = table[np.isfinite(table[WINDOW])]
    where = [name for name in names if name not in ("policy", "tick_hz")]  # both are choices
    left, made = table.assign(group=table.groupby(where, sort=False, dropna=False).ngroup()), []
    for first in [name for name in FRONTS if name in costs]:  # a group is compared by its first known cost
        here = left[first].notna().groupby(left["group"]).transform("any")
        mine, left = left[here & np.isfinite(left[first])], left[~here]
        mine = mine[mine.groupby("group")["policy"].transform("nunique") >= 2]
        for name in (first, "elongation") if first == OF_LOOPS else (first,):
            finite = mine[np.isfinite(mine[name])]  # no elongation where a rate leaves no time for own work
            front = on_front(*(finite[column].to_numpy() for column in (name, WINDOW, "group")))
            mine = mine.assign(**{FRONTS[name]: mine.index.isin(finite.index[front])})
        made.append(mine)
    together = pd.concat(made).sort_values("group", kind="stable", ignore_index=True)
    shown = [*names, *costs, "rate_met", *windows, *dict.fromkeys(FRONTS.values()), "point"]
    return together[[name for name in shown if name in together]]


def on_front(x: np.ndarray, y: np.ndarray, group: np.ndarray | int = 0) -> np.ndarray:
    """Whether no other point of its group is at most as large in both and smaller in one, [point]: the Pareto front."""
    points = pd.DataFrame({"group": group, "x": x, "y": y})
    lowest = points.groupby(["group", "x"])["y"].min()
    of_smaller_x = lowest.groupby("group").cummin().groupby("group").shift(fill_value=np.inf)
    best = lowest.where(lowest < of_smaller_x).rename("best")
    return np.asarray(points["y"] == points.join(best, on=["group", "x"])["best"])


def answer(tables: Tables) -> Answer:
    """The front with its windows, and for closed loops the number of CPUs from which they exceed a share of time."""
    table = tables["pareto"]
    cost = "ratio" if "ratio" in table and table["ratio"].notna().any() else OF_LOOPS
    sentences, shown = [], []
    for where, rows in settings(table[table[cost].notna()], ("policy", "tick_hz"), 3):
        best = f"no policy beats these in both cost and p99 stale window: {_unbeaten(rows[rows['front']], cost)}."
        sentences.append(f"{where}: {best}{_without(rows, cost)}")
        shown.append(rows.sort_values(cost))
    if not sentences:
        return Answer([])
    together = pd.concat(shown, ignore_index=True)
    names = [name for name in ("tick_hz", *PLACE) if name in together and together[name].nunique() > 1]
    each = together.to_dict("records")
    head = "over vanilla's" if cost == "ratio" else "CPU time an operation"
    columns = {"policy": together["policy"], head: [estimate(row, cost, COSTS[cost]) for row in each],
               "window p99": together[WINDOW].map(duration), **together[names].astype(str)}  # fmt: skip
    if cost == OF_LOOPS:
        columns["operation takes"] = [estimate(row, "elongation", factor) for row in each]
    columns["front"] = np.where(together["front"], "yes", "")
    if "crossover" in tables and "overhead_share" in set(tables["crossover"]["metric"]):
        sentences[2:] = crossover.answer(tables).sentences[:1]
    return Answer(sentences[:3], pd.DataFrame(columns))


def _unbeaten(front: pd.DataFrame, cost: str) -> str:
    """The policies of a front with their costs and windows, the cheapest first."""
    said = []
    for row in front.drop_duplicates(["policy", cost]).sort_values(cost).to_dict("records"):
        much = estimate(row, cost, COSTS[cost])
        if cost == OF_LOOPS:
            long = unmet(row) or f"which takes {banded(row, 'elongation', factor)} as long"
            much += f" of CPU time an operation, {long}"
        said.append(f"{row['policy']}, {much}, window {duration(row[WINDOW])}")
    return "; ".join(few(said, MOST_OF_FRONT))


def _without(rows: pd.DataFrame, cost: str) -> str:
    """Preconditions of policies on the front, and the cheapest policy without any; empty if there are none."""
    known = Policies()
    needs = {name: known[name].presupposes for name in rows["policy"].unique() if name in known}
    missing = [name for name in rows[rows["front"]]["policy"].unique() if needs.get(name)]
    others = rows[[not needs.get(name) for name in rows["policy"]]]
    if not missing or others.empty:
        return ""
    what = enumerated([f"{name} presupposes {needs[name]}" for name in missing], 3)
    return f" {what}; the cheapest policy that presupposes nothing is {_unbeaten(others.nsmallest(1, cost), cost)}."
