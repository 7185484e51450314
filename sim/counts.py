"""What a machine counts of the flush events that it serves, and what their time is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Records = Any  # a record array of numpy, whose fields have the names of its dtype,
Record = Any  # and one of its records

COUNTS = np.dtype([(name, np.float64) for name in (
    "interrupts",  # sent
    "handler_ns",  # handler runs on busy CPUs;
    "handler_compute_ns",  # of that, what computing CPUs lost
    "refills",  # compute times that misses after full flushes lengthened, on busy CPUs;
    "range_misses",  # and those that misses after range flushes alone lengthened
    "queue_ns",  # waiting for a server: a line, or the fabric of hardware broadcasts
    "entries",  # kernel entries that checked a mark;
    "entry_ns",  # what they cost, line and full flush; and what preempted vCPUs flush when they run again;
    "entry_flushes",  # and those that found it pending
    "marks",  # requests that preempted vCPUs were not sent, but marked pending for
    "line_misses",  # reads of a line by flush events without a valid copy of it,
    "line_writes",  # writes to it by flush events,
    "line_clears",  # and by checks
    "lock_sections",  # lock sections,
    "lock_wait_ns",  # waiting for their locks,
    "lock_ns",  # and all of their time, waiting included
    "interrupts_isolated",  # of the interrupts, those to isolated CPUs,
    "disturbed_isolated_ns",  # for how long these were in handler runs and flushes at kernel entries,
    "longest_isolated_ns",  # the longest of which it was,
    "windows_isolated",  # and how many windows of theirs were seen
)])  # fmt: skip


def no_counts(lanes: int) -> Records:
    """Nothing counted yet, a record per lane."""
    return np.zeros(lanes, COUNTS).view(np.recarray)


class Machine(Protocol):
    """What serves flush events in every lane."""

    lanes: int

    @property
    def counts(self) -> Records:
        """Sums over the flush events served since `reset`, [lane]; a copy."""

    @property
    def now(self) -> np.ndarray:
        """Time of the last flush event, [lane]."""

    @property
    def computed_ns(self) -> np.ndarray:
        """How long CPUs that make flush events have computed until their last ones, all together, [lane]; or NaN."""

    @property
    def window_p99_isolated_ns(self) -> np.ndarray:
        """99th percentile of the windows of isolated CPUs, [lane]; NaN where none was seen."""

    def serve(self, waits: np.ndarray, windows: np.ndarray, batches: int = 1) -> Records:
        """Serve as many flush events in every lane as there are rows; their waits and windows, [event, lane].

        `counts` after each of `batches` of equal length, [batch, lane].
        """

    def reset(self) -> None: ...
    def keep(self, lanes: np.ndarray) -> None: ...


@dataclass(frozen=True)
class Weights:
    """The time of one flush event as a sum of its wait and of what is counted, every weight [lane]."""

    fixed_ns: np.ndarray  # what it takes without flush events
    handler: np.ndarray  # of handler time on busy CPUs
    handler_compute: np.ndarray  # of handler time taken from compute
    refill_ns: np.ndarray  # per refill
    range_miss_ns: np.ndarray  # per range miss

    @property
    def by_count(self) -> np.ndarray:
        """The weight of each count, [term, lane], in the order of `weighted_counts`; kernel entries count once."""
        ones = np.ones_like(self.fixed_ns)
        return np.array([self.handler, self.handler_compute, self.refill_ns, ones, self.range_miss_ns, ones])


def weighted_counts(counts: Records) -> np.ndarray:
    """What the time of a flush event is made of, besides its wait, [term, lane]."""
    return np.array([
        counts.handler_ns, counts.handler_compute_ns, counts.refills, counts.entry_ns, counts.range_misses,
        counts.lock_ns,
    ])  # fmt: skip
