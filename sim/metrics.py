"""Every metric: its unit, its meaning, its kind of workload, and where it is null.

`METRICS` is the only list of metrics; their equations are in `sim/accounting.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.parameters import Kind


@dataclass(frozen=True)
class Metric:
    """One metric: its unit and meaning, where it is null, and whether it can be infinite."""

    unit: str
    meaning: str
    kind: Kind = Kind.ANY  # the workloads that have it; null for the others
    null: str = ""  # the condition under which it is null; empty: never
    of_events: bool = False  # null without flush events
    of_isolated: bool = False  # null without isolated CPUs
    endless: bool = False  # whether it can be infinite
    part: bool = False  # whether it is a part of added_s
    main: bool = False  # whether short lists show it

    @property
    def description(self) -> str:
        """The meaning, and where the metric is null."""
        whose = {Kind.ANY: "", Kind.BUILD: "a closed loop", Kind.LOOP: "a build"}[self.kind]
        where = [
            self.null,
            "there are no flush events" if self.of_events else "",
            "no CPU is isolated" if self.of_isolated else "",
        ]
        nowhere = " or ".join(["where " + " or ".join(filter(None, where))] if any(where) else [])
        null = " and ".join(filter(None, [f"for {whose}" if whose else "", nowhere]))
        return self.meaning + (f"; null {null}" if null else "")

    @property
    def may_be_null(self) -> bool:
        """Whether the metric is null for some workloads of its kind."""
        return bool(self.null) or self.of_events or self.of_isolated


def _build(unit: str, meaning: str, null: str = "", main: bool = False) -> Metric:
    return Metric(unit, meaning, Kind.BUILD, null, main=main)


def _part(meaning: str) -> Metric:
    return Metric("s", f"part of added_s: {meaning}", Kind.BUILD, part=True)


def _wait(meaning: str, main: bool = False) -> Metric:
    return Metric("ns", meaning, of_events=True, main=main)


def _window(meaning: str, main: bool = False) -> Metric:
    meaning = f"{meaning}: infinite for a CPU that never flushes"
    return Metric("ns", meaning, null=_ALONE, of_events=True, endless=True, main=main)


def _mark(unit: str, meaning: str, null: str = "") -> Metric:
    return Metric(unit, meaning, null=null or _UNMARKED, of_events=True)


_ALONE = "there is no other busy CPU"
_UNMARKED = "the policy marks no CPU pending"

METRICS: dict[str, Metric] = {
    "system_time_s": _build("s", "system CPU time of the build, as in the output of `time`", main=True),
    "system_time_half_s": _build("s", "95 % half-width of system_time_s in one lane, by batch means"),
    "added_s": _build("s", "system time beyond that of vanilla", main=True),
    "ratio": _build("1", "system time divided by that of vanilla", null="that of vanilla is 0", main=True),
    "wall_time_s": _build("s", "elapsed time of the build", null="think_ns is 0", main=True),
    "wall_time_half_s": _build(
        "s", "95 % half-width of wall_time_s in one lane, by batch means",
        null="think_ns is 0 or only some of the busy CPUs make flush events",
    ),
    "overhead_share": Metric("1", "share of the time of busy CPUs that is not compute", main=True),
    "sender_overhead_share": Metric("1", "share of the time of senders that is not compute", main=True),
    "elongation": Metric(
        "1", "time of work with flush events, divided by its time without them", null="that time is 0", main=True
    ),
    "operations_per_s": Metric("1/s", "operations of all jobs per second", Kind.LOOP, main=True),
    "overhead_ns_per_operation": Metric(
        "ns", "CPU time of all busy CPUs that is not compute, for each operation", Kind.LOOP, main=True
    ),
    "operation_ns_total": Metric("ns", "time of one operation, flush events included", Kind.LOOP),
    "flush_wait_ns": _wait("mean length of a flush event, on its sender", main=True),
    "flush_wait_p50_ns": _wait("median length of a flush event"),
    "flush_wait_p99_ns": _wait("99th percentile of the length of a flush event", main=True),
    "flush_wait_p999_ns": _wait(
        "99.9th percentile of the length of a flush event among the events_simulated of the lane: an estimate if these "
        "are at least 10,000"
    ),
    "flush_wait_max_ns": _wait(
        "longest among the events_simulated flush events of the lane; it grows with their number"
    ),
    "flush_interval_ns": _wait("mean time between flush events on the whole machine"),
    "sender_s": _part("flush events on their senders, without bookkeeping; negative if irq_time hides more time"),
    "handler_s": _part("handler runs on computing CPUs, as far as they are charged as system time"),
    "switch_s": _part("flushes and line accesses at switches, ticks, kernel entries, and starts of preempted vCPUs"),
    "refill_s": _part("TLB misses after full flushes, as far as they are system time"),
    "bookkeeping_s": _part("XPFO's own work"),
    "interrupts_per_flush": Metric("1", "interrupts per flush event, after coalescing", of_events=True, main=True),
    "handler_share": Metric("1", "share of the time of a busy CPU in handler runs"),
    "stale_window_ns": _window(
        "mean time from a flush event until another busy CPU can no longer use the old mapping", main=True
    ),
    "stale_window_p50_ns": _window("median of the stale window"),
    "stale_window_p99_ns": _window("99th percentile of the stale window", main=True),
    "pending_share": _mark("1", "share of the time of a busy CPU with its mark pending"),
    "outstanding_marks": Metric(
        "1", "mean number of flush events that a busy CPU has not followed yet: infinite if it never flushes",
        null=_ALONE, endless=True,
    ),
    "marks_per_flush": _mark(
        "1", "marks by other CPUs for each flush that follows them",
        null=f"{_UNMARKED} or no CPU checks",
    ),
    "lost_marks": _mark("1e-6", "marks erased by plain read-modify-writes, per million marks"),
    "nr_tlb_remote_flush_received": _build(
        "1", "the kernel's counter for the whole build: full flushes after requests or marks"
    ),
    "nr_tlb_local_flush_one": _build("1", "the kernel's counter for the whole build: pages of range flushes"),
    "lock_wait_ns": Metric(
        "ns", "mean time that a CPU waits for a lock", Kind.LOOP, null="the lane has no lock section"
    ),
    "lock_share": Metric("1", "share of the time of senders in lock sections, waits included", Kind.LOOP),
    "interrupts_per_cpu_s_isolated": Metric("1/s", "interrupts per second to an isolated CPU", of_isolated=True),
    "disturbed_share_isolated": Metric(
        "1", "share of the time of an isolated CPU in handler runs and in flushes after marks", of_isolated=True
    ),
    "disturbance_max_ns_isolated": Metric(
        "ns", "longest handler run or flush after a mark on an isolated CPU in the lane",
        of_isolated=True,
    ),
    "stale_window_p99_ns_isolated": Metric(
        "ns", "99th percentile of the stale window on isolated CPUs: infinite if they never flush",
        null="the lane has no such window", of_isolated=True, of_events=True, endless=True,
    ),
    "events_simulated": Metric("1", "measured flush events of the lane; operations, if these make no flush events"),
}  # fmt: skip


def of_flush_events() -> list[str]:
    """The metrics that are null where there are no flush events."""
    return [name for name, metric in METRICS.items() if metric.of_events]


def metrics_of(kind: Kind) -> list[str]:
    """The metrics of one kind of workload alone."""
    return [name for name, metric in METRICS.items() if metric.kind is kind]


def check_metrics(metrics: Mapping[str, np.ndarray], kind: Kind) -> None:
    """ValueError where a metric is no number against its row in `METRICS`: the sums overflowed."""
    for name, values in metrics.items():
        metric = METRICS[name]
        if metric.kind not in (Kind.ANY, kind):
            continue
        wrong = np.zeros(values.shape, dtype=bool) if metric.endless else np.isinf(values)
        if not metric.may_be_null:
            wrong |= np.isnan(values)
        if wrong.any():
            raise ValueError(
                f"{name}={values[wrong][0]}: must be a number: the times of the point are too large, too small or too "
                "far apart to be added"
            )
