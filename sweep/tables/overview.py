"""A wide sweep in five lines: the cost of each policy at one setting, and the worst case over all settings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.policies import Policies
from sweep.tables.replicas import means
from sweep.tables.sentences import Answer, Tables, marked
from sweep.tables.setting import settings, word
from sweep.tables.words import banded, duration, enumerated, factor

WINDOW = "stale_window_p99_ns"
SAFE = 2.0  # ratio to the system time without XPFO below which a policy is safe
PATCH = ("xpfo", "xpfo_deferred")  # the patch's own comparison
MOST = 8  # policies that a sentence names


def overview(results: pd.DataFrame) -> pd.DataFrame:
    """A row per policy: ratio and stale window at one setting, and least and largest ratio over all settings.

    The setting is that of the sentences: the largest load on the first machine.
    """
    if results["policy"].nunique() < 2 or results["ratio"].isna().all():
        return pd.DataFrame()
    table, names = means(results, ["ratio", WINDOW])
    table = table[table["ratio"].notna() & (table["policy"] != "vanilla")]
    where, rows = next(settings(table[[*names, "ratio", WINDOW, "point"]], (), 1))
    here = rows.drop_duplicates("policy").set_index("policy")
    by = table.groupby("policy", sort=False)["ratio"]
    worst = table.loc[by.idxmax()].set_index("policy")
    others = [name for name in names if name not in ("policy", "costs") and table[name].nunique() > 1]
    places = [", ".join(said for name in others for said in word(name, row[name])) for _, row in worst.iterrows()]
    made = pd.DataFrame({
        "ratio": here["ratio"], WINDOW: here[WINDOW], "least_ratio": by.min(), "largest_ratio": by.max(),
        "largest_at": pd.Series(places, index=worst.index), "cores": here["cores"], "point": here["point"],
    }).assign(setting=where)  # fmt: skip
    return made.sort_values("ratio").rename_axis("policy").reset_index()


def answer(tables: Tables) -> Answer | None:
    """The costs of the patch's two policies, the cheapest policy, the safe ones, and the worst case."""
    table = tables.get("overview")
    if table is None or table.empty:
        return None
    known, named = Policies(), table.set_index("policy")
    there = [f"{name} {_ratio(row)}" for name, row in named.iterrows() if name in PATCH]
    exact = table[np.isfinite(table[WINDOW])]
    needs = exact["policy"].map(lambda name: name in known and bool(known[name].presupposes))
    cheapest = [_cheapest(exact[~needs], ""), _cheapest(exact[needs], "among those that presuppose something, ")]
    safe = table[table["largest_ratio"] < SAFE].sort_values("largest_ratio")
    most = table.nlargest(1, "largest_ratio").iloc[0]
    return Answer([
        f"{table['setting'].iloc[0]}, relative to the system time without XPFO: {enumerated(there)}." if there else "",
        f"The cheapest policy there is {'; '.join(each for each in cheapest if each)}.",
        f"{len(safe)} of {len(table)} policies stay below {factor(SAFE)} in all settings"
        + (f": {enumerated(list(safe['policy']), MOST)}." if len(safe) else "."),
        f"The worst case is {most['policy']} with {factor(most['largest_ratio'])} ({most['largest_at']}).",
        "Each policy by CPUs is in tables/scaling.csv; `sweep plot OUT x=cores` draws one setting.",
    ], _in_words(table))  # fmt: skip


def _cheapest(table: pd.DataFrame, which: str) -> str:
    """The policy with the least ratio, and its window; empty if there is none."""
    if table.empty:
        return ""
    row = table.nsmallest(1, "ratio").iloc[0]
    return f"{which}{row['policy']}, {_ratio(row)}, with a p99 stale window of {duration(row[WINDOW])}"


def _ratio(row: pd.Series) -> str:
    return marked(banded(row, "ratio", factor), float(row["cores"]))


def _in_words(table: pd.DataFrame) -> pd.DataFrame:
    """The table that is shown."""
    return pd.DataFrame({
        "policy": table["policy"], "ratio": [_ratio(row) for _, row in table.iterrows()],
        "window p99": [duration(each) for each in table[WINDOW]],
        "least": [factor(each) for each in table["least_ratio"]],
        "most": [factor(each) for each in table["largest_ratio"]], "most at": table["largest_at"],
    })  # fmt: skip
