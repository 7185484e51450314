"""Lanes: checked columns of parameters, and which of them are simulated side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.parameters import PARAMETERS, check
from sim.policies import policy_module

MACHINE_WIDTH = 98304  # CPUs times lanes that one batch of lanes holds at most, where a step touches all CPUs,
MOST_LANES = 8192  # and lanes: more are no quicker
GROUPED = ("cores", "sockets", "threads_per_core", "apic", "policy", "window_events", "warmup_events")


def is_column(name: str, value: Any) -> bool:
    """Whether a value is one per point; the pages of one point are themselves a mapping or a tuple of pairs."""
    if name == "range_pages":
        return isinstance(value, list | np.ndarray)
    return not isinstance(value, str) and np.ndim(value) > 0


def column(name: str, value: Any, points: int) -> np.ndarray:
    """One checked value per point, [point]; NaN where a number is not given."""
    values = value if is_column(name, value) else [value]
    if len(values) not in (1, points):
        raise ValueError(f"{name}: {len(values)} values for {points} points")
    if name == "policy":
        checked = values
    elif isinstance(values, np.ndarray) and values.dtype.kind == "f":
        for each in values[~_plausible(name, values)].tolist():
            check(name, each)
        checked = values
    else:
        seen: dict[Any, Any] = {}
        for each in values:
            key = each if isinstance(each, str | tuple) else repr(each)
            if key not in seen:
                seen[key] = check(name, each)
        checked = [seen[each if isinstance(each, str | tuple) else repr(each)] for each in values]
    if isinstance(checked, np.ndarray):
        column = checked
    else:
        kind = object if name == "range_pages" or isinstance(checked[0], str) else float
        column = np.empty(len(checked), dtype=kind)
        column[:] = [np.nan if each is None else each for each in checked]
    return np.resize(column, points) if len(column) == 1 else column


def _plausible(name: str, values: np.ndarray) -> np.ndarray:
    """Whether each number is in the parameter's range, or NaN: not given."""
    parameter = PARAMETERS[name]
    inside = (values >= parameter.low) & (values <= parameter.high) & np.isfinite(values)
    if parameter.whole:
        inside &= values == np.floor(values)
    return inside | np.isnan(values)


def groups(table: Mapping[str, np.ndarray], points: int) -> list[np.ndarray]:
    """Indices of points that can be simulated side by side, in order of their first point."""
    keys: dict[tuple[Any, ...], list[int]] = {}
    pages = [tuple(p for p, _ in each) for each in table["range_pages"]] if "range_pages" in table else [()] * points
    busy = np.clip(np.floor(table["jobs"]), 1, table["cores"])
    names = [name for name in (*GROUPED, "flushers") if name in table]
    columns = [table[name].tolist() for name in names]
    for point in range(points):
        key = (pages[point], busy[point], *(str(column[point]) for column in columns))
        keys.setdefault(key, []).append(point)
    return [np.array(members) for members in keys.values()]


def width(policy: str, cores: int) -> int:
    """Lanes that are simulated side by side at most."""
    each = cores if policy_module(policy).flush().tell.interrupts else max(1, cores // 16)
    return min(max(1, MACHINE_WIDTH // each), MOST_LANES)


def require(lanes: Mapping[str, np.ndarray], names: Sequence[str], policy: str) -> None:
    missing = [
        name
        for name in names
        if name not in lanes
        or (lanes[name].dtype == float and np.isnan(lanes[name]).any() and not PARAMETERS[name].optional)
    ]
    if missing:
        raise TypeError(f"policy {policy} reads {', '.join(missing)}: not given, or not a number")
