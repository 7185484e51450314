"""What is measured: of each flush event served, in sums over them, and every metric that is made from both.

`METRICS` holds the unit and meaning of each metric; how it is made stands in `sim/accounting.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass
class Served:
    """The flush event that the last step served, every field [lane]."""

    now: np.ndarray  # its time; absolute, ns
    wait_ns: np.ndarray  # length of a flush event that is over
    window_ns: np.ndarray  # how long another busy CPU could use what was flushed; NaN: not known on this scale

    @classmethod
    def nothing(cls, lanes: int) -> Served:
        """Before the first step: time 0, nothing measured."""
        return cls(np.zeros(lanes), np.zeros(lanes), np.full(lanes, np.nan))


@dataclass
class Counts:
    """Sums over steps, every field [lane]."""

    interrupts: np.ndarray  # sent
    handler_ns: np.ndarray  # handler runs on busy CPUs;
    handler_compute_ns: np.ndarray  # of that, what computing CPUs lost
    refills: np.ndarray  # compute times that misses after full flushes lengthened, on busy CPUs;
    range_misses: np.ndarray  # and those that misses after range flushes alone lengthened
    queue_ns: np.ndarray  # waiting for a server: a line, or the fabric of hardware broadcasts
    entries: np.ndarray  # kernel entries that looked at a note;
    entry_ns: np.ndarray  # what they cost, line and full flush; and what held CPUs flush when they run again;
    entry_flushes: np.ndarray  # and those that found it set
    notes: np.ndarray  # requests that held CPUs were not sent, but left a note of
    line_misses: np.ndarray  # reads of a line by flush events without a valid copy of it,
    line_writes: np.ndarray  # writes to it by flush events,
    line_clears: np.ndarray  # and by looks

    @classmethod
    def zero(cls, lanes: int) -> Counts:
        """Nothing counted yet."""
        return cls(*(np.zeros(lanes) for _ in range(13)))


class Machine(Protocol):
    """What serves flush events in every lane."""

    lanes: int
    counts: Counts

    @property
    def now(self) -> np.ndarray:
        """Time of the last flush event, [lane]."""

    @property
    def computed_ns(self) -> np.ndarray:
        """How long CPUs that make flush events have computed until their last ones, all together, [lane]; or NaN."""

    def serve(self, waits: np.ndarray, windows: np.ndarray) -> None:
        """Serve as many flush events in every lane as there are rows; their waits and windows, [event, lane]."""

    def reset(self) -> None: ...
    def keep(self, lanes: np.ndarray) -> None: ...


@dataclass(frozen=True)
class Price:
    """Time of one flush event as a sum of its wait and of what is counted, every weight [lane]."""

    fixed_ns: np.ndarray  # what it takes without flush events
    handler: np.ndarray  # weight of handler time on busy CPUs
    handler_compute: np.ndarray  # weight of handler time taken from compute
    refill_ns: np.ndarray  # per refill
    range_miss_ns: np.ndarray  # per range miss

    @property
    def weights(self) -> np.ndarray:
        """The weight of each priced count, [term, lane], in the order of `priced_counts`; kernel entries cost 1."""
        ones = np.ones_like(self.fixed_ns)
        return np.array([self.handler, self.handler_compute, self.refill_ns, ones, self.range_miss_ns])


def priced_counts(counts: Counts) -> np.ndarray:
    """What a flush event is priced by, besides its wait, [term, lane]."""
    return np.array(
        [counts.handler_ns, counts.handler_compute_ns, counts.refills, counts.entry_ns, counts.range_misses]
    )


METRICS: dict[str, tuple[str, str]] = {  # name: (unit, meaning)
    "system_time_s": ("s", "system CPU time of the build, as `time` shows it"),
    "system_time_half_s": ("s", "95 % half-width of system_time_s inside the lane, by batch means"),
    "added_s": ("s", "system time above vanilla's"),
    "ratio": ("1", "system time over vanilla's; null where that is 0"),
    "wall_time_s": ("s", "elapsed time of the build; null where think_ns is 0"),
    "wall_time_half_s": (
        "s",
        "95 % half-width of wall_time_s inside the lane, by batch means; null where think_ns is 0 or only some of the "
        "busy CPUs make flush events",
    ),
    "overhead_share": ("1", "share of the busy CPUs' time that is not compute"),
    "sender_overhead_share": ("1", "share of the time of CPUs that make flush events that is not compute"),
    "elongation": ("1", "time that work takes over what it takes without flush events; null where that is 0"),
    "operations_per_s": ("1/s", "of a loop: operations of all jobs a second; null for a build"),
    "operation_ns_total": ("ns", "of a loop: time of one operation, flush events included; null for a build"),
    "flush_wait_ns": ("ns", "mean length of a flush event, on its sender; null where there is none"),
    "flush_wait_p50_ns": ("ns", "median length of a flush event; null where there is none"),
    "flush_wait_p99_ns": ("ns", "99th percentile of the length of a flush event; null where there is none"),
    "flush_wait_p999_ns": (
        "ns",
        "99.9th percentile of the length of a flush event, of the events_simulated that the lane measured: an estimate "
        "from 10,000 of them on; null where there is none",
    ),
    "flush_wait_max_ns": (
        "ns",
        "longest of the events_simulated flush events that the lane measured; it grows with their number; null where "
        "there is none",
    ),
    "flush_interval_ns": ("ns", "mean time between flush events, machine-wide; null where there are none"),
    "sender_s": (
        "s",
        "part of added_s: flush events on their senders, without bookkeeping; below 0 where irq_time hides more",
    ),
    "handler_s": ("s", "part of added_s: handler runs on computing CPUs that are charged as system time"),
    "switch_s": (
        "s",
        "part of added_s: flushes and line accesses at switches, ticks and entries, and where a held CPU runs again",
    ),
    "refill_s": ("s", "part of added_s: TLB misses after full flushes that are system time"),
    "bookkeeping_s": ("s", "part of added_s: XPFO's own work"),
    "interrupts_per_flush": ("1", "interrupts of a flush event, after coalescing; null where there is none"),
    "handler_share": ("1", "share of a busy CPU's time in handler runs"),
    "stale_window_ns": (
        "ns",
        "mean time from a flush event until another busy CPU cannot use the old mapping: infinite where it never "
        "flushes; null where there is no flush event or no other busy CPU",
    ),
    "stale_window_p50_ns": ("ns", "median of the stale window; infinite and null as the mean"),
    "stale_window_p99_ns": ("ns", "99th percentile of the stale window; infinite and null as the mean"),
    "pending_share": ("1", "share of a busy CPU's time with its note set; null without notes"),
    "outstanding_posts": ("1", "flush events of others that a busy CPU has not honoured yet, mean; as the window"),
    "posts_per_flush": (
        "1",
        "foreign posts between two clears of a note, per flush that honours them; null without notes, or looks at them",
    ),
    "lost_posts": ("1e-6", "posts erased by a plain read-modify-write, per million posts; null without notes"),
    "nr_tlb_remote_flush_received": ("1", "the kernel's counter for the whole build: full flushes, by request or note"),
    "nr_tlb_local_flush_one": ("1", "the kernel's counter for the whole build: pages of range flushes"),
    "events_simulated": ("1", "flush events that the lane measured"),
}


BUILD_METRICS = (
    "system_time_s system_time_half_s added_s ratio wall_time_s wall_time_half_s sender_s handler_s switch_s refill_s "
    "bookkeeping_s nr_tlb_remote_flush_received nr_tlb_local_flush_one"
).split()  # null for a loop
ENDLESS = ("stale_window_ns", "stale_window_p50_ns", "stale_window_p99_ns", "outstanding_posts")  # may be infinite
NULLABLE = tuple(name for name, (_, meaning) in METRICS.items() if "null" in meaning or name in ENDLESS)


def check_metrics(metrics: Mapping[str, np.ndarray], loop: bool) -> None:
    """ValueError where a metric is no number and its meaning does not say so: then doubles could not hold the sums."""
    for name, values in metrics.items():
        if loop and name in BUILD_METRICS:
            continue
        wrong = np.isinf(values) if name not in ENDLESS else np.zeros(values.shape, dtype=bool)
        if name not in NULLABLE:
            wrong |= np.isnan(values)
        if wrong.any():
            raise ValueError(
                f"{name} comes out as {values[wrong][0]}: the times of the point are too large, too small or too far "
                "apart to be added, as no machine's are"
            )
