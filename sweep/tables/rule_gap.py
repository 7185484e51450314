"""How far the coarse rule was from what really happens, at points of a run that were simulated exactly as well.

Near saturation, where nearly all CPUs are in flush events, the coarse rule is off by up to a quarter.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sim.policies import NoSuchPolicy, policy_module
from sweep.errors import BadInput
from sweep.tables.draws import representative
from sweep.tables.selection import simulated, without_copies

GAPS = {  # metrics, and the columns of how far above the exact ones the coarse ones are
    "flush_wait_ns": "wait_gap_pct",
    "flush_interval_ns": "interval_gap_pct",
    "interrupts_per_flush": "interrupts_gap_pct",
    "system_time_s": "system_time_gap_pct",
}
SATURATED = 0.5  # above, a run says how to check


def saturation(results: pd.DataFrame) -> pd.Series:
    """Share of their time that CPUs which make flush events do not compute, by row; 1 where they never do."""
    return (1.0 - 1.0 / results["elongation"]).fillna(1.0)


def coarse_points(results: pd.DataFrame) -> pd.DataFrame:
    """The points that the coarse rule simulated and the exact one would simulate otherwise, with their saturation.

    A row per point, means over replicas, under the representative draw; indexed by point.
    """
    rows = representative(simulated(without_copies(results)))
    told = {name for name in rows["policy"].unique() if _interrupts(name)}
    rows = rows[(rows["rule"].fillna("coarse") == "coarse") & rows["policy"].isin(told) & (rows["cores"] > 1)]
    points = rows.groupby("point").first()
    numbers = rows.groupby("point")[[*GAPS, "elongation"]].mean()
    return points.assign(**{str(name): numbers[name] for name in numbers}).assign(saturation=saturation)


def _interrupts(policy: str) -> bool:
    try:
        return bool(policy_module(policy).flush().tell.interrupts)
    except NoSuchPolicy:  # of a folder that is not given here
        return False


def saturated(results: pd.DataFrame) -> int:
    """How many points the coarse rule simulated near saturation."""
    return int((coarse_points(results)["saturation"] > SATURATED).sum())


def choose_points(points: pd.DataFrame, count: int) -> pd.DataFrame:
    """So many of `coarse_points`, spread over their saturation; of each part of it the one of median cost.

    The last part gives its most saturated point. BadInput where there are none.
    """
    if points.empty:
        raise BadInput("no point of this run was simulated by the coarse rule with interrupts: nothing to check")
    cost = points["cores"] * points["window_events"]
    chosen = []
    for part in np.array_split(points["saturation"].sort_values(kind="stable").index, min(count, len(points))):
        ordered = cost.loc[part].sort_values(kind="stable").index
        chosen.append(ordered[len(ordered) // 2])
    chosen[-1] = points["saturation"].idxmax()
    return points.loc[sorted(set(chosen))]


def rule_gap(points: pd.DataFrame, exact: pd.DataFrame) -> pd.DataFrame:
    """A row per point that was checked: what the exact rule gives, and how far above it the coarse one was, in percent.

    Both are indexed by point. Columns: point, policy, machine, workload, cores, jobs, saturation, the gaps, and
    the exact metrics.
    """
    table = points[["policy", "machine", "workload", "cores", "jobs", "saturation"]].copy()
    for name, gap in GAPS.items():
        table[gap] = 100.0 * (points[name] / exact[name] - 1.0)
    table = table.join(exact[list(GAPS)])
    return table.sort_values("saturation", ascending=False, kind="stable").reset_index()
