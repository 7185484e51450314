"""Selection and counts in [row, lane] arrays, for cases where numpy is slow.

A mask is an int64 array: all bits set where true, none where false. Selecting by it is exact, bit by bit. Flags are
bytes, eight lanes to a word: one addition to a word adds to eight lanes at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LINE = 64  # bytes: a vector that straddles two cache lines costs two loads
COUNTED = 240  # most flags that a byte counts, with room for additions
WORD = np.dtype(np.uint64)


def empty(shape: tuple[int, ...], dtype: np.dtype | type = float) -> np.ndarray:
    """An array that begins at a cache line, values unset."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(size + LINE, dtype=np.uint8)
    begin = -memory.ctypes.data % LINE
    return memory[begin : begin + size].view(dtype).reshape(shape)


def fill(shape: tuple[int, ...], value: float, dtype: np.dtype | type = float) -> np.ndarray:
    """An array that begins at a cache line, all values set."""
    out = empty(shape, dtype)
    out[...] = value
    return out


select = np.bitwise_and  # the bits of values where a mask is set, else those of 0.0


def widen(flags: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The mask of the true flags: a byte that is -1 keeps its sign when it is widened."""
    np.copyto(out, np.negative(flags.view(np.int8)))
    return out


@dataclass
class Times:
    """Times [row, lane] and their bits: the same memory."""

    ns: np.ndarray
    bits: np.ndarray

    @classmethod
    def empty(cls, rows: int, lanes: int) -> Times:
        """Values unset."""
        ns = empty((rows, lanes))
        return cls(ns, ns.view(np.int64))

    def part(self, rows: slice) -> Times:
        """A view of some rows."""
        return Times(self.ns[rows], self.bits[rows])


def aligned(values: np.ndarray) -> np.ndarray:
    """A copy that begins at a cache line."""
    out = empty(values.shape, values.dtype)
    out[...] = values
    return out


def fit_buffer(lanes: int) -> None:
    """Let numpy broadcast a row of this many lanes in place: it copies rows that are shorter than its buffer.

    The setting ends with the surrounding `np.errstate`.
    """
    np.setbufsize(128 if lanes >= 256 else 8192)


def put(array: np.ndarray, at: np.ndarray, values: np.ndarray | float) -> None:
    """Set one row of each lane; `at` [lane] indexes the flat array, as `take` does: pairs of indices are slow."""
    array.reshape(-1)[at] = values


class Flags:
    """Bools [row, lane], and the same memory as words."""

    def __init__(self, words: np.ndarray, lanes: int) -> None:
        self.words, self._lanes = words, lanes  # [row, word]
        self.set = words.view(bool)[:, :lanes]

    @classmethod
    def empty(cls, rows: int, lanes: int) -> Flags:
        """All flags are false."""
        return cls(fill((rows, -(-lanes // WORD.itemsize)), 0, WORD), lanes)

    def part(self, rows: slice) -> Flags:
        """A view of some rows."""
        return Flags(self.words[rows], self._lanes)

    def count(self) -> np.ndarray:
        """The number of true flags of each lane."""
        blocks = (self.words[at : at + COUNTED] for at in range(0, len(self.words), COUNTED))
        counts = [np.add.reduce(block, axis=0).view(np.uint8)[: self._lanes] for block in blocks]
        return sum(counts, np.zeros(self._lanes, dtype=np.int64))

    def clear(self, row: np.ndarray) -> None:
        """Unset one row of each lane."""
        width = self.words.shape[1] * WORD.itemsize
        self.words.view(bool).reshape(-1)[row * width + np.arange(self._lanes)] = False


class Least:
    """The first row with the least value of each lane; faster than argmin, which takes lanes one by one."""

    def __init__(self, rows: int, lanes: int) -> None:
        self._lanes = lanes
        self._equal = Flags.empty(rows, lanes)
        self._from_end = np.arange(rows, dtype=WORD)[::-1, None] % COUNTED + 1  # within each block of COUNTED rows
        # blocks are counted from the last row on, so that all but the first are whole
        self._blocks = [slice(max(end - COUNTED, 0), end) for end in range(rows, 0, -COUNTED)]

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """That row and its value, [lane]; for times seen as unsigned integers, negative ones come last."""
        value = values.min(axis=0)
        np.equal(values, value, out=self._equal.set)
        words = self._equal.words
        words *= self._from_end
        row = np.zeros(self._lanes, dtype=np.int64)
        for block in self._blocks:
            from_end = words[block].view(np.uint8).max(axis=0)[: self._lanes]
            row = np.where(from_end, block.stop - from_end.astype(np.int64), row)
        return row, value


class Rank:
    """The number of true flags up to each row."""

    def __init__(self, rows: int, lanes: int) -> None:
        self.dtype = np.dtype(np.uint8 if rows <= COUNTED else np.uint16)
        self._words = fill((rows, -(-lanes * self.dtype.itemsize // WORD.itemsize)), 0, WORD)
        self._counts = self._words.view(self.dtype)[:, :lanes]

    def __call__(self, flags: Flags) -> np.ndarray:
        """Inclusive counts of `flags`, [row, lane]; the next call reuses the array."""
        if self.dtype.itemsize == 1:
            np.add.accumulate(flags.words, axis=0, out=self._words)
        else:
            self._counts[:] = flags.set
            np.add.accumulate(self._words, axis=0, out=self._words)
        return self._counts


def quantile(ascending: np.ndarray, share: float) -> np.ndarray:
    """Linear quantile over axis 0 of values sorted along it."""
    at = share * (len(ascending) - 1)
    low = int(at)
    high = min(low + 1, len(ascending) - 1)
    return ascending[low] + (at - low) * (ascending[high] - ascending[low])
