"""The best tlb_single_page_flush_ceiling, and the cost of Linux's."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.tables.coordinates import coordinates
from sweep.tables.replicas import means
from sweep.tables.sentences import PLACE, Answer, Tables
from sweep.tables.setting import LINUX_CEILING
from sweep.tables.words import enumerated, number, one_length

FLAT = 0.01  # ceilings within this share of the best system time are as good as it


def best_ceiling(results: pd.DataFrame) -> pd.DataFrame:
    """The flat stretch of ceilings around the cheapest, and the cost of Linux's 33 over it."""
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
    """The ceilings around the cheapest that are as good; `ceilings` ascend; NaN if there are none."""
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


def answer(tables: Tables) -> Answer | None:
    """The cost of Linux's ceiling over the best one, with the workload's own ranges and with ranges of one length."""
    table = tables.get("best_ceiling")
    if table is None or not len(known := table[table["price_of_33_pct"].notna()]):
        return None
    mixes = known.get("range_pages", pd.Series("", index=known.index)).astype(str)
    lengths = mixes.map(one_length)
    known = known.assign(ranges=lengths.fillna("the workload's own"))
    known = known.sort_values("price_of_33_pct", ascending=False, kind="stable")
    own = known["ranges"].str.startswith("the")
    sentences = []
    for rows, which in ((known[own], ""), (known[~own], "If all ranges have one length, ")):
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
    best = f"best: {row['best_from']:.0f} to {row['best_to']:.0f}"
    return f"{number(row['price_of_33_pct'])} % more than the best ceiling{place} ({row['policy']}{ranges}, {best})"
