"""Columns of points in which most are one value: those are views of it, with a stride of 0, and worked on once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np


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
