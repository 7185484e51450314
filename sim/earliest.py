"""The least of many times in every lane, found without looking at all of them.

Rows stand in blocks of about the square root of their number; the least of each block is kept, and a block is looked
at again only when one of its rows has changed.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

FEW = 48  # rows that are looked through faster than blocks are kept


class Earliest:
    """The first row with the least value of an array [row, lane] that somebody else changes and then says so."""

    def __init__(self, values: np.ndarray, blocks: bool = True) -> None:
        """Without `blocks` all rows are looked at each time, and any of them may change unsaid."""
        self._values = values
        rows, lanes = values.shape
        self._blocks = blocks and rows > FEW
        if not self._blocks:
            return
        size = isqrt(rows - 1) + 1
        starts = np.arange(0, rows, size)
        self._size, self._last, self._lane = size, rows - 1, np.arange(lanes)
        self._offset = np.arange(size)[:, None]
        self._row = np.empty((len(starts), lanes), dtype=np.int64)  # first row with the least value of each block
        for block, start in enumerate(starts):
            self._row[block] = start + values[start : start + size].argmin(axis=0)
        self._least = values[self._row, self._lane]  # [block, lane]

    def changed(self, row: np.ndarray) -> None:
        """Row `row` [lane] of the array has another value now."""
        if not self._blocks:
            return
        block = row // self._size
        rows = np.minimum(block * self._size + self._offset, self._last)  # [row of the block, lane]; the last one again
        values = self._values.take(rows * len(self._lane) + self._lane)  # much faster than by two indices
        first = values.argmin(axis=0)
        self._row[block, self._lane] = block * self._size + first
        self._least[block, self._lane] = values[first, self._lane]

    def row(self) -> np.ndarray:
        """The first row with the least value, [lane]."""
        if not self._blocks:
            return self._values.argmin(axis=0)
        return self._row[self._least.argmin(axis=0), self._lane]

    def least(self) -> np.ndarray:
        """The least value, [lane]."""
        return (self._least if self._blocks else self._values).min(axis=0)
