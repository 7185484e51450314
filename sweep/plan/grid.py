"""The index space of a sweep: point `i` is decoded from `i`, nothing is materialised.

A grid is a mapping of axes. Axes multiply, `zip` ties axes of equal length together, `blocks` add; keys outside the
blocks belong to every block. A value may be relative to another key (`0.625 x cores`), an axis may be a range
(`{from: 0, to: 4096, steps: 65}`, `log: true` for equal ratios). Axes that decide which points can be simulated side by
side vary slowest, so that a run of consecutive points is wide.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.policies import policy_names
from sweep.errors import BadInput, did_you_mean

SHAPE = ("policy", "cores", "sockets", "threads_per_core", "jobs", "flushers", "apic", "machine")  # slowest first
Coded = tuple[Sequence[Any] | np.ndarray, np.ndarray | None]  # values, and which of them each point has; None: the only
_RELATIVE = re.compile(r"^\s*([0-9.eE+-]+)\s*x\s*([a-z_]+)\s*$")


@dataclass(frozen=True)
class Relative:
    """A value that follows another key of the same point, never below `least`."""

    factor: float
    of: str
    least: float = 1.0

    def __str__(self) -> str:
        return f"{self.factor:g} x {self.of}"


@dataclass(frozen=True)
class Span(Sequence[Any]):
    """Values by formula, equally spaced, or by equal ratios."""

    first: float
    last: float
    steps: int
    log: bool = False

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, k: Any) -> Any:
        if not 0 <= k < self.steps:
            raise IndexError(k)
        share = k / (self.steps - 1) if self.steps > 1 else 0.0
        if self.log:
            return float(self.first * (self.last / self.first) ** share)
        ends = self.first * (self.steps - 1 - k) + self.last * k  # whole numbers stay whole
        value = ends / (self.steps - 1) if self.steps > 1 else self.first
        return int(value) if value == int(value) else value

    def at(self, k: np.ndarray) -> Sequence[Any] | np.ndarray:
        """The values of these steps, the same bit by bit."""
        ends = max(abs(self.first), abs(self.last), 1.0) * self.steps
        if self.log or self.steps == 1 or ends >= 2**53:  # numpy's power is not Python's, nor are its large integers
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

    def __len__(self) -> int:
        return math.prod(len(axis) for axis in self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for axis in self.axes for name in axis.names)

    @property
    def run(self) -> int:
        """How many consecutive points have one shape."""
        return len(self) // math.prod(len(axis) for axis in self.axes if set(axis.names) & set(SHAPE))

    def columns(self, index: np.ndarray) -> dict[str, Coded]:
        """The values of every name at these indices.

        Mixed radix, the last axis fastest. Relative values are still relative.
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


def read_blocks(
    content: Mapping[str, Any], pinned: Mapping[str, Any], check: Callable[[str, Any, str], Any], where: str
) -> tuple[Block, ...]:
    """The blocks of a grid file's content. `pinned` replaces axes (command line); `check` checks one value of a key."""
    common = dict(content)
    pinned = {name: _values(name, value, check, "command line") for name, value in pinned.items()}
    blocks = common.pop("blocks", None) or [{}]
    if not isinstance(blocks, Sequence) or isinstance(blocks, str):
        raise BadInput(f"{where}: blocks: must be a list of mappings")
    out = []
    for number, block in enumerate(blocks):
        here = f"{where}, block {number + 1}" if len(blocks) > 1 else where
        if not isinstance(block, Mapping):
            raise BadInput(f"{here}: must be a mapping of axes, not {block!r}")
        twice = sorted(set(common) & set(block) - {"zip"})
        if twice:
            raise BadInput(f"{here}: {twice[0]!r} stands in the block and outside the blocks")
        out.append(_block({**common, **block}, [common.get("zip"), block.get("zip")], pinned, check, here))
    return tuple(out)


def _block(
    content: dict[str, Any],
    zips: list[Any],
    pinned: Mapping[str, Any],
    check: Callable[[str, Any, str], Any],
    where: str,
) -> Block:
    content.pop("zip", None)
    axes = []
    for tied in (each for group in zips if group for each in (group if isinstance(group, Sequence) else [group])):
        names = [name for name in tied if name not in pinned]
        both = sorted(set(names) & set(content))
        if both:
            raise BadInput(f"{where}: {both[0]!r} stands inside and outside of zip")
        values = [_values(name, tied[name], check, f"{where}, zip") for name in names]
        lengths = {len(each) for each in values}
        if len(lengths) > 1:
            sizes = ", ".join(f"{name} {len(each)}" for name, each in zip(names, values, strict=True))
            raise BadInput(f"{where}, zip: axes of different length: {sizes}")
        if names:
            axes.append(Axis(tuple(names), tuple(values)))
    content = {name: value for name, value in content.items() if name not in pinned}
    axes += [Axis((name,), (_values(name, value, check, where),)) for name, value in content.items()]
    axes += [Axis((name,), (values,)) for name, values in pinned.items()]
    rank = {name: at for at, name in enumerate(SHAPE)}
    axes.sort(key=lambda axis: min(rank.get(name, len(SHAPE)) for name in axis.names))
    return Block(tuple(axes))


def _values(name: str, value: Any, check: Callable[[str, Any, str], Any], where: str) -> Sequence[Any]:
    if name == "range_pages" and isinstance(value, Mapping) and "from" not in value:
        value = [value]
    if isinstance(value, Mapping):
        return _span(name, value, check, where)
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if name == "policy":
        values = _matched(values, where)
    if not values:
        raise BadInput(f"{where}: {name}: an axis needs at least one value")
    return [_value(name, each, check, where) for each in values]


def _matched(values: Sequence[Any], where: str) -> list[Any]:
    """Names of policies in place of patterns: `xpfo*` adds, `!xpfo_broadcast` takes away what stands before it."""
    names: list[Any] = []
    for value in values:
        text = str(value)
        pattern = text.removeprefix("!")
        if text == pattern and not set("*?[") & set(text):
            names.append(value)
            continue
        matched = fnmatch.filter(policy_names() if text == pattern else map(str, names), pattern)
        if not matched:
            among = "no policy" if text == pattern else "nothing that stands before it"
            raise BadInput(f"{where}: policy={text!r}: matches {among}{did_you_mean(pattern, policy_names())}")
        if text == pattern:
            names += [name for name in matched if name not in names]
        else:
            names = [name for name in names if name not in matched]
    return names


def _value(name: str, value: Any, check: Callable[[str, Any, str], Any], where: str) -> Any:
    match = _RELATIVE.match(value) if isinstance(value, str) else None
    if match is None:
        return check(name, value, where)
    try:
        factor = float(match[1])
    except ValueError:
        raise BadInput(f"{where}: {name}={value!r}: a relative value is `FACTOR x KEY`, like `0.625 x cores`") from None
    if not (math.isfinite(factor) and factor > 0):
        raise BadInput(f"{where}: {name}={value!r}: the factor must be positive and finite")
    return Relative(factor, match[2])


def _span(name: str, value: Mapping[str, Any], check: Callable[[str, Any, str], Any], where: str) -> Span:
    known = {"from", "to", "steps", "log"}
    if set(value) - known or not {"from", "to", "steps"} <= set(value):
        raise BadInput(f"{where}: {name}: a range is {{from: A, to: B, steps: N}}, with `log: true` for equal ratios")
    steps = value["steps"]
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise BadInput(f"{where}: {name}: steps={steps!r}: must be a whole number, at least 1")
    span = Span(value["from"], value["to"], steps, bool(value.get("log", False)))
    for end in (span.first, span.last):
        check(name, end, where)
        if span.log and not end > 0:
            raise BadInput(f"{where}: {name}: a range with equal ratios needs ends above 0, not {end!r}")
    if steps <= 100_000:
        for k in range(steps):
            check(name, span[k], where)
    return span
