"""The answer to a grid's question, in one to three sentences and a small table, made from the run's tables.

What is answered follows from what a run varies: measured rows are compared, cores cross a cost, ceilings have a flat
stretch, jobs make a cost grow, policies have a Pareto front, and what is left is said point by point. A number beyond
the measurements bears an asterisk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sweep.inputs.likelihood import spread
from sweep.tables.setting import settings
from sweep.tables.surface import LINUX_CEILING
from sweep.tables.text import printable
from sweep.tables.words import banded, duration, enumerated, factor, few, number, one_length, share

CROSSED = {"ratio": (1.5, 2.0), "overhead_share": (0.1,), "sender_overhead_share": (0.1,)}  # thresholds spoken of
PASSED = {
    "ratio": "the system time without XPFO",
    "overhead_share": "of all CPU time",
    "sender_overhead_share": "of the senders' time",
}
COSTS = {"ratio": factor, "overhead_share": share, "sender_overhead_share": share, "elongation": factor}
WINDOW = "stale_window_p99_ns"
PLACE = ("machine", "workload")
TOLD = ("policy", "machine", "cores", "jobs", "ceiling", "information_bits", "most_about", "its_share", "others_share")
MOST = 7  # policies that a sentence speaks of, the cheapest first
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
    ], table[[name for name in TOLD if name in table]])  # fmt: skip


def _point(row: pd.Series) -> str:
    machine = f" on {row['machine']}" if "machine" in row else ""
    ceiling = row.get("ceiling", LINUX_CEILING)
    return f"{row.get('policy', 'a build')}{machine}{_where(row)}" + (
        f", ceiling {ceiling:g}" if ceiling != LINUX_CEILING else ""
    )


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
            sentences.append(f"{where}: {limits} {PASSED[metric]} {_crossings(rows, values, COSTS[metric])}.")
            shown.append(_by_policy(rows, metric).assign(where=where))
    if not sentences:
        return None
    together = pd.concat(shown).groupby(["where", "policy"], sort=False).first().reset_index()
    return Answer(sentences[:3], together if together["where"].nunique() > 1 else together.drop(columns="where"))


def _by_policy(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row per policy, and a column for each value that is passed: at how many CPUs."""
    what = "" if metric == "ratio" else f" {PASSED[metric]}"
    heads = [f"{COSTS[metric](value)}{what}" for value in rows["passes"]]
    known = rows.assign(at=[_at(row) for _, row in rows.iterrows()], head=heads)
    order = known[["policy"]].drop_duplicates()
    return order.merge(known.pivot(index="policy", columns="head", values="at").reset_index(), on="policy")


def _crossings(rows: pd.DataFrame, values: tuple[float, ...], form: Callable[[float], str]) -> str:
    """Policies by where they pass all of the values; those that do from the first number on, or never, together."""
    first, never, between = [], [], []
    for policy, mine in rows.groupby("policy", sort=False):
        mine = mine.sort_values("passes")
        said = mine["said"].astype(str)
        if said.str.startswith("already").all():
            first.append(str(policy))
        elif said.str.startswith("never").all():
            most = mine["largest"].iloc[0]
            never.append(str(policy) + (f" ({form(most)} at most)" if np.isfinite(most) else ""))
        elif not (said == "not known").all():
            at = " and ".join(_at(row) for _, row in mine.iterrows())
            between.append((mine["cores"].fillna(np.inf).tolist(), f"at {at} by {policy}"))
    passed = [text for _, text in sorted(between, reverse=True)]
    if first:
        passed.append(f"from the fewest CPUs on by {enumerated(first, 4)}")
    words = []
    if never:
        ends = [said.rpartition(" ")[2] for said in rows["said"].astype(str) if said.startswith("never")]
        words.append(f"is not passed up to {max(ends, key=float)} CPUs by {enumerated(never)}")
    if passed:
        words.append(f"is passed {'; '.join(few(passed, MOST))}")
    return "; it ".join(words) or "is passed nowhere that is known"


def _at(row: pd.Series) -> str:
    """At how many CPUs a value is passed, with its band."""
    if row["cores"] != row["cores"]:
        return str(row["said"])
    return marked(banded(row, "cores", lambda value: "never" if np.isinf(value) else f"{value:.0f}"), row["cores"])


# ceiling


def of_ceiling(tables: Tables) -> Answer | None:
    """What Linux's ceiling costs over the best flat stretch: of workloads' own ranges, and of ranges of one length."""
    table = tables.get("best_ceiling")
    if table is None or not len(known := table[table["price_of_33_pct"].notna()]):
        return None
    mixes = known.get("range_pages", pd.Series("", index=known.index)).astype(str)
    lengths = mixes.map(one_length)
    known = known.assign(ranges=lengths.fillna("the workload's own"))
    known = known.sort_values("price_of_33_pct", ascending=False, kind="stable")
    own = known["ranges"].str.startswith("the")
    sentences = []
    for rows, which in ((known[own], ""), (known[~own], "Where all ranges are of one length: ")):
        if len(rows):
            worst = rows.drop_duplicates([name for name in PLACE if name in rows])
            said = enumerated([_price(row, [name for name in PLACE if worst.get(name, worst["policy"]).nunique() > 1])
                               for _, row in worst.iterrows()], 4)  # fmt: skip
            sentences.append(f"{which}{'a' if which else 'A'} ceiling of 33 costs at most {said}.")
    keep = ["policy", *PLACE, "ranges", "price_of_33_pct", "best_from", "best_to"]
    shown = known[[name for name in keep if name in known]]
    names = [name for name in shown if name not in PLACE or shown[name].nunique() > 1]
    return Answer(sentences, shown[names].reset_index(drop=True))


def _price(row: pd.Series, where: list[str]) -> str:
    place = f" on {', '.join(str(row[name]) for name in where)}" if where else ""
    ranges = "" if row["ranges"].startswith("the") else f", ranges of {row['ranges']} pages"
    best = f"where {row['best_from']:.0f} to {row['best_to']:.0f} is best"
    return f"{number(row['price_of_33_pct'])} % more than the best{place} ({row['policy']}{ranges}, {best})"


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
        sentences.append(f"{where}: nothing beats {'; '.join(few(said, MOST))} (99 % of windows are shorter).")
        shown.append(rows.sort_values(cost))
    if not sentences:
        return None
    together = pd.concat(shown, ignore_index=True)
    names = [name for name in ("tick_hz", *PLACE) if name in together and together[name].nunique() > 1]
    heads = {"ratio": "over vanilla's", "overhead_share": "CPU time"}
    columns = {heads[cost]: [banded(row, cost, COSTS[cost]) for _, row in together.iterrows()]}
    columns["window p99"] = [duration(each) for each in together[WINDOW]]
    columns |= {name: together[name].astype(str).tolist() for name in names}
    if cost == "overhead_share":
        columns["operation"] = [banded(row, "elongation", factor) for _, row in together.iterrows()]
    columns["front"] = ["yes" if each else "" for each in together["front"]]
    return Answer(sentences[:3], pd.DataFrame({"policy": together["policy"], **columns}))


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
