"""Lanes: checked columns of parameters, and the groups of points that are simulated side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.parameters import PARAMETERS, Kind, busy_cpus, check, defining, is_number

MACHINE_WIDTH = 98304  # most CPUs times lanes side by side, if a step visits all CPUs
MOST_LANES = 8192  # most lanes side by side: more are no faster
MOST_REQUESTS = 2**24  # most requests in memory: one for each sender and target of a lane
GROUPED = ("policy", *(name for name, parameter in PARAMETERS.items() if parameter.same))


def is_column(name: str, value: Any) -> bool:
    """Whether a value is a column; the pages of a single point are a mapping or a tuple of pairs."""
    if isinstance(value, str | bytes | Mapping):
        return False
    if name == "range_pages":
        return isinstance(value, list) or (np.ndim(value) > 0 and not isinstance(value, tuple))
    return isinstance(value, list | tuple | range) or np.ndim(value) > 0


def check_column(name: str, value: Any, points: int) -> np.ndarray:
    """One checked value of a parameter per point, [point], in its unit; NaN where a number is not given.

    The result has float64 numbers for every type of input. Raises ValueError with parameter, value and allowed values,
    or if the number of values is neither 1 nor `points`.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0 and not np.ma.is_masked(value):
        value = value.item()
    values = _one_dimension(name, value) if is_column(name, value) else [value]
    if len(values) not in (1, points):
        raise ValueError(f"{name}: {len(values)} values for {points} points")
    if name == "policy":
        column = _names(name, values)
    elif is_number(name) and isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        with np.errstate(over="ignore"):  # a long double that overflows is infinite, and so refused
            column = values.astype(np.float64)
        for suspect in column[~_plausible(name, column)].tolist():
            check(name, suspect)
    else:
        column = _array_of(name, _check_each(name, values))
    return np.resize(column, points) if len(column) == 1 else column


def _one_dimension(name: str, value: Any) -> Sequence[Any] | np.ndarray:
    """The values of a column; ValueError for an array that cannot be a column."""
    if isinstance(value, list | tuple | range):
        return value
    if np.ma.is_masked(value):
        raise ValueError(f"{name}: an array with masked values; must be numbers, NaN where one is not given")
    values = np.asarray(value)
    if values.ndim != 1:
        raise ValueError(f"{name}: an array of {values.ndim} dimensions; must be one value, or one per point")
    if is_number(name) and values.dtype.kind not in "fiuO":
        raise ValueError(f"{name}: an array of {values.dtype}; must be numbers")
    return values


def _names(name: str, values: Sequence[Any] | np.ndarray) -> np.ndarray:
    """A column of names."""
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"{name}={value!r}: must be a name")
    column = np.empty(len(values), dtype=object)
    column[:] = [str(value) for value in values]
    return column


def _check_each(name: str, values: Sequence[Any] | np.ndarray) -> list[Any]:
    """Every value in its checked form; equal values are checked once."""
    checked: dict[Any, Any] = {}
    keys = [value if isinstance(value, str) else repr(value) for value in values]
    for key, value in zip(keys, values, strict=True):
        if key not in checked:
            checked[key] = check(name, value)
    return [checked[key] for key in keys]


def _array_of(name: str, values: Sequence[Any]) -> np.ndarray:
    """An array of values: numbers as floats, with NaN for None; names and pages as objects."""
    column = np.empty(len(values), dtype=np.float64 if is_number(name) else object)
    column[:] = [np.nan if value is None else value for value in values]
    return column


def numbers_of(lanes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns of numbers."""
    return {name: column for name, column in lanes.items() if is_number(name)}


def _plausible(name: str, values: np.ndarray) -> np.ndarray:
    """Whether each number is in the range of its parameter, or NaN, which means not given."""
    parameter = PARAMETERS[name]
    inside = (values >= parameter.low) & (values <= parameter.high) & np.isfinite(values)
    if parameter.whole:
        inside &= values == np.floor(values)
    return inside | np.isnan(values)


def group_points(table: Mapping[str, np.ndarray], points: int) -> list[np.ndarray]:
    """Indices of points that can be simulated side by side, as groups in order of their first points.

    `table` has a checked column [point] for each parameter.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    pages = [tuple(p for p, _ in mix) for mix in table["range_pages"]] if "range_pages" in table else [()] * points
    busy = busy_cpus(table["jobs"], table["cores"])
    columns = [table[name].tolist() for name in GROUPED if name in table]
    columns += [np.isnan(table[name]).tolist() for name in defining(Kind.LOOP) if name in table]
    for point in range(points):
        key = (pages[point], busy[point], *(str(column[point]) for column in columns))
        groups.setdefault(key, []).append(point)
    return [np.array(members) for members in groups.values()]


def lanes_side_by_side(cores: int, interrupts: bool) -> int:
    """The most lanes side by side; with `interrupts` a flush event visits every CPU."""
    rows = cores if interrupts else max(1, cores // 16)
    most = min(MACHINE_WIDTH // rows, MOST_LANES, MOST_REQUESTS // cores**2 if interrupts else MOST_LANES)
    return max(1, most)


def require_parameters(lanes: Mapping[str, np.ndarray], names: Sequence[str], policy: str) -> None:
    """Raise TypeError if a parameter that the policy reads is not given in every lane."""
    missing = [
        name
        for name in names
        if name not in lanes or (is_number(name) and np.isnan(lanes[name]).any() and not PARAMETERS[name].optional)
    ]
    if missing:
        many = f"{len(missing)} parameters" if len(missing) > 1 else "a parameter"
        raise TypeError(
            f"simulate() is missing {many} that policy {policy} reads: {', '.join(missing)}: not given, or not a number"
        )
