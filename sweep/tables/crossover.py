"""The number of CPUs from which each policy costs more than some thresholds, and the sentence about it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from sweep.tables.sentences import COSTS, MOST, Answer, Tables, marked
from sweep.tables.setting import settings
from sweep.tables.surface import scaling
from sweep.tables.words import banded, enumerated, few

SHARES = (0.01, 0.1, 0.5)
PASSED = {  # of each cost, what a policy is asked to stay below
    "ratio": (1.1, 1.5, 2.0, 10.0),
    "overhead_share": SHARES,
    "sender_overhead_share": SHARES,
}
TINY = 1e-9  # a ratio that has a logarithm
CROSSED = {"ratio": (1.5, 2.0), "overhead_share": (0.1,), "sender_overhead_share": (0.1,)}  # thresholds spoken of
OF = {
    "ratio": "the system time without XPFO",
    "overhead_share": "of all CPU time",
    "sender_overhead_share": "of the senders' time",
}


def crossover(results: pd.DataFrame) -> pd.DataFrame:
    """Cores at which each policy first passes a ratio, or a share of CPU time; NaN and a word where it never does.

    Interpolated on log axes. `metric` says what is passed, and `passes` which value of it; `largest` is the most that
    the metric is at any number of cores.
    """
    at_a_rate = results["rate_per_s"].notna() if "rate_per_s" in results else False
    # A loop without a rate goes at each policy's own pace, at which shares of time say nothing.
    table = scaling(results[at_a_rate | results["operations_per_s"].isna()])
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


def answer(tables: Tables) -> Answer | None:
    """From how many CPUs each policy passes a cost."""
    table = tables.get("crossover")
    if table is None:
        return None
    sentences, shown = [], []
    for metric, values in CROSSED.items():
        mine = table[(table["metric"] == metric) & table["passes"].isin(values)]
        for where, rows in settings(mine, ("cores", "metric", "passes"), 2 if metric == "ratio" else 1):
            limits = " and ".join(COSTS[metric](value) for value in values)
            sentences.append(f"{where}: {limits} {OF[metric]} {_crossings(rows, values, COSTS[metric])}.")
            shown.append(_by_policy(rows, metric).assign(where=where))
    if not sentences:
        return None
    together = pd.concat(shown).groupby(["where", "policy"], sort=False).first().reset_index()
    return Answer(sentences[:3], together if together["where"].nunique() > 1 else together.drop(columns="where"))


def _by_policy(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A row per policy, and a column for each value that is passed: at how many CPUs."""
    what = "" if metric == "ratio" else f" {OF[metric]}"
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
