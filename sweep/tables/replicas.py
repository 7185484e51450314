"""Means and half-widths over replicas, and the tables of every run: pure functions of results."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from sim.batch_means import student_t
from sweep.inputs.likelihood import is_beyond
from sweep.tables.coordinates import coordinates
from sweep.tables.selection import OK, failed_points

SUMMARY = ("system_time_s", "added_s", "ratio", "wall_time_s", "flush_wait_ns", "interrupts_per_flush")
OF_LOOPS = (
    "operations_per_s", "overhead_ns_per_operation", "operation_ns_total", "overhead_share", "elongation",
    "flush_wait_ns", "interrupts_per_flush",
)  # fmt: skip
BUILD_COSTS = ("ratio", "system_time_s", "wall_time_s")
LOOP_COSTS = (
    "overhead_ns_per_operation", "overhead_share", "sender_overhead_share", "elongation", "operations_per_s",
)  # fmt: skip
COUNTERS = ("nr_tlb_remote_flush_received", "nr_tlb_local_flush_one", "interrupts_per_flush", "marks_per_flush")
FEW = (np.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447)  # t95 up to 6 degrees: the series is inaccurate there


def t95(degrees: Any) -> np.ndarray:
    """Two-sided 95 % quantiles of Student's t, for any shape of `degrees`; NaN without a degree of freedom."""
    degrees = np.asarray(degrees)
    many = student_t(np.maximum(degrees, 1))
    return np.where(degrees < len(FEW), np.take(FEW, degrees, mode="clip"), many)


def half_width(values: Any) -> Any:
    """95 % half-width of the mean over replicas: of a series, or of every group of a grouped one.

    NaN for a single replica, whose spread is not known.
    """
    count = values.count()
    return t95(count - 1) * values.std() / np.sqrt(count)


def means(results: pd.DataFrame, metrics: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """A row per point with its coordinates and the metrics' means over replicas; the names of the coordinates.

    `rate_met` is the share of a closed loop's rate that is reached.
    """
    names = coordinates(results).columns(results)
    first = results[["point", *names]].drop_duplicates("point").set_index("point")
    table = first.join(results.groupby("point")[metrics].mean()).reset_index()
    if "operations_per_s" in metrics and "rate_per_s" in results and results["rate_per_s"].notna().any():
        asked = results.groupby("point")["rate_per_s"].first()
        table["rate_met"] = table["operations_per_s"] / table["point"].map(asked)
    return table, names


def curves(results: pd.DataFrame, metrics: list[str], axis: str) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Every curve over a coordinate: the other coordinates, and a row per point with the metrics' means."""
    table, names = means(results, metrics)
    where = [name for name in names if name != axis]
    for key, group in table.groupby(where, sort=False, dropna=False):
        yield dict(zip(where, key, strict=True)), group


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """A row per point: its coordinates, and the main metrics' means with the half-width of the first of them.

    The first metric is system time for builds, operations a second for loops. `status` is the reason of failed points.
    """
    loops = results["operations_per_s"].notna().any() if "operations_per_s" in results else False
    builds = not loops or results["system_time_s"].notna().any()
    table, names = means(results, list(dict.fromkeys([*(SUMMARY if builds else ()), *(OF_LOOPS if loops else ())])))
    first, name = ("system_time_s", "system_time_half_s") if builds else ("operations_per_s", "operations_half_per_s")
    half = half_width(results.groupby("point")[first]).rename(name)
    constant = [name for name in names if table[name].nunique(dropna=False) == 1 and name != "policy"]
    if is_beyond(table["cores"]).any():  # every number needs its mark
        constant = [name for name in constant if name != "cores"]
    table = table.drop(columns=constant).join(half, on="point")
    failed = failed_points(results).set_index("point")["status"]
    return table.assign(status=table["point"].map(failed).fillna(OK)) if len(failed) else table


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
