"""A wide sweep in five lines: the cost of each policy at one setting, and the worst case over all settings."""

import numpy as np
import pandas as pd

from sim.policies import Policies
from sweep.tables.pareto import WINDOW
from sweep.tables.replicas import means
from sweep.tables.setting import settings, word
from sweep.tables.words import Answer, Tables, duration, enumerated, estimate, factor

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


def answer(tables: Tables) -> Answer:
    """The costs of the patch's two policies, the cheapest policy, the safe ones, and the worst case."""
    table = tables["overview"].assign(
        said=lambda table: [estimate(row, "ratio", factor) for _, row in table.iterrows()]
    )
    there = [f"{row['policy']} {row['said']}" for _, row in table.iterrows() if row["policy"] in PATCH]
    exact, known = table[np.isfinite(table[WINDOW])], Policies()
    needs = exact["policy"].map(lambda name: name in known and bool(known[name].presupposes))
    cheapest = [
        f"{which}{row['policy']}, {row['said']}, with a p99 stale window of {duration(row[WINDOW])}"
        for rows, which in ((exact[~needs], ""), (exact[needs], "among those that presuppose something, "))
        for _, row in rows.nsmallest(1, "ratio").iterrows()
    ]
    safe = table[table["largest_ratio"] < SAFE].sort_values("largest_ratio")
    most = table.nlargest(1, "largest_ratio").iloc[0]
    shown = pd.DataFrame({
        "policy": table["policy"], "ratio": table["said"], "window p99": table[WINDOW].map(duration),
        "least": table["least_ratio"].map(factor), "most": table["largest_ratio"].map(factor),
        "most at": table["largest_at"],
    })  # fmt: skip
    return Answer([
        f"{table['setting'].iloc[0]}, relative to the system time without XPFO: {enumerated(there)}." if there else "",
        f"The cheapest policy there is {'; '.join(cheapest)}.",
        f"{len(safe)} of {len(table)} policies stay below {factor(SAFE)} in all settings"
        + (f": {enumerated(list(safe['policy']), MOST)}." if len(safe) else "."),
        f"The worst case is {most['policy']} with {factor(most['largest_ratio'])} ({most['largest_at']}).",
        "Each policy by CPUs is in tables/scaling.csv; `sweep plot OUT x=cores` draws one setting.",
    ], shown)  # fmt: skip
