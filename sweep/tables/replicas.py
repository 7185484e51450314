"""Means and half-widths over replicas."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sweep.plan.points import NAMES
from sweep.store.rows import PARAMETER_COLUMNS

SUMMARY = ("system_time_s", "added_s", "ratio", "wall_time_s", "flush_wait_ns", "interrupts_per_flush")


def half_width(values: pd.Series) -> float:
    """95 % half-width of the mean over replicas (Student's t)."""
    if len(values) < 2:
        return float("nan")
    quantile = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 1 to 9 degrees of freedom
    degrees = len(values) - 1
    t = quantile[degrees - 1] if degrees <= len(quantile) else 1.96 + 2.4 / degrees
    return float(t * values.std(ddof=1) / np.sqrt(len(values)))


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """A row per point: its coordinates, and the main metrics' means with the half-width of system time."""
    table, coordinates = means(results, list(SUMMARY))
    half = results.groupby("point")["system_time_s"].apply(half_width).rename("system_time_half_s")
    constant = [name for name in coordinates if table[name].nunique(dropna=False) == 1 and name != "policy"]
    return table.drop(columns=constant).join(half, on="point")


FOLLOW_CORES = ("sockets", "threads_per_core", "apic")


def means(results: pd.DataFrame, metrics: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """A row per point with its coordinates and the metrics' means over replicas; the names of the coordinates."""
    first = results[results["replica"] == results["replica"].min()].set_index("point")
    names = [name for name in NAMES if name in first]
    named = [name for name in names if first[name].nunique() > 1]
    varying = [name for name in PARAMETER_COLUMNS if first[name].nunique(dropna=False) > 1]
    if named:  # what a machine or workload brings along is no coordinate of its own
        chosen = [name for name in named if name != "policy"]
        if chosen:
            varying = [n for n in varying if first.groupby(chosen, sort=False)[n].nunique(dropna=False).max() > 1]
    if "cores" in varying:
        varying = [name for name in varying if name not in FOLLOW_CORES]
    coordinates = list(dict.fromkeys([*names, "cores", "jobs", *varying]))
    return first[coordinates].join(results.groupby("point")[metrics].mean()).reset_index(), coordinates
