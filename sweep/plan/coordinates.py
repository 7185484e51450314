"""The names that distinguish the points of a plan, from its axes; tables read them in the results' metadata."""

from collections.abc import Sequence
from typing import Any

from sweep.plan.grid import Axis, Block, Relative, Span
from sweep.plan.points import NAMES

LEADERS = ("machine", "workload", "policy", "cores")  # of tied names, the one that the others follow


def coordinates(blocks: Sequence[Block]) -> dict[str, Any]:
    """`names` in the order of the axes; `follows` and `relative` give another name for some of them.

    A name follows another one if both are tied wherever they vary, and each value of the other has one of this name.
    A name is relative if all its values are shares of another one: `{"jobs": "cores"}` for `jobs: 0.5 x cores`.
    """
    names: dict[str, None] = {}
    constants: dict[str, list[Any]] = {}  # values of names with one value in a block
    leaders: dict[str, set[str | None]] = {}  # of each varying name, block by block
    shares: dict[str, set[str | None]] = {}
    for block in blocks:
        given = set()
        for axis in block.axes:
            for name, values in zip(axis.names, axis.values, strict=True):
                given.add(name)
                if name == "draw":
                    continue
                shares.setdefault(name, set()).update(_shares(values))
                if len(axis) > 1 and not _one_value(values):
                    names[name] = None
                    leaders.setdefault(name, set()).add(_leader(name, axis))
                else:
                    constants.setdefault(name, []).append(values[0])
        for name in dict.fromkeys(name for other in blocks for name in other.values):
            if name not in given and name != "draw":
                constants.setdefault(name, []).append(None)  # its default
    for name, values in constants.items():
        if any(value != values[0] for value in values[1:]):
            names[name] = None
            leaders.setdefault(name, set()).add(None)
    follows = {name: leader for name in names if (leader := _only(leaders[name])) is not None}
    relative = {name: of for name, among in shares.items() if (of := _only(among)) is not None}
    ordered = [*(name for name in NAMES if name in names), *(name for name in names if name not in NAMES)]
    return {"names": ordered, "follows": follows, "relative": relative}


def _one_value(values: Sequence[Any]) -> bool:
    return values[0] == values[len(values) - 1] and all(value == values[0] for value in values)


def _shares(values: Sequence[Any]) -> set[str | None]:
    if isinstance(values, Span | range):
        return {None}
    return {value.of if isinstance(value, Relative) else None for value in values}


def _leader(name: str, axis: Axis) -> str | None:
    """The name of an axis that this one follows: each of its values has one value of this name."""
    if len(axis.names) == 1:
        return None
    leader = next((first for first in LEADERS if first in axis.names), axis.names[0])
    if leader == name:
        return None
    others = axis.values[axis.names.index(leader)]
    if isinstance(others, Span):
        return leader  # its values are all different
    own = axis.values[axis.names.index(name)]
    pairs = {(repr(other), repr(value)) for other, value in zip(others, own, strict=True)}
    return leader if len(pairs) == len({repr(other) for other in others}) else None


def _only(among: set[str | None]) -> str | None:
    return next(iter(among)) if len(among) == 1 else None
