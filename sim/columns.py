"""Selecting and counting in [row, lane] arrays where numpy's own ways are slow: bit masks instead of `where`.

A mask is an int64 array: all bits set where true, none where false. Selecting by it is exact, bit by bit.
"""

from __future__ import annotations

import numpy as np


def negative(values: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The mask of the values below zero: their sign bit, spread."""
    return np.right_shift(values.view(np.int64), 63, out=out)


def mask(flags: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The mask of the true flags: a byte that is -1 keeps its sign when it is widened."""
    np.copyto(out, np.negative(flags.view(np.int8)))
    return out


def keep_bits(values: np.ndarray, mask: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The values where the mask is set, else 0; `values` may be one row."""
    np.bitwise_and(values.view(np.int64), mask, out=out.view(np.int64))
    return out


def least(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row that holds each lane's least value, and that value: argmin looks at the lanes one by one."""
    rows = len(values)
    if rows > 255:  # more than a byte counts
        row = values.argmin(axis=0)
        return row, values[row, np.arange(values.shape[1])]
    value = values.min(axis=0)
    from_end = np.arange(rows, 0, -1, dtype=np.uint8)[:, None]
    return rows - ((values == value).view(np.uint8) * from_end).max(axis=0).astype(np.int64), value


def put(array: np.ndarray, at: np.ndarray, values: np.ndarray | float) -> None:
    """Set one row of each lane; `at` [lane] indexes the flat array, as `take` does: pairs of indices are slow."""
    array.reshape(-1)[at] = values


class Rank:
    """How many of the rows up to each are set, by doubling."""

    def __init__(self, rows: int, lanes: int) -> None:
        self.dtype = np.dtype(np.uint8 if rows <= 240 else np.uint16)
        self._a = np.empty((rows, lanes), dtype=self.dtype)
        self._b = np.empty((rows, lanes), dtype=self.dtype)

    def __call__(self, flags: np.ndarray) -> np.ndarray:
        """Inclusive counts of `flags` [row, lane]; the array is used again by the next call."""
        here, there = self._a, self._b
        here[:] = flags
        step = 1
        while step < len(here):
            np.add(here[step:], here[:-step], out=there[step:])
            there[:step] = here[:step]
            here, there = there, here
            step *= 2
        return here
