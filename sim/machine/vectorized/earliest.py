"""The least of many times in every lane, without a scan of all of them.

Rows are in blocks of about the square root of their number. The least of each block is kept, and a block is scanned
again only after a change of one of its rows.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from sim.arrays import put

FEW = 48  # number of rows up to which a scan is faster than blocks


class Earliest:
    """The first row with the least value of an array [row, lane]; each change must be followed by `changed`."""

    def __init__(self, values: np.ndarray, blocks: bool = True) -> None:
        """Without `blocks` all rows are scanned each time, and changes need no call of `changed`."""
        self._values = values
        rows, lanes = values.shape
        self._blocks = blocks and rows > FEW
        if not self._blocks:
            return
        self._size = isqrt(rows - 1) + 1
        count = -(-rows // self._size)
        lane = np.arange(lanes)
        # Here the values of a lane are adjacent, since argmin is fast only along the last axis.
        self._begin, self._slot = lane * self._size, lane * count  # flat indices of a lane, by row and by block
        self._step, self._lane = self._size * lanes, lane[:, None]
        self._offset = np.arange(self._size) * lanes  # offsets from the first row of a block
        self._last = (rows - 1) * lanes
        self._row = np.empty((lanes, count), dtype=np.int64)  # first row with the least value of each block
        self._least = np.empty((lanes, count))
        for block in range(count):
            self.changed(np.full(lanes, block * self._size))

    def changed(self, row: np.ndarray) -> None:
        """Update the block of row `row` [lane] after a change."""
        if not self._blocks:
            return
        block = row // self._size
        rows = np.minimum((block * self._step)[:, None] + self._offset, self._last)  # the last row is repeated
        values = self._values.take(rows + self._lane)  # [lane, row of the block]
        first = values.argmin(axis=1)
        slot = self._slot + block
        put(self._row, slot, block * self._size + first)
        put(self._least, slot, values.take(self._begin + first))

    def row(self) -> np.ndarray:
        """The first row with the least value, [lane]."""
        if not self._blocks:
            return self._values.argmin(axis=0)
        return self._row.take(self._slot + self._least.argmin(axis=1))

    def least(self) -> np.ndarray:
        """The least value, [lane]."""
        return self._least.min(axis=1) if self._blocks else self._values.min(axis=0)
