"""The index space of a sweep: point `i` is decoded from `i`, without a list of points.

Axes multiply, and blocks of axes add. Axes of a point's shape vary slowest, so that many consecutive points can be
simulated side by side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.parameters import PARAMETERS

SHAPE = (
    "policy",
    *(name for name, parameter in PARAMETERS.items() if parameter.same),
    "jobs",
    "machine",
)  # slowest first
Coded = tuple[Sequence[Any] | np.ndarray, np.ndarray | None]  # values, and each point's index; None: one value


@dataclass(frozen=True)
class Relative:
    """A share or a multiple of another key's value at the same point."""

    factor: float
    of: str

    def __str__(self) -> str:
        return f"{self.factor:g} x {self.of}"


@dataclass(frozen=True)
class Span(Sequence[Any]):
    """Two values or more by formula, with equal spacing or equal ratios."""

    first: float
    last: float
    steps: int
    log: bool = False

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, k: Any) -> Any:
        if not 0 <= k < self.steps:
            raise IndexError(k)
        if self.log:
            return float(self.first * (self.last / self.first) ** (k / (self.steps - 1)))
        ends = self.first * (self.steps - 1 - k) + self.last * k  # whole numbers stay whole
        value = ends / (self.steps - 1)
        return int(value) if value == int(value) else value

    def at(self, k: np.ndarray) -> Sequence[Any] | np.ndarray:
        """The values of these steps, with the same bits."""
        ends = max(abs(self.first), abs(self.last), 1.0) * self.steps
        if self.log or ends >= 2**53:  # numpy's power is not Python's, nor are its large integers
            return [self[each] for each in k.tolist()]
        return (float(self.first) * (self.steps - 1 - k) + float(self.last) * k) / (self.steps - 1)


@dataclass(frozen=True)
class Axis:
    """One digit of the index: names that vary together and, for each, its values."""

    names: tuple[str, ...]
    values: tuple[Sequence[Any], ...]

    def __len__(self) -> int:
        return len(self.values[0])


@dataclass(frozen=True)
class Block:
    """A product of axes, slowest first; a constant is an axis of one value."""

    axes: tuple[Axis, ...]

    @property
    def points(self) -> int:
        """The number of points, which may be more than an array can index."""
        return math.prod(len(axis) for axis in self.axes)

    @property
    def values(self) -> dict[str, Sequence[Any]]:
        """The values of every name."""
        return {name: values for axis in self.axes for name, values in zip(axis.names, axis.values, strict=True)}

    @property
    def run(self) -> int:
        """The number of consecutive points with one shape."""
        return self.points // math.prod(len(axis) for axis in self.axes if set(axis.names) & set(SHAPE))

    def columns(self, index: np.ndarray) -> dict[str, Coded]:
        """The values of every name at these indices.

        Mixed radix, the last axis fastest. Relative values stay relative.
        """
        out: dict[str, Coded] = {}
        for axis in reversed(self.axes):
            index, digit = np.divmod(index, len(axis)) if len(axis) > 1 else (index, np.zeros(1, dtype=np.int64))
            low, high = int(digit.min()), int(digit.max())
            which: np.ndarray | None = None
            if high - low > 2 * len(digit):
                used, which = np.unique(digit, return_inverse=True)
            else:
                used = np.arange(low, high + 1)
                which = digit - low if high > low else None
            for name, values in zip(axis.names, axis.values, strict=True):
                out[name] = (values.at(used) if isinstance(values, Span) else [values[d] for d in used.tolist()], which)
        return out
