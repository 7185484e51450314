"""Columns of points. Most have one value: they are views of it with a stride of 0, and computed once."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from sim.parameters import Pages
from sim.quantities import (
    INSTRUCTION_COSTS,
    count_alloc_events,
    factor_or_one,
    fill_unknown,
    scale_instruction_cost,
    scale_user_time,
    set_large_share,
)
from sweep.errors import BadInput


def derive(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of the model's parameters from columns of quantities, [point]; NaN is not known. Raises BadInput."""
    out = dict(columns)
    if "clock_scale" in out:
        clock_scale = pointwise(factor_or_one, out.pop("clock_scale"))
        out |= {
            name: pointwise(scale_instruction_cost, out[name], clock_scale) for name in INSTRUCTION_COSTS if name in out
        }
    if "user_s_over_xeon" in out:
        factor = pointwise(factor_or_one, out.pop("user_s_over_xeon"))
        out["user_s"] = pointwise(scale_user_time, _base(out, "user_s", "user_s_over_xeon"), factor)
    if "alloc_per_kunmap" in out:
        kunmap_events = _base(out, "kunmap_events", "alloc_per_kunmap")
        alloc_events = pointwise(count_alloc_events, kunmap_events, out.pop("alloc_per_kunmap"))
        if "alloc_events" in out:  # a given number comes first
            alloc_events = pointwise(fill_unknown, out["alloc_events"], alloc_events)
        out["alloc_events"] = alloc_events
    if "large_range_share" in out:
        out["range_pages"] = pointwise(
            _set_large_shares, _base(out, "range_pages", "large_range_share"), out.pop("large_range_share")
        )
    return out


def _base(columns: dict[str, np.ndarray], name: str, factor: str) -> np.ndarray:
    if name not in columns:
        raise BadInput(f"{factor}: needs {name}, which is not given")
    return columns[name]


def _set_large_shares(pages: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """`set_large_share` point by point, computed once for each pair of values."""
    mixes: dict[tuple[Pages, float], Pages] = {}
    out = np.empty(len(shares), dtype=object)
    for point, (mix, share) in enumerate(zip(pages.tolist(), shares.tolist(), strict=True)):
        if (mix, share) not in mixes:
            mixes[mix, share] = set_large_share(mix, share)
        out[point] = mixes[mix, share]
    return out


@lru_cache(maxsize=1024)
def constant(value: Any, points: int) -> np.ndarray:
    """A column of one value, [point]; numbers become floats, other values are unchanged."""
    held = np.empty(1, dtype=float if isinstance(value, float | int) else object)
    held[0] = value
    return np.broadcast_to(held, points)


def is_constant(column: np.ndarray) -> bool:
    """Whether a column is known to have one value; False means unknown."""
    return column.strides == (0,)


def one_value(column: np.ndarray) -> bool:
    """Whether a column has one value, bit by bit."""
    if is_constant(column) or len(column) == 1:
        return True
    same = column if column.dtype == object else column.view(f"i{column.itemsize}")
    return bool(same[-1] == same[0] and (same == same[0]).all())


def pointwise(function: Callable[..., np.ndarray], *columns: np.ndarray) -> np.ndarray:
    """`function` of columns, point by point; computed once if all of them are constant."""
    if all(is_constant(column) for column in columns):
        made = function(*(column[:1] for column in columns))
        return (
            constant(made[0], len(columns[0]))
            if made.dtype in (float, object)
            else np.broadcast_to(made, columns[0].shape)
        )
    return function(*columns)
