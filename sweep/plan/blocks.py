"""The blocks of axes of a grid's content and the command line, with every value checked.

A grid is a mapping of axes. Axes multiply, `zip` ties axes of equal length together, `blocks` add; keys outside the
blocks belong to every block. A value may be relative to another key (`0.625 x cores`), an axis may be a range
(`{from: 0, to: 4096, steps: 65}`, `log: true` for equal ratios), policies may be given by pattern.
"""

import fnmatch
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sim.parameters import PARAMETERS, Pages
from sweep.errors import BadInput, did_you_mean
from sweep.inputs.catalog import QUANTITIES
from sweep.inputs.door import shorten
from sweep.plan.composition import Composition
from sweep.plan.grid import SHAPE, Axis, Block, Relative, Span
from sweep.plan.points import NAMES

RELATIVE = re.compile(r"\s*([0-9.eE+-]+)\s*x\s*([A-Za-z_]+)\s*")
MOST_LISTED = 200_000  # values of one axis in a list; a longer one is a range
EACH = 2_000  # steps of a range checked one by one
Pinned = Mapping[str, Sequence[Any]]  # keys of the command line with their values, checked


def read_blocks(
    content: Mapping[str, Any], pinned: Mapping[str, Any], asked: Composition, where: str
) -> tuple[Block, ...]:
    """The blocks of a grid file's content. `pinned` replaces axes (command line); `asked` checks one value of a key."""
    common = dict(content)
    tied = _tied_names(content)
    given = {name: _values(name, value, asked, "command line", name in tied) for name, value in pinned.items()}
    blocks = common.pop("blocks", None)
    blocks = [{}] if blocks is None else blocks
    if not isinstance(blocks, Sequence) or isinstance(blocks, str) or not blocks:
        raise BadInput(f"{where}: blocks={shorten(blocks)}: must be a list of mappings")
    out = []
    for number, block in enumerate(blocks):
        here = f"{where}, block {number + 1}" if len(blocks) > 1 else where
        if not isinstance(block, Mapping):
            raise BadInput(f"{here}: {shorten(block)}: must be a mapping of axes")
        twice = sorted(str(key) for key in set(common) & set(block) - {"zip"})
        if twice:
            raise BadInput(f"{here}: {twice[0]!r} must be in the block or outside the blocks, and is in both")
        zips = [*_zips(common.get("zip"), here), *_zips(block.get("zip"), here)]
        made = _block({**common, **block}, zips, given, asked, here)
        if made not in out:  # blocks may differ only in a key of the command line
            out.append(made)
    return tuple(out)


def _tied_names(content: Mapping[str, Any]) -> set[Any]:
    blocks = content.get("blocks")
    holders = [content]
    if isinstance(blocks, list):
        holders += [block for block in blocks if isinstance(block, Mapping)]
    return {name for holder in holders for group in _zips(holder.get("zip"), "zip") for name in group}


def _zips(zips: Any, where: str) -> list[Mapping[str, Any]]:
    groups = zips if isinstance(zips, Sequence) and not isinstance(zips, str) else [] if zips is None else [zips]
    for group in groups:
        if not isinstance(group, Mapping) or not group:
            raise BadInput(f"{where}: zip={shorten(group)}: must be a mapping of axes, or a list of such mappings")
    return list(groups)


def _block(
    content: dict[str, Any], zips: list[Mapping[str, Any]], pinned: Pinned, asked: Composition, where: str
) -> Block:
    content.pop("zip", None)
    names = [name for tied in zips for name in tied]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{where}: {name!r} must be in one zip, and is in two")
        if name in content:
            raise BadInput(f"{where}: {name!r} must be inside or outside of zip, and is both")
    axes = [_tied(tied, pinned, asked, where) for tied in zips]
    content = {name: value for name, value in content.items() if name not in pinned}
    axes += [Axis((name,), (_values(name, value, asked, where),)) for name, value in content.items()]
    axes += [Axis((name,), (values,)) for name, values in pinned.items() if name not in names]
    rank = {name: at for at, name in enumerate(SHAPE)}
    axes.sort(key=lambda axis: min(rank.get(name, len(SHAPE)) for name in axis.names))
    return Block(tuple(axes))


def _tied(tied: Mapping[str, Any], pinned: Pinned, asked: Composition, where: str) -> Axis:
    """A zip; keys of the command line choose its rows, or replace it if all of its keys are given."""
    values = {name: _values(name, value, asked, f"{where}, zip", tied=True) for name, value in tied.items()}
    given = {name: pinned[name] for name in values if name in pinned}
    if len(given) == len(values):
        longest = max(len(column) for column in given.values())
        values = {name: [*column] * longest if len(column) == 1 else column for name, column in given.items()}
        where = "command line"
    if len({len(column) for column in values.values()}) > 1:
        sizes = ", ".join(f"{name} {len(column)}" for name, column in values.items())
        raise BadInput(f"{where}, zip: axes must have equal length: {sizes}")
    if given and len(given) < len(values):
        rows = _chosen(values, given)
        if not rows:
            others = ", ".join(name for name in values if name not in given)
            example = " ".join(f"{name}=[{_word(values[name][0])}]" for name in values)
            raise BadInput(
                f"command line: {', '.join(given)}: tied to {others} by zip, which has no such row; give them all, "
                f"like `{example}`"
            )
        values = {name: [column[row] for row in rows] for name, column in values.items()}
    rows_seen: set[str] = set()
    for row in zip(*values.values(), strict=True) if _length(values) <= MOST_LISTED else ():
        if repr(row) in rows_seen:
            words = ", ".join(f"{name}={_word(value)}" for name, value in zip(values, row, strict=True))
            raise BadInput(f"{where}, zip: {words}: given twice; equal points would count as independent repetitions")
        rows_seen.add(repr(row))
    return Axis(tuple(values), tuple(values.values()))


def _chosen(values: Mapping[str, Sequence[Any]], given: Pinned) -> list[int]:
    """The rows with the given values, if every given value occurs."""
    wanted = {name: {repr(value) for value in column} for name, column in given.items()}
    rows = [
        row for row in range(_length(values)) if all(repr(values[name][row]) in wanted[name] for name in given)
    ]  # fmt: skip
    there = {name: {repr(values[name][row]) for row in rows} for name in given}
    return rows if there == wanted else []


def _length(values: Mapping[str, Sequence[Any]]) -> int:
    return len(next(iter(values.values())))


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(name: str, value: Any, asked: Composition, where: str, tied: bool = False) -> Sequence[Any]:
    """The checked values of an axis, all different unless they are tied to those of another one."""
    if not isinstance(name, str):
        raise BadInput(f"{where}: {name!r}: a key must be a word; quote it")
    if name == "range_pages" and isinstance(value, Mapping) and "from" not in value:
        value = [value]
    if isinstance(value, Mapping):
        return _span(name, value, asked, where)
    values = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if name == "policy":
        values = _matched(values, asked.policies, where)
    if not values:
        raise BadInput(f"{where}: {name}: must have at least one value")
    if len(values) > MOST_LISTED:
        raise BadInput(
            f"{where}: {name}: {len(values)} values: must be at most {MOST_LISTED}; give a range {{from, to, steps}}"
        )
    checked = [_value(name, value, asked, where) for value in values]
    seen: set[str] = set()
    for value in checked:
        meaning = repr(_shares(value) if name == "range_pages" and isinstance(value, tuple) else value)
        if meaning in seen and not tied:
            raise BadInput(
                f"{where}: {name}={_word(value)}: given twice; equal points would count as independent repetitions"
            )
        seen.add(meaning)
    return checked


def _shares(mix: Pages) -> Pages:
    """A mix of ranges by the share of each length: {1: 1} and {1: 2} are the same."""
    total = sum(weight for _, weight in mix)
    return tuple((pages, weight / total) for pages, weight in mix if weight)


def _matched(values: Sequence[Any], policies: Collection[str], where: str) -> list[Any]:
    """Names of policies in place of patterns: `xpfo*` adds names, `!xpfo_broadcast` removes names before it."""
    names: list[Any] = []
    for value in values:
        text = str(value)
        pattern = text.removeprefix("!")
        if text == pattern and not set("*?[") & set(text):
            names.append(value)
            continue
        matched = fnmatch.filter(policies if text == pattern else map(str, names), pattern)
        if not matched:
            among = "no policy" if text == pattern else "no name before it"
            raise BadInput(f"{where}: policy={text!r}: matches {among}{did_you_mean(pattern, policies)}")
        if text == pattern:
            names += [name for name in matched if name not in names]
        else:
            names = [name for name in names if name not in matched]
    return names


def _value(name: str, value: Any, asked: Composition, where: str) -> Any:
    of_names = name in NAMES or (name in QUANTITIES and bool(QUANTITIES[name].choices))  # `exact`: no share of `act`
    match = RELATIVE.fullmatch(value) if isinstance(value, str) and not of_names else None
    if match is None:
        return asked.check(name, value, where)
    try:
        factor = float(match[1])
    except ValueError:
        form = "must be a number, or `FACTOR x KEY` like `0.625 x cores`"
        raise BadInput(f"{where}: {name}={value!r}: {form}") from None
    if not (math.isfinite(factor) and factor > 0):
        raise BadInput(f"{where}: {name}={value!r}: the factor must be positive and finite")
    return Relative(factor, match[2])


def _span(name: str, value: Mapping[str, Any], asked: Composition, where: str) -> Sequence[Any]:
    """A range with checked ends and spacing; with few steps, every value is checked."""
    known = {"from", "to", "steps", "log"}
    if set(value) - known or not {"from", "to", "steps"} <= set(value):
        raise BadInput(f"{where}: {name}: must be {{from: A, to: B, steps: N}}, with `log: true` for equal ratios")
    steps, log = value["steps"], value.get("log", False)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= 10**15:
        raise BadInput(f"{where}: {name}: steps={shorten(steps)}: must be a whole number from 1 to 1e15")
    if not isinstance(log, bool):
        raise BadInput(f"{where}: {name}: log={shorten(log)}: must be true or false")
    first, last = (asked.check(name, value[end], where) for end in ("from", "to"))
    for end in (first, last):
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise BadInput(f"{where}: {name}={shorten(end)}: the ends of a range must be numbers")
        if log and not end > 0:
            raise BadInput(f"{where}: {name}: the ends of a range with equal ratios must be above 0, not {end!r}")
    if (first == last) != (steps == 1):
        raise BadInput(
            f"{where}: {name}: a range of {steps} step{'s' if steps > 1 else ''} from {first:g} to {last:g}: "
            + ("must have different ends" if steps > 1 else "must have two steps or more; give a single value")
        )
    if steps == 1:
        return [first]
    span = Span(first, last, steps, log)
    if name in PARAMETERS and PARAMETERS[name].whole and (log or (last - first) % (steps - 1)) and steps > EACH:
        raise BadInput(f"{where}: {name}: a range of {steps} steps from {first} to {last}: must have whole numbers")
    for step in range(steps) if steps <= EACH else ():
        asked.check(name, span[step], where)
    return span
