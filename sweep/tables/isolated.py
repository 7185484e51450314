"""The effect of housekeeping CPUs' flush events on isolated CPUs, and the sentences about it."""

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
    """Isolated CPUs under each policy: interrupts, time lost, longest disturbance, stale window."""
    if not set(METRICS) <= set(results) or results[METRICS[0]].isna().all():
        return pd.DataFrame()
    table, names = means(results, METRICS)
    table["isolated"] = table["point"].map(results.groupby("point")["isolated"].first())
    return table[["point", *names, *(["isolated"] if "isolated" not in names else []), *METRICS]]


def answer(tables: Tables) -> Answer | None:
    """Policies that interrupt isolated CPUs, policies that hardly do, and the stale windows of the latter."""
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
            f"{where}, {rows['isolated'].iloc[0]:g} of them isolated: each of these is interrupted {disturbing}."
        )
        if len(quiet):
            longest = quiet["disturbance_max_ns_isolated"].max()
            sentences.append(
                f"The others hardly interrupt them: {enumerated([_quiet(row) for _, row in quiet.iterrows()])}. "
                f"Their longest disturbance is {duration(longest)}."
            )
            windows = enumerated([f"{row['policy']} {_window(row)}" for _, row in by_window.iterrows()], 8)
            sentences.append(f"Their cost is the p99 stale window on isolated CPUs: {windows}.")
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
    """The rate, cost and stale window of a policy that interrupts."""
    often = banded(row, "interrupts_per_cpu_s_isolated")
    lost = banded(row, "disturbed_share_isolated", share)
    return (
        f"{often} times a second under {row['policy']} ({lost} of its time, "
        f"{duration(row['disturbance_max_ns_isolated'])} at most, p99 stale window {_window(row)})"
    )


def _quiet(row: pd.Series) -> str:
    """A policy that hardly ever interrupts."""
    often = row["interrupts_per_cpu_s_isolated"]
    return f"{row['policy']} {'never' if often == 0.0 else f'{number(often)} times a second'}"


def _window(row: pd.Series) -> str:
    return banded(row, "stale_window_p99_ns_isolated", duration)
