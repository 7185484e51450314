"""Columns of points in which most are one value: those are views of it, with a stride of 0, and worked on once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np

from sim.parameters import Pages
from sweep.inputs.catalog import INSTRUCTION_COSTS

LARGE_RANGE = 33  # pages; `large_range_share` speaks of ranges above it


def derive(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of the model's parameters from columns of quantities, [point]; NaN where nothing is known."""
    out = dict(columns)
    if "clock_scale" in out:
        scale = _or(out.pop("clock_scale"), 1.0)
        out |= {name: pointwise(np.multiply, out[name], scale) for name in INSTRUCTION_COSTS if name in out}
    if "user_s_over_xeon" in out:
        out["user_s"] = pointwise(np.multiply, out["user_s"], _or(out.pop("user_s_over_xeon"), 1.0))
    if "alloc_per_kunmap" in out:
        made = pointwise(np.multiply, out["kunmap_events"], out.pop("alloc_per_kunmap"))
        out["alloc_events"] = (
            pointwise(_filled, made, out["alloc_events"])
            if "alloc_events" in out else made
        )  # fmt: skip
    if "large_range_share" in out:
        out["range_pages"] = pointwise(_with_large_shares, out["range_pages"], out.pop("large_range_share"))
    return out


def _with_large_shares(pages: np.ndarray, shares: np.ndarray) -> np.ndarray:
    known: dict[tuple[Pages, float], Pages] = {}
    out = np.empty(len(shares), dtype=object)
    for point, (each, share) in enumerate(zip(pages.tolist(), shares.tolist(), strict=True)):
        if (each, share) not in known:
            known[each, share] = _with_large_share(each, share)
        out[point] = known[each, share]
    return out


def _filled(value: Any, column: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(column), value, column)


def _or(column: np.ndarray, value: float) -> np.ndarray:
    return pointwise(partial(_filled, value), column)


def _with_large_share(pages: Pages, share: float) -> Pages:
    """The same mix below and above LARGE_RANGE, with `share` of the whole above it."""
    large = sum(weight for p, weight in pages if p > LARGE_RANGE)
    small = sum(weight for p, weight in pages if p <= LARGE_RANGE)
    if share != share or large == 0 or small == 0:
        return pages
    return tuple((p, weight * (share / large if p > LARGE_RANGE else (1.0 - share) / small)) for p, weight in pages)


@lru_cache(maxsize=1024)
def constant(value: Any, points: int) -> np.ndarray:
    """A column of one value, [point]; numbers are floats, all else is held as it is."""
    held = np.empty(1, dtype=float if isinstance(value, float | int) else object)
    held[0] = value
    return np.broadcast_to(held, points)


def is_constant(column: np.ndarray) -> bool:
    """Whether a column is known to be one value; False says nothing."""
    return column.strides == (0,)


def one_value(column: np.ndarray) -> bool:
    """Whether a column is one value, bit by bit."""
    if is_constant(column) or len(column) == 1:
        return True
    same = column if column.dtype == object else column.view(f"i{column.itemsize}")
    return bool(same[-1] == same[0] and (same == same[0]).all())


def pointwise(function: Callable[..., np.ndarray], *columns: np.ndarray) -> np.ndarray:
    """`function` of columns, point by point; worked out once where all of them are constant."""
    if all(is_constant(column) for column in columns):
        made = function(*(column[:1] for column in columns))
        return (
            constant(made[0], len(columns[0]))
            if made.dtype in (float, object)
            else np.broadcast_to(made, columns[0].shape)
        )
    return function(*columns)
