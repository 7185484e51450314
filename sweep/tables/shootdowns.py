"""The cost of a host's TLB flushes under each policy, at its size and with more CPUs, and the sentences about it."""

from collections.abc import Mapping

import pandas as pd

from sweep.tables.bands import SHARES
from sweep.tables.selection import posterior_draws, representative
from sweep.tables.words import MET, banded, duration, enumerated, share

METRICS = [
    "sender_overhead_share", "overhead_share", "handler_share", "flush_wait_p50_ns", "flush_wait_p99_ns",
    "operations_per_s",
]  # fmt: skip
SENDERS, ALL, HANDLERS, P50, P99 = METRICS[:5]
SHOWN = {
    "senders lose": (SENDERS, share), "all busy CPUs": (ALL, share), "wait p50": (P50, duration),
    "wait p99": (P99, duration),
}  # fmt: skip
KEYS = ["times", "policy"]
ALIKE = 0.05  # relative difference up to which costs are the same in a sentence


def shootdowns(results: pd.DataFrame) -> pd.DataFrame:
    """A row for each policy and size: the middle load under the representative draw, bands over draws and all loads.

    Columns of `results`: `load` numbers the loads, `times` is the factor on the host's CPUs.
    """
    loads = sorted(results["load"].unique())
    middle = results[results["load"] == loads[len(loads) // 2]]
    table = representative(middle).groupby(KEYS, sort=False)[[*METRICS, "rate_per_s", "cores"]].mean()
    among = posterior_draws(results).groupby(KEYS)[METRICS]
    for name, at in SHARES.items():
        table = table.join(among.quantile(at).add_suffix(f"_{name}"))
    table["rate_met"] = table["operations_per_s"] / table["rate_per_s"]
    return table.reset_index()


def sentences(table: pd.DataFrame, host: str, kinds: Mapping[str, str]) -> list[str]:
    """The time that a host loses under its own policy and others, now and with more CPUs; `kinds` are their titles."""
    said = []
    for times, rows in table.groupby("times"):
        mine = rows[rows["policy"] == host].iloc[0]
        others = rows[rows["policy"] != host]
        alike = (others[ALL] / mine[ALL] - 1.0).abs() <= ALIKE
        would = [f"{banded(row, ALL, share)}{_late(row)} under {row['policy']}" for _, row in others[~alike].iterrows()]
        if alike.any():
            would.insert(0, f"the same within {share(ALIKE)} under {enumerated(list(others['policy'][alike]))}")
        who = f"Under {host} ({kinds[host]})" if times == 1 else f"With {times:g} times the CPUs, {mine['cores']:g},"
        said.append(
            f"{who} {_lost(mine)}, and a flush takes {banded(mine, P50, duration)} (p50) and "
            f"{banded(mine, P99, duration)} (p99){_late(mine)}; all busy CPUs would lose {', and '.join(would)}."
        )
    return said


def _lost(row: pd.Series) -> str:
    """The share of time that senders lose, and that all busy CPUs lose."""
    lost = banded(row, ALL, share)
    if row[SENDERS] == row[ALL]:
        in_handlers = f"{banded(row, HANDLERS, share)} in handlers of other CPUs' flushes"
        return f"the busy CPUs, which all send, lose {lost} of their time, {in_handlers}"
    return f"senders lose {banded(row, SENDERS, share)} of their time, and all busy CPUs {lost}"


def _late(row: pd.Series) -> str:
    """The share of flushes done, if the CPUs cannot flush so often."""
    return f" (only {share(row['rate_met'])} of the flushes are done)" if row["rate_met"] < MET else ""


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """The table that is shown."""
    rows = [row for _, row in table.iterrows()]
    shown = {name: [banded(row, metric, form) for row in rows] for name, (metric, form) in SHOWN.items()}
    return pd.DataFrame({"CPUs": table["cores"].map("{:g}".format), "policy": table["policy"], **shown})
