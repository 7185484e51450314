"""Lanes: checked columns of parameters, and the groups of points that are simulated side by side."""

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
    values = value if is_column(name, value) else [value]
    if not isinstance(values, list | tuple | range):
        if np.ma.is_masked(values):
            raise ValueError(f"{name}: an array with masked values; must be numbers, NaN where one is not given")
        values = np.asarray(values)
        if values.ndim != 1:
            raise ValueError(f"{name}: an array of {values.ndim} dimensions; must be one value, or one per point")
        if is_number(name) and values.dtype.kind not in "fiuO":
            raise ValueError(f"{name}: an array of {values.dtype}; must be numbers")
    if len(values) not in (1, points):
        raise ValueError(f"{name}: {len(values)} values for {points} points")
    if is_number(name) and isinstance(values, np.ndarray) and values.dtype.kind != "O":
        with np.errstate(over="ignore"):  # a long double that overflows is infinite, and so refused
            column = values.astype(np.float64)
        for suspect in column[~_plausible(name, column)].tolist():
            check(name, suspect)
    else:
        keys = [each if isinstance(each, str) else repr(each) for each in values]
        checked = {}  # equal values are checked once
        for key, each in zip(keys, values, strict=True):
            if name == "policy" and not isinstance(each, str):
                raise ValueError(f"policy={each!r}: must be a name")
            if key not in checked:
                checked[key] = str(each) if name == "policy" else check(name, each)
        column = np.empty(len(values), dtype=np.float64 if is_number(name) else object)
        column[:] = [np.nan if checked[key] is None else checked[key] for key in keys]
    return np.resize(column, points) if len(column) == 1 else column


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
