"""CPUs in order of when each is due, where most join near the end: those that all wait about equally long."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sim.counts import Record, Records
from sim.machine.compiled.jit import compiled
from sim.machine.compiled.knockout import MATCH

ENDS = np.dtype([("first", np.int64), ("end", np.int64)])  # place of the first CPU, and behind the last one


class Ring(NamedTuple):
    """Who waits: after the last place the first one follows."""

    places: Records  # when each is due, and who it is; infinite behind the last CPU
    ends: Record


def ring(cpus: int) -> Ring:
    """A ring with nobody in it and room for so many CPUs."""
    places = np.zeros(cpus + 1, MATCH).view(np.recarray)
    places.due = np.inf
    return Ring(places, np.zeros(1, ENDS).view(np.recarray)[0])


@compiled
def join(ring: Ring, k: int, due: float) -> None:
    """CPU k joins behind all that are due before, the lowest CPU first among equals."""
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
