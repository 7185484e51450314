"""Closed loops: threads that each repeat an operation and its flush events.

A closed loop gives exactly one of the parameters that define it, and none of a build: `operation_ns` includes all work
of an operation except its flush events.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.parameters import PARAMETERS, Kind, defining

LOOP, BUILD = defining(Kind.LOOP), defining(Kind.BUILD)


def is_loop(table: Mapping[str, np.ndarray], points: int) -> np.ndarray:
    """Whether each point is a closed loop, [point]; `table` has columns [point], with NaN for values not given."""
    return np.any(_given(table, LOOP, points), axis=0)


def check_loops(table: Mapping[str, np.ndarray], points: int) -> tuple[int, str] | None:
    """The first point with parameters of a closed loop and a build, or of two closed loops, and its error message."""
    ways, also = _given(table, LOOP, points), _given(table, BUILD, points)
    wrong = (ways.sum(axis=0) > 1) | (ways.any(axis=0) & also.any(axis=0))
    for point in np.flatnonzero(wrong)[:1].tolist():
        said = [name for name, given in zip(LOOP, ways[:, point], strict=True) if given]
        if len(said) > 1:
            return point, f"{said[0]} and {said[1]}: a closed loop is given by one of {', '.join(LOOP)}"
        other = BUILD[int(also[:, point].argmax())]
        return point, f"{said[0]} makes the workload a closed loop, but {other} belongs to a build; give one of them"
    return None


def _given(table: Mapping[str, np.ndarray], names: Sequence[str], points: int) -> np.ndarray:
    """Whether each of these numbers is given, [name, point]."""
    unknown = np.full(points, np.nan)
    return ~np.isnan([np.asarray(table.get(name, unknown), dtype=float) for name in names])


def fill_loops(table: Mapping[str, np.ndarray], loop: np.ndarray) -> dict[str, np.ndarray]:
    """The columns, with those of a build filled for closed loops: their events are the events of one operation."""
    out = dict(table)
    filled: dict[str, Any] = {"user_s": np.nan, "base_system_s": np.nan, "alloc_events": table["events_per_operation"]}
    for name, parameter in PARAMETERS.items():
        if parameter.kind is Kind.BUILD:
            value = filled.get(name, parameter.choices[0] if parameter.choices else 0.0)
            unknown = np.full(len(loop), np.nan, dtype=float if parameter.is_number else object)
            out[name] = np.where(loop, value, table.get(name, unknown))
    return out


def asked_operation_ns(lanes: Mapping[str, np.ndarray], jobs: int) -> np.ndarray:
    """The given time of an operation, [lane]: its work alone, or all of its time if a rate is given."""
    if not np.isnan(lanes["operation_ns"][0]):
        return lanes["operation_ns"]
    if not np.isnan(lanes["one_thread_ops_per_s"][0]):
        return 1e9 / lanes["one_thread_ops_per_s"]
    return jobs * 1e9 / lanes["rate_per_s"]
