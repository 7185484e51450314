"""The best tlb_single_page_flush_ceiling, and the cost of Linux's."""

from typing import Any

import numpy as np
import pandas as pd

from sweep.tables.coordinates import coordinates
from sweep.tables.replicas import curves
from sweep.tables.setting import LINUX_CEILING
from sweep.tables.words import PLACE, Answer, Tables, enumerated, number, one_length

FLAT = 0.01  # ceilings within this share of the best system time are as good as it
COLUMNS = "best_from best_to best_system_time_s price_of_33_s price_of_33_pct worst_system_time_s".split()


def best_ceiling(results: pd.DataFrame) -> pd.DataFrame:
    """The flat stretch of ceilings around the cheapest, and the cost of Linux's 33 over it."""
    if "ceiling" not in coordinates(results).columns(results):
        return pd.DataFrame()
    rows = []
    for where, group in curves(results, ["system_time_s", "added_s"], "ceiling"):
        if len(group) > 1 and where["policy"] != "vanilla":
            known = group.dropna(subset="system_time_s").sort_values("ceiling")
            rows.append(where | _flat_stretch(known["ceiling"].to_numpy(float), known["system_time_s"].to_numpy(float)))
    return pd.DataFrame(rows)


def _flat_stretch(ceilings: np.ndarray, cost: np.ndarray) -> dict[str, float]:
    """The ceilings around the cheapest that are as good; `ceilings` ascend; NaN if there are none."""
    if not len(cost):
        return dict.fromkeys(COLUMNS, np.nan)
    best = int(cost.argmin())
    worse = np.r_[-1, np.flatnonzero(cost > cost[best] * (1.0 + FLAT)), len(cost)]
    after = np.searchsorted(worse, best)
    linux = cost[ceilings == LINUX_CEILING]
    price = linux[0] - cost[best] if len(linux) else np.nan
    percent = 100.0 * price / cost[best] if cost[best] > 0 else np.nan
    ends = ceilings[worse[after - 1] + 1], ceilings[worse[after] - 1]
    return dict(zip(COLUMNS, map(float, (*ends, cost[best], price, percent, cost.max())), strict=True))


def answer(tables: Tables) -> Answer:
    """The cost of Linux's ceiling over the best one, with the workload's own ranges and with ranges of one length."""
    known = tables["best_ceiling"].dropna(subset="price_of_33_pct")
    lengths = known["range_pages"].map(one_length) if "range_pages" in known else None
    known = known.assign(length=lengths).sort_values("price_of_33_pct", ascending=False, kind="stable")
    places = [name for name in PLACE if name in known]
    sentences = []
    for rows, which in (
        (known[known["length"].isna()], "A"),
        (known[known["length"].notna()], "If all ranges have one length, a"),
    ):
        worst = rows.drop_duplicates(places)
        apart = [name for name in places if worst[name].nunique() > 1]
        said = enumerated([_price(row, apart) for row in worst.to_dict("records")], 4)
        sentences += [f"{which} ceiling of 33 costs at most {said}."] if said else []
    shown = known.assign(ranges=known["length"].fillna("the workload's own"))
    apart = [name for name in places if shown[name].nunique() > 1]
    return Answer(sentences, shown[["policy", *apart, "ranges", "price_of_33_pct", "best_from", "best_to"]])


def _price(row: Any, where: list[str]) -> str:
    place = f" on {', '.join(str(row[name]) for name in where)}" if where else ""
    ranges = f", ranges of {row['length']} pages" if isinstance(row["length"], str) else ""
    best = f"best: {row['best_from']:.0f} to {row['best_to']:.0f}"
    return f"{number(row['price_of_33_pct'])} % more than the best ceiling{place} ({row['policy']}{ranges}, {best})"
