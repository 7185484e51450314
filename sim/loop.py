"""Work that is a loop, not a build: threads that each do an operation, and its flush events, again and again.

A loop says one of `LOOP`, and nothing of `BUILD`: what an operation does besides flushing is part of `operation_ns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

LOOP = ("operation_ns", "one_thread_ops_per_s", "rate_per_s")  # one of them makes a workload a loop
BUILD = (
    "user_s base_system_s serial_share kunmap_events alloc_events alloc_bookkeeping_ns kunmap_bookkeeping_ns "
    "accounting refill_system_share"
).split()  # read of a build alone
OF_BUILD = ("user_s", "base_system_s", "kunmap_events", "alloc_events")  # what says that a workload is a build


def is_loop(table: Mapping[str, np.ndarray], points: int) -> np.ndarray:
    """Which points are loops, [point]; `table` holds columns [point], NaN where nothing is given."""
    loop = np.zeros(points, dtype=bool)
    for name in LOOP:
        if name in table:
            loop |= ~np.isnan(np.asarray(table[name], dtype=float))
    return loop


def check_loop(point: Mapping[str, Any]) -> None:
    """ValueError where a point is half a loop and half a build, or a loop in two ways."""
    ways = [name for name in LOOP if point.get(name) is not None and point[name] == point[name]]
    if len(ways) > 1:
        raise ValueError(f"{ways[0]} and {ways[1]}: a loop is given by one of {', '.join(LOOP)}")
    also = [name for name in OF_BUILD if point.get(name) is not None and point[name] == point[name]]
    if ways and also:
        raise ValueError(f"{ways[0]} makes the workload a loop, and {also[0]} is of a build; give one of them")


def fill_loops(table: Mapping[str, np.ndarray], loop: np.ndarray) -> dict[str, np.ndarray]:
    """The columns, with those of a build filled where a point is a loop: its events are those of one operation."""
    out = dict(table)
    filled: dict[str, Any] = dict.fromkeys(BUILD, 0.0) | {"accounting": "tick"}
    filled |= {"user_s": np.nan, "base_system_s": np.nan, "alloc_events": table["events_per_operation"]}
    for name, value in filled.items():
        unknown = np.full(len(loop), np.nan, dtype=object if name == "accounting" else float)
        out[name] = np.where(loop, value, table.get(name, unknown))
    return out


def asked_operation_ns(lanes: Mapping[str, np.ndarray], jobs: int) -> np.ndarray:
    """How long an operation is asked to take, [lane]: its own work, or all of it at the rate that is given."""
    if "operation_ns" in lanes and not np.isnan(lanes["operation_ns"][0]):
        return lanes["operation_ns"]
    if "one_thread_ops_per_s" in lanes and not np.isnan(lanes["one_thread_ops_per_s"][0]):
        return 1e9 / lanes["one_thread_ops_per_s"]
    return jobs * 1e9 / lanes["rate_per_s"]
