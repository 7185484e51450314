"""CPUs in order of their due times, for waits of similar length, so that most CPUs join near the end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.counts import Record, Records
from sim.machine.compiled.jit import compiled
from sim.machine.compiled.knockout import MATCH

ENDS = np.dtype([("first", np.uint32), ("end", np.uint32)])  # place of the first CPU, and place behind the last one


class Ring(NamedTuple):
    """The CPUs that wait; the first place follows the last one."""

    places: Records  # due time and CPU; the time behind the last CPU is infinite
    ends: Record


def ring(cpus: int) -> Ring:
    """An empty ring with room for this many CPUs."""
    places = np.zeros(cpus + 1, MATCH).view(np.recarray)
    places.due = np.inf
    return Ring(places, np.zeros(1, ENDS).view(np.recarray)[0])


@compiled
def join(ring: Ring, k: int, due: float) -> None:
    """CPU k joins behind all CPUs with earlier due times; among equal times the lowest CPU is first."""
    places, ends = ring.places, ring.ends
    last, at = len(places) - 1, ends.end
    end = at + 1 if at < last else 0
    ends.end, places[end].due = end, np.inf
    while at != ends.first:
        before = at - 1 if at > 0 else last
        theirs, cpu = places[before].due, places[before].cpu
        if theirs < due or (theirs == due and cpu < k):
            break
        places[at].due, places[at].cpu = theirs, cpu
        at = before
    places[at].due, places[at].cpu = due, k


@compiled
def leave(ring: Ring) -> None:
    """The first CPU leaves."""
    first = ring.ends.first
    ring.ends.first = first + 1 if first < len(ring.places) - 1 else 0
