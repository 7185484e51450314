"""The number of CPUs from which each policy costs more than some thresholds, and the sentence about it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from sweep.tables.replicas import scaling
from sweep.tables.setting import settings
from sweep.tables.words import COSTS, MOST, Answer, Tables, banded, enumerated, few, marked

SHARES = (0.01, 0.1, 0.5)
PASSED = {  # thresholds of each cost
    "ratio": (1.1, 1.5, 2.0, 10.0),
    "overhead_share": SHARES,
    "sender_overhead_share": SHARES,
}
TINY = 1e-9  # a ratio that has a logarithm
CROSSED = {"ratio": (1.5, 2.0), "overhead_share": (0.1,), "sender_overhead_share": (0.1,)}  # thresholds in sentences
OF = {
    "ratio": "the system time without XPFO",
    "overhead_share": "of all CPU time",
    "sender_overhead_share": "of the senders' time",
}


def crossover(results: pd.DataFrame) -> pd.DataFrame:
    """Cores from which each policy exceeds a ratio, or a share of CPU time; NaN and a word if it never does.

    Interpolated on log axes. `passes` is a threshold of `metric`, and `largest` the metric's maximum over cores.
    """
    at_a_rate = results["rate_per_s"].notna() if "rate_per_s" in results else False
    # A loop without a rate runs at each policy's own pace, so shares of time cannot be compared.
    table = scaling(results[at_a_rate | results["operations_per_s"].isna()])
    if not len(table):
        return table
    where = list(table.columns[: list(table.columns).index("cores")])
    rows = []
    for key, group in table.groupby(where, sort=False, dropna=False):
        if len(group) < 2 or group["policy"].iloc[0] == "vanilla":
            continue
        is_loop = "operations_per_s" in group and group["operations_per_s"].notna().any()
        for metric, thresholds in PASSED.items():
            if metric not in group or (metric == "ratio") == is_loop:
                continue
            known = group.dropna(subset=metric)  # no ratio where the base has no system time
            cores, cost = known["cores"].to_numpy(float), known[metric].to_numpy(float)
            largest = float(cost.max()) if len(cost) else np.nan
            for value in thresholds:
                at = _first_crossing(cores, cost, value)
                said = "not known" if not len(cores) else f"never up to {cores[-1]:.0f}"
                if np.isfinite(at):
                    said = f"already at {cores[0]:.0f}" if at == cores[0] else f"at {at:.0f}"
                row = {"metric": metric, "passes": value, "cores": at, "said": said, "largest": largest}
                rows.append(dict(zip(where, key, strict=True)) | row)
    return pd.DataFrame(rows)


def _first_crossing(cores: np.ndarray, cost: np.ndarray, threshold: float) -> float:
    above = np.flatnonzero(cost >= threshold)
    if not len(above):
        return float("nan")
    k = int(above[0])
    if k == 0:
        return float(cores[0])
    x0, x1 = np.log(cores[k - 1 : k + 1])
    y0, y1 = np.log(np.maximum(cost[k - 1 : k + 1], TINY))
    return float(np.exp(x0 + (np.log(threshold) - y0) / (y1 - y0) * (x1 - x0)))


def answer(tables: Tables) -> Answer:
    """The number of CPUs from which each policy exceeds a cost."""
    table = tables["crossover"]
    sentences, shown = [], []
    for metric, values in CROSSED.items():
        form, relative = COSTS[metric], metric == "ratio"
        mine = table[(table["metric"] == metric) & table["passes"].isin(values)]
        for where, rows in settings(mine, ("cores", "metric", "passes"), 2 if relative else 1):
            measure = f"{'relative to' if relative else 'share'} {OF[metric]}"
            sentences.append(f"{where}, {measure}: {_crossings(rows, values, form)}.")
            heads = [form(value) + ("" if relative else f" {OF[metric]}") for value in rows["passes"]]
            known = rows.assign(at=[_at(row) for row in rows.to_dict("records")], head=heads)
            by_policy = known.pivot(index="policy", columns="head", values="at").loc[rows["policy"].unique()]
            shown.append(by_policy.reset_index().assign(where=where))
    if not sentences:
        return Answer([])
    together = pd.concat(shown).groupby(["where", "policy"], sort=False).first().reset_index()
    return Answer(sentences[:3], together if together["where"].nunique() > 1 else together.drop(columns="where"))


def _crossings(rows: pd.DataFrame, values: tuple[float, ...], form: Callable[[float], str]) -> str:
    """The policies below all of the values, those that exceed one of them in between, and those above all at once."""
    below, between, above = [], [], []
    for policy, mine in rows.groupby("policy", sort=False):
        mine = mine.sort_values("passes")
        words = {said.partition(" ")[0] for said in mine["said"]}
        if words == {"already"}:
            above.append(str(policy))
        elif words == {"never"}:
            below.append(str(policy) + _most(mine.iloc[0], form))
        elif words != {"not"}:  # known
            between.append((mine["cores"].fillna(np.inf).tolist(), f"{policy} exceeds {_exceeded(mine, form)}"))
    clauses = few([text for _, text in sorted(between, reverse=True)], MOST)
    if below:
        last = _largest(rows, "never")
        stay = f"stay{'' if len(below) > 1 else 's'} below {form(min(values))}"
        clauses.insert(0, f"{enumerated(below)} {stay} up to {marked(last, float(last))} CPUs")
    if above:
        exceed = f"exceed{'' if len(above) > 1 else 's'} {form(max(values))}"
        clauses.append(f"{enumerated(above, 4)} {exceed} from {_largest(rows, 'already')} CPUs on")
    return "; ".join(clauses) or "no value is known"


def _most(row: pd.Series, form: Callable[[float], str]) -> str:
    """The largest value of a policy that stays below the first threshold, and the cost samples in which it does not."""
    earliest = row.get("cores_05", np.nan)
    said = [f"{form(row['largest'])} at most"] if np.isfinite(row["largest"]) else []
    said += [f"above in some cost samples from {earliest:.0f} CPUs"] if earliest == earliest else []
    return f" ({', '.join(said)})" if said else ""


def _exceeded(rows: pd.DataFrame, form: Callable[[float], str]) -> str:
    """The values of one policy, each with the number of CPUs from which it is exceeded."""
    known = rows[rows["cores"].notna()]
    at = [f"{form(row['passes'])} from {_at(row)}" for row in known.to_dict("records")]
    at[:1] = [f"{each} CPUs" for each in at[:1]]
    others = rows[rows["cores"].isna()].to_dict("records")
    below = enumerated([f"{form(row['passes'])} {_at(row).removeprefix('never ')}" for row in others])
    return " and ".join(at) + (f", but stays below {below}" if below else "")


def _largest(rows: pd.DataFrame, word: str) -> str:
    return max((said.rpartition(" ")[2] for said in rows["said"] if said.startswith(word)), key=float)


def _at(row: Any) -> str:
    if pd.notna(row["cores"]):
        return marked(banded(row, "cores", lambda value: "never" if np.isinf(value) else f"{value:.0f}"), row["cores"])
    earliest = row.get("cores_05", np.nan)
    return row["said"] + (f" ({earliest:.0f}-never)" if earliest == earliest else "")
