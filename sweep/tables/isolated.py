"""What flush events of housekeeping CPUs do to isolated CPUs, and the sentences about it."""

from __future__ import annotations

import pandas as pd

from sweep.tables.replicas import means
from sweep.tables.sentences import Answer, Tables
from sweep.tables.setting import settings
from sweep.tables.words import banded, duration, enumerated, number, share

METRICS = [
    "interrupts_per_cpu_s_isolated", "disturbed_share_isolated", "disturbance_max_ns_isolated",
    "stale_window_p99_ns_isolated", "flush_wait_ns",
]  # fmt: skip
QUIET = 0.01  # of the interrupts that the most disturbing policy sends


def isolated(results: pd.DataFrame) -> pd.DataFrame:
    """What isolated CPUs suffer under each policy: interrupts, time lost, longest disturbance, stale window."""
    if not set(METRICS) <= set(results) or results[METRICS[0]].isna().all():
        return pd.DataFrame()
    table, names = means(results, METRICS)
    table["isolated"] = table["point"].map(results.groupby("point")["isolated"].first())
    return table[["point", *names, *(["isolated"] if "isolated" not in names else []), *METRICS]]


def answer(tables: Tables) -> Answer | None:
    """Which policies interrupt isolated CPUs, which leave them alone, and for how long these stay stale."""
    table = tables.get("isolated")
    if table is None or table.empty:
        return None
    sentences, shown = [], table
    for where, rows in settings(table, ("isolated",), 1):
        shown = pd.DataFrame([_in_words(row) for _, row in rows.iterrows()])
        rows = rows.sort_values(METRICS[0], ascending=False)
        limit = QUIET * rows[METRICS[0]].max()
        loud, quiet = rows[rows[METRICS[0]] > limit], rows[rows[METRICS[0]] <= limit]
        by_window = quiet.sort_values("stale_window_p99_ns_isolated")
        disturbing = enumerated([_disturbance(row) for _, row in loud.iterrows()])
        sentences.append(
            f"{where}, {rows['isolated'].iloc[0]:g} of them isolated: these are interrupted by {disturbing}."
        )
        if len(quiet):
            longest = quiet["disturbance_max_ns_isolated"].max()
            sentences.append(
                f"The others hardly do: {enumerated([_quiet(row) for _, row in quiet.iterrows()])}. What is left takes "
                f"{duration(longest)} at a time at most."
            )
            windows = enumerated([f"{row['policy']} {_window(row)}" for _, row in by_window.iterrows()], 8)
            sentences.append(f"The price is the stale window there (99 % are shorter): {windows}.")
    return Answer(sentences, shown)


def _in_words(row: pd.Series) -> dict[str, str]:
    """A row of the table that is shown."""
    return {
        "policy": str(row["policy"]),
        "interrupts a second": banded(row, "interrupts_per_cpu_s_isolated"),
        "time lost": banded(row, "disturbed_share_isolated", share),
        "longest": duration(row["disturbance_max_ns_isolated"]),
        "window p99": _window(row),
        "flush takes": banded(row, "flush_wait_ns", duration),
    }


def _disturbance(row: pd.Series) -> str:
    """A policy that interrupts: how often, and what it takes."""
    often = banded(row, "interrupts_per_cpu_s_isolated")
    lost = banded(row, "disturbed_share_isolated", share)
    return (
        f"{row['policy']} {often} times a second each, {lost} of their time, "
        f"{duration(row['disturbance_max_ns_isolated'])} at most (stale for {_window(row)})"
    )


def _quiet(row: pd.Series) -> str:
    """A policy that hardly ever interrupts."""
    often = row["interrupts_per_cpu_s_isolated"]
    return f"{row['policy']} {'never' if often == 0.0 else f'{number(often)} times a second'}"


def _window(row: pd.Series) -> str:
    return banded(row, "stale_window_p99_ns_isolated", duration)
