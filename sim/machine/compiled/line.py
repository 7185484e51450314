"""CPUs in order of time, where who joins is nearly always the last: all that wait equally long from when they join."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.machine.compiled.jit import compiled


class Lines(NamedTuple):
    """Some lines of every lane, each a ring: after its last place the first one follows."""

    due: np.ndarray  # [lane, line, place]; infinite behind the last CPU
    cpu: np.ndarray  # [lane, line, place]
    first: np.ndarray  # place of the first CPU, [lane, line],
    end: np.ndarray  # and behind the last one


def empty_lines(lanes: int, lines: int, cpus: int) -> Lines:
    """Lines with nobody in them and room for so many CPUs each."""
    shape = (lanes, lines, cpus + 1)
    places = np.zeros((2, lanes, lines), dtype=np.int64)
    return Lines(np.full(shape, np.inf), np.zeros(shape, dtype=np.int64), *places)


@compiled
def join(lines: Lines, lane: int, line: int, k: int, due: float) -> None:
    """CPU k joins a line behind all that are due before, the lowest CPU first among equals."""
    last, at, first = lines.due.shape[2] - 1, lines.end[lane, line], lines.first[lane, line]
    end = at + 1 if at < last else 0
    lines.end[lane, line], lines.due[lane, line, end] = end, np.inf
    while at != first:
        before = at - 1 if at > 0 else last
        theirs, cpu = lines.due[lane, line, before], lines.cpu[lane, line, before]
        if theirs < due or (theirs == due and cpu < k):
            break
        lines.due[lane, line, at], lines.cpu[lane, line, at] = theirs, cpu
        at = before
    lines.due[lane, line, at], lines.cpu[lane, line, at] = due, k


@compiled
def leave(lines: Lines, lane: int, line: int) -> None:
    """The first CPU of a line leaves it."""
    first = lines.first[lane, line]
    lines.first[lane, line] = first + 1 if first < lines.due.shape[2] - 1 else 0
