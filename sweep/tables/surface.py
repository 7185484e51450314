"""Tables of every run: costs by the number of CPUs, and the kernel's counters.

Each is a pure function of results. Points have the coordinates of the plan's axes; `jobs` becomes jobs per CPU if the
grid gives it as a share of `cores`.
"""

from __future__ import annotations

import pandas as pd

from sweep.tables.coordinates import coordinates
from sweep.tables.replicas import means

BUILD_COSTS = ("ratio", "system_time_s", "wall_time_s")
LOOP_COSTS = (
    "overhead_ns_per_operation", "overhead_share", "sender_overhead_share", "elongation", "operations_per_s",
)  # fmt: skip
COUNTERS = ("nr_tlb_remote_flush_received", "nr_tlb_local_flush_one", "interrupts_per_flush", "marks_per_flush")


def costs_of(results: pd.DataFrame) -> list[str]:
    """The cost metrics of builds and of loops, as far as the results have either."""
    builds, loops = (results[name].notna().any() for name in ("system_time_s", "operations_per_s"))
    return [*(BUILD_COSTS if builds or not loops else ()), *(LOOP_COSTS if loops else ())]


def scaling(results: pd.DataFrame) -> pd.DataFrame:
    """Costs by policy and cores: ratio and times of builds, shares of time and operations of loops."""
    if results["cores"].nunique() < 2:
        return pd.DataFrame()
    table, names = means(results, [*costs_of(results), "flush_wait_ns", "handler_share"])
    table["jobs_per_core"] = (table["jobs"] / table["cores"]).round(3)
    others = [name for name in names if name not in ("cores", "jobs")]
    relative = coordinates(results).relative.get("jobs") == "cores"
    load, other_load = ("jobs_per_core", "jobs") if relative else ("jobs", "jobs_per_core")
    order = [*others, load, "cores", other_load]
    rest = [name for name in table.columns if name not in (*order, "point")]
    return table.sort_values(order, kind="stable")[[*order, *rest, "point"]].reset_index(drop=True)


def counters(results: pd.DataFrame) -> pd.DataFrame:
    """The kernel's counters for the whole build."""
    table, names = means(results, list(COUNTERS))
    return table[["point", *names, *COUNTERS]]
