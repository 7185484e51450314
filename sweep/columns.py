"""Columns of points in which most are one value: those are views of it, with a stride of 0, and worked on once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def is_constant(column: np.ndarray) -> bool:
    """Whether a column is known to be one value; False says nothing."""
    return column.strides == (0,)


def pointwise(function: Callable[..., np.ndarray], *columns: np.ndarray) -> np.ndarray:
    """`function` of columns, point by point; worked out once where all of them are constant."""
    if all(is_constant(column) for column in columns):
        return np.broadcast_to(function(*(column[:1] for column in columns)), columns[0].shape)
    return function(*columns)
