"""The answer to a grid's question, in one to three sentences and a small table, made from the run's tables.

What is answered follows from what a run varies: measured rows are compared, cores cross a cost, ceilings have a flat
stretch, jobs make a cost grow, policies have a Pareto front, and what is left is said point by point. A number beyond
the measurements bears an asterisk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sweep.inputs.likelihood import spread
from sweep.tables.setting import settings
from sweep.tables.text import printable
from sweep.tables.words import banded, duration, enumerated, factor, few, number, share

CROSSED = {"ratio": (1.5, 2.0), "overhead_share": (0.1,), "sender_overhead_share": (0.1,)}  # thresholds spoken of
PASSED = {
    "ratio": "the system time without XPFO",
    "overhead_share": "of all CPU time",
    "sender_overhead_share": "of the time of CPUs that make flush events",
}
COSTS = {"ratio": factor, "overhead_share": share, "sender_overhead_share": share, "elongation": factor}
WINDOW = "stale_window_p99_ns"
DEAR = 5.0  # percent above the best ceiling that are worth a sentence
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Answer:
    """Sentences, and the table that shows what they are about; `table` is None where the main one does."""

    sentences: list[str]
    table: pd.DataFrame | None = None
    doubts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join([*self.sentences, *self.doubts])


def answer(tables: Tables, fitted: Collection[str], grid: str = "") -> Answer:
    """The answer that these tables allow; `fitted` are the machines that costs were fitted to.

    A grid of the name of a table that answers a question of its own asks for that one.
    """
    tables = {name: _fitted_first(table, fitted) for name, table in tables.items()}
    makers = (OF_ITS_OWN[grid], *MAKERS) if grid in OF_ITS_OWN else MAKERS
    found = next((made for make in makers if (made := make(tables)) is not None), Answer([]))
    machines = {name for table in tables.values() if "machine" in table for name in table["machine"].unique()}
    strange = sorted(machines - set(fitted))
    doubts = [f"* beyond {spread().cores:g} CPUs nothing was measured."] if "*" in " ".join(found.sentences) else []
    if found.sentences and strange and "validation" not in tables:
        doubts.append(f"No row was fitted on {enumerated(strange)}: costs there are judged, or another machine's.")
    missing = list(next(iter(tables.values())).attrs.get("notes", [])) if tables and not found.sentences else []
    said, doubts = ([printable(each) for each in lines] for lines in (found.sentences or missing, doubts))
    return Answer(said, found.table, doubts)


def _fitted_first(table: pd.DataFrame, fitted: Collection[str]) -> pd.DataFrame:
    """The table with the rows of machines first that costs were fitted to."""
    if "machine" not in table:
        return table
    return table.iloc[np.argsort(~table["machine"].isin(fitted).to_numpy(), kind="stable")]


def marked(said: str, cores: float) -> str:
    """A number with an asterisk where it is beyond the machines that were measured."""
    return f"{said}*" if cores > spread().cores else said


# validation, patch


def of_validation(tables: Tables) -> Answer | None:
    """How many measured rows lie in their interval, by costs."""
    rows = tables.get("validation")
    if rows is None or "inside_90" not in rows:
        return None
    said = []
    for costs, mine in rows.groupby("costs", sort=False):
        known = mine.loc[mine["role"] == "predict", "inside_90"].dropna()
        inside, asked = int(known.sum()), len(known)
        if asked:
            rate = f"{inside} of {asked} measured values ({share(inside / asked)})"
            said.append(f"Under costs={costs} {rate} lie in the interval where nine of ten should.")
    return Answer(said) if said else None


def of_reproduction(tables: Tables) -> Answer | None:
    """How far each measured system time is from the simulated one, where the run is about these."""
    table = next(iter(tables.values()))
    if table is not tables.get("reproduction"):
        return None
    names = [str(name).removesuffix("_error_pct") for name in table.columns if str(name).endswith("_error_pct")]
    asked = table[table["policy"] != "vanilla"]
    if asked.empty or not names:
        return None
    best = names[0]
    said = [
        f"{row['policy']} on {row['machine']} {number(row[f'{best}_s'])} s for {number(row['measured_s'])} s "
        f"({row[f'{best}_error_pct']:+.1f} %)"
        for _, row in asked.iterrows()
    ]
    sentences = [f"Under costs={best}, simulated for measured: {enumerated(said)}."]
    for name in names[1:]:
        sentences.append(f"Under costs={name} the largest error is {asked[f'{name}_error_pct'].abs().max():.0f} %.")
    return Answer(sentences)


# next_experiment


def of_next_experiment(tables: Tables) -> Answer | None:
    """Which points would tell most if they were measured: of the costs, and of one another."""
    table = tables.get("next_experiment")
    if table is None:
        return None
    table = table.sort_values("information_bits", ascending=False, kind="stable", ignore_index=True)
    told = [
        f"{_point(row)} ({number(row['information_bits'])} bits, most about {row['most_about']})"
        for _, row in table.head(3).iterrows()
    ]
    best = table.iloc[int(table["others_share"].argmax())]
    others = f"{_point(best)}, by {share(best['others_share'])} of their variance"
    return Answer([
        f"Measured next, these would tell most about the costs: {enumerated(told)}.",
        f"The predictions of all other points would narrow most by {others}.",
    ], table)  # fmt: skip


def _point(row: pd.Series) -> str:
    machine = f" on {row['machine']}" if "machine" in row else ""
    ceiling = f", ceiling {row['ceiling']:g}" if row.get("ceiling", np.nan) == row.get("ceiling", np.nan) else ""
    return f"{row.get('policy', 'a build')}{machine}{_where(row)}{ceiling}"


# cores


def of_crossover(tables: Tables) -> Answer | None:
    """From how many CPUs each policy passes a cost."""
    table = tables.get("crossover")
    if table is None:
        return None
    sentences, shown = [], []
    for metric, values in CROSSED.items():
        mine = table[(table["metric"] == metric) & table["passes"].isin(values)]
        for where, rows in settings(mine, ("cores", "metric", "passes"), 2 if metric == "ratio" else 1):
            limits = " and ".join(COSTS[metric](value) for value in values)
            sentences.append(f"{where}: {limits} {PASSED[metric]} is passed {_crossings(rows, values)}.")
            shown.append(_by_policy(rows, metric).assign(where=where))
    if not sentences:
        return None
    together = pd.concat(shown, ignore_index=True)
    return Answer(sentences[:3], together.drop(columns="where") if len(shown) == 1 else together)


def _by_policy(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row per policy, and a column for each value that is passed: at how many CPUs."""
    known = rows.assign(at=[_at(row) for _, row in rows.iterrows()], head=rows["passes"].map(COSTS[metric]))
    order = known[["policy"]].drop_duplicates()
    return order.merge(known.pivot(index="policy", columns="head", values="at").reset_index(), on="policy")


def _crossings(rows: pd.DataFrame, values: tuple[float, ...]) -> str:
    """Policies by where they pass all of the values; those that do from the first number on, or never, together."""
    first, never, between = [], [], []
    for policy, mine in rows.groupby("policy", sort=False):
        mine = mine.sort_values("passes")
        said = mine["said"].astype(str)
        if said.str.startswith("already").all():
            first.append(str(policy))
        elif said.str.startswith("never").all():
            never.append(str(policy))
        elif not (said == "not known").all():
            at = " and ".join(_at(row) for _, row in mine.iterrows())
            between.append((mine["cores"].fillna(np.inf).tolist(), f"at {at} by {policy}"))
    words = [text for _, text in sorted(between)]
    ends = {said.rpartition(" ")[2] for said in rows["said"].astype(str) if said.startswith(("never", "already"))}
    if first:
        words.append(f"from the fewest CPUs on by {enumerated(first)}")
    if never:
        words.append(f"never up to {max(ends, key=float)} by {enumerated(never)}")
    return "; ".join(words) or "nowhere that is known"


def _at(row: pd.Series) -> str:
    """At how many CPUs a value is passed, with its band."""
    if row["cores"] != row["cores"]:
        return str(row["said"])
    return marked(banded(row, "cores", lambda value: "never" if np.isinf(value) else f"{value:.0f}"), row["cores"])


# ceiling


def of_ceiling(tables: Tables) -> Answer | None:
    """What Linux's ceiling costs over the best flat stretch, by workload."""
    table = tables.get("best_ceiling")
    if table is None or not len(known := table[table["price_of_33_pct"].notna()]):
        return None
    groups = [name for name in ("machine", "workload", "range_pages") if name in known and known[name].nunique() > 1]
    said = []
    parts: list[tuple[Any, pd.DataFrame]] = list(known.groupby(groups, sort=False)) if groups else [((), known)]
    for place, rows in parts:
        worst = rows.sort_values("price_of_33_pct", kind="stable").iloc[-1]
        where = ", ".join(map(str, place)) or "here"
        stretch = f"{worst['best_from']:.0f} to {worst['best_to']:.0f} pages"
        price = worst["price_of_33_pct"]
        said.append((price, f"{where} {number(price)} % ({worst['policy']}, where {stretch} is best)"))
    said.sort(reverse=True)
    dear = [text for price, text in said if price >= DEAR]
    cheap = [text for price, text in said if price < DEAR]
    sentences = []
    if dear:
        sentences.append(f"Above the best ceiling 33 costs {DEAR:g} % or more on {enumerated(dear, 4)}.")
    if cheap:
        sentences.append(f"{'Elsewhere' if dear else 'A ceiling of 33 costs'} at most {enumerated(cheap, 4)}.")
    return Answer(sentences, table)


# jobs


def of_jobs(tables: Tables) -> Answer | None:
    """How the cost grows with `make -j`, machine by machine."""
    table = tables.get("summary")
    if table is None or "jobs" not in table or "ratio" not in table or table["jobs"].nunique() < 3:
        return None
    sentences = []
    for where, rows in settings(table[table["ratio"].notna()], ("jobs",), 3):
        few, many = rows["jobs"].min(), rows["jobs"].max()
        said = []
        for policy, mine in rows[rows["policy"] != "vanilla"].groupby("policy", sort=False):
            by = mine.set_index("jobs")["ratio"]
            if {few, many} <= set(by.index):
                said.append((by[many], f"{policy} from {factor(by[few])} to {factor(by[many])}"))
        if said:
            said.sort(key=lambda each: each[0])
            sentences.append(f"{where}, -j{few:g} to -j{many:g}: {enumerated([text for _, text in said], 8)}.")
    return Answer(sentences) if sentences else None


# exposure, direct_map


def of_front(tables: Tables) -> Answer | None:
    """The Pareto front with its windows, and of loops also where they pass a share of time."""
    table = tables.get("pareto")
    if table is None:
        return None
    cost = "ratio" if "ratio" in table and table["ratio"].notna().any() else "overhead_share"
    sentences, shown = [], []
    for where, rows in settings(table[table[cost].notna()], ("policy", "tick_hz"), 3):
        front = rows[rows["front"]].drop_duplicates(["policy", cost]).sort_values(cost)
        said = [f"{row['policy']}, {_costs(row, cost)}, windows {duration(row[WINDOW])}" for _, row in front.iterrows()]
        sentences.append(f"{where}: nothing beats {'; '.join(few(said, 7))} (99 % of windows are shorter).")
        shown.append(rows.sort_values(cost))
    if not sentences:
        return None
    together = pd.concat(shown)
    keep = ["machine", "workload", "policy", "tick_hz", *COSTS, "stale_window_ns", WINDOW, "front", "elongation_front"]
    names = [name for name in together if str(name).removesuffix("_05").removesuffix("_95") in keep]
    always = ("policy", cost, WINDOW)
    names = [name for name in names if name in always or together[name].nunique(dropna=False) > 1]
    return Answer(sentences[:3], together[names].reset_index(drop=True))


def _costs(row: pd.Series, cost: str) -> str:
    cores = float(row.get("cores", 0.0))
    if cost == "ratio":
        return marked(banded(row, cost, factor), cores)
    said = f"{marked(banded(row, cost, share), cores)} of CPU time"
    if row["elongation"] != row["elongation"]:  # own work is 0, where a rate is more than the CPUs can do
        return said
    return f"{said} and {banded(row, 'elongation', factor)} the operation"


# point


def of_points(tables: Tables) -> Answer | None:
    """What each policy costs, where the run is of few points."""
    table = tables.get("summary")
    if table is None or "policy" not in table:
        return None
    said = []
    for _, row in table.iterrows():
        if row["policy"] == "vanilla":
            continue
        where = f"{row['policy']}{_where(row)}"
        if row.get("ratio", np.nan) == row.get("ratio", np.nan):
            said.append(f"{where}: {number(row['system_time_s'])} s, {banded(row, 'ratio', factor)} vanilla's")
        elif row.get("overhead_share", np.nan) == row.get("overhead_share", np.nan):
            said.append(f"{where}: {banded(row, 'overhead_share', share)} of CPU time")
    return Answer([f"{enumerated(said, 6)}."]) if said else None


def _where(row: pd.Series) -> str:
    words = [f"{row['cores']:g} CPUs" if "cores" in row else "", f"-j{row['jobs']:g}" if "jobs" in row else ""]
    return "".join(f", {word}" for word in words if word)


def of_loops_front(tables: Tables) -> Answer | None:
    """Of loops the front first, then where they cross."""
    crossed = tables.get("crossover")
    front = of_front(tables)
    if crossed is None or front is None or "overhead_share" not in set(crossed["metric"]):
        return None
    more = of_crossover(tables)
    return Answer([*front.sentences[:2], *(more.sentences[:1] if more else [])], front.table)


OF_ITS_OWN: dict[str, Callable[[Tables], Answer | None]] = {"next_experiment": of_next_experiment}  # by grid
MAKERS: tuple[Callable[[Tables], Answer | None], ...] = (
    of_validation, of_reproduction, of_loops_front, of_crossover, of_ceiling, of_jobs, of_front, of_points
)  # fmt: skip
