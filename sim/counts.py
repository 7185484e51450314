"""The counts of the flush events that a machine serves, and the terms of their time."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Records = Any  # a record array of numpy; its fields have the names of its dtype
Record = Any  # one record of such an array

COUNTS = np.dtype([(name, np.float64) for name in (
    "interrupts",  # interrupts sent
    "handler_ns",  # handler runs on busy CPUs
    "handler_compute_ns",  # handler runs on computing CPUs
    "refills",  # computes of busy CPUs that misses after full flushes lengthened
    "range_misses",  # computes that misses after range flushes alone lengthened
    "queue_ns",  # waits for a server: a line, or the fabric of hardware broadcasts
    "entries",  # kernel entries that checked a mark
    "entry_ns",  # cost of these, line and full flush; and flushes of preempted vCPUs when they run again
    "entry_flushes",  # kernel entries that found the mark pending
    "marks",  # marks of preempted vCPUs in place of requests
    "line_misses",  # reads of a line by flush events without a valid copy of it
    "line_writes",  # writes to a line by flush events
    "line_clears",  # writes to a line by checks
    "lock_sections",  # lock sections
    "lock_wait_ns",  # waits for their locks
    "lock_ns",  # time of lock sections, waits included
    "interrupts_isolated",  # interrupts to isolated CPUs
    "disturbed_isolated_ns",  # handler runs and flushes at kernel entries on isolated CPUs
    "longest_isolated_ns",  # the longest of these
    "windows_isolated",  # stale windows of isolated CPUs
)])  # fmt: skip


def no_counts(lanes: int) -> Records:
    """Counts of 0, one record per lane."""
    return np.zeros(lanes, COUNTS).view(np.recarray)


class Machine(Protocol):
    """A simulator of flush events in all lanes."""

    lanes: int

    @property
    def counts(self) -> Records:
        """Sums over the flush events served since `reset`, [lane]; a copy."""

    @property
    def now(self) -> np.ndarray:
        """Time of the last flush event, [lane]."""

    @property
    def computed_ns(self) -> np.ndarray:
        """The total compute of all senders until the last flush event, [lane]; or NaN."""

    @property
    def window_p99_isolated_ns(self) -> np.ndarray:
        """99th percentile of the windows of isolated CPUs, [lane]; NaN without such windows."""

    def serve(self, waits: np.ndarray, windows: np.ndarray, batches: int = 1) -> Records:
        """Serve one flush event per row in every lane; fill in their waits and windows, [event, lane].

        Returns `counts` after each of `batches` of equal length, [batch, lane].
        """

    def reset(self) -> None: ...
    def keep(self, lanes: np.ndarray) -> None: ...


@dataclass(frozen=True)
class Weights:
    """Weights of the counts in the time of one flush event, beside its wait; every weight is [lane]."""

    fixed_ns: np.ndarray  # time without flush events
    handler: np.ndarray  # weight of handler time on busy CPUs
    handler_compute: np.ndarray  # weight of handler time on computing CPUs
    refill_ns: np.ndarray  # per refill
    range_miss_ns: np.ndarray  # per range miss

    @property
    def by_count(self) -> np.ndarray:
        """The weight of each count, [term, lane], in the order of `weighted_counts`; kernel entries count once."""
        ones = np.ones_like(self.fixed_ns)
        return np.array([self.handler, self.handler_compute, self.refill_ns, ones, self.range_miss_ns, ones])


def weighted_counts(counts: Records) -> np.ndarray:
    """The counts that add to the time of a flush event, beside its wait, [term, lane]."""
    return np.array([
        counts.handler_ns, counts.handler_compute_ns, counts.refills, counts.entry_ns, counts.range_misses,
        counts.lock_ns,
    ])  # fmt: skip
