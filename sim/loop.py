"""Work that is a loop, not a build: threads that each do an operation, and its flush events, again and again.

A loop says one of `LOOP`, and nothing of `BUILD`: what an operation does besides flushing is part of `operation_ns`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    return np.any(_given(table, LOOP, points), axis=0)


def check_loops(table: Mapping[str, np.ndarray], points: int) -> tuple[int, str] | None:
    """The first point that is half a loop and half a build, or a loop in two ways, and why it cannot be."""
    ways, also = _given(table, LOOP, points), _given(table, OF_BUILD, points)
    wrong = (ways.sum(axis=0) > 1) | (ways.any(axis=0) & also.any(axis=0))
    for point in np.flatnonzero(wrong)[:1].tolist():
        said = [name for name, given in zip(LOOP, ways[:, point], strict=True) if given]
        if len(said) > 1:
            return point, f"{said[0]} and {said[1]}: a loop is given by one of {', '.join(LOOP)}"
        other = OF_BUILD[int(also[:, point].argmax())]
        return point, f"{said[0]} makes the workload a loop, and {other} is of a build; give one of them"
    return None


def _given(table: Mapping[str, np.ndarray], names: Sequence[str], points: int) -> np.ndarray:
    """Which of these numbers are given, [name, point]."""
    unknown = np.full(points, np.nan)
    return ~np.isnan([np.asarray(table.get(name, unknown), dtype=float) for name in names])


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
    if not np.isnan(lanes["operation_ns"][0]):
        return lanes["operation_ns"]
    if not np.isnan(lanes["one_thread_ops_per_s"][0]):
        return 1e9 / lanes["one_thread_ops_per_s"]
    return jobs * 1e9 / lanes["rate_per_s"]
