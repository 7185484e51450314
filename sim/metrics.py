"""Every metric: its unit, its meaning, of which workloads it is, and where it is null.

`METRICS` is the only list of metrics; how each is made stands in `sim/accounting.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.parameters import Kind


@dataclass(frozen=True)
class Metric:
    """One metric: its unit and meaning; where it is null, and whether it may be infinite."""

    unit: str
    meaning: str
    kind: Kind = Kind.ANY  # of which workloads it is; null for the others
    null: str = ""  # where it is null, in words; empty: nowhere
    of_events: bool = False  # of flush events: null where there are none
    of_isolated: bool = False  # of isolated CPUs: null where there are none
    endless: bool = False  # may be infinite
    part: bool = False  # of added_s
    main: bool = False  # shown where not all metrics are

    @property
    def description(self) -> str:
        """Its meaning, and where it is null, in words."""
        whose = {Kind.ANY: "", Kind.BUILD: "a loop", Kind.LOOP: "a build"}[self.kind]
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
        """Whether it is null for some workloads of its kind."""
        return bool(self.null) or self.of_events or self.of_isolated


def _build(unit: str, meaning: str, null: str = "", main: bool = False) -> Metric:
    return Metric(unit, meaning, Kind.BUILD, null, main=main)


def _part(meaning: str) -> Metric:
    return Metric("s", f"part of added_s: {meaning}", Kind.BUILD, part=True)


def _wait(meaning: str, main: bool = False) -> Metric:
    return Metric("ns", meaning, of_events=True, main=main)


def _window(meaning: str, main: bool = False) -> Metric:
    meaning = f"{meaning}: infinite where it never flushes"
    return Metric("ns", meaning, null=_ALONE, of_events=True, endless=True, main=main)


def _mark(unit: str, meaning: str, null: str = "") -> Metric:
    return Metric(unit, meaning, null=null or _UNMARKED, of_events=True)


_ALONE = "there is no other busy CPU"
_UNMARKED = "the policy marks no CPU pending"

METRICS: dict[str, Metric] = {
    "system_time_s": _build("s", "system CPU time of the build, as `time` shows it", main=True),
    "system_time_half_s": _build("s", "95 % half-width of system_time_s inside the lane, by batch means"),
    "added_s": _build("s", "system time above vanilla's", main=True),
    "ratio": _build("1", "system time over vanilla's", null="that is 0", main=True),
    "wall_time_s": _build("s", "elapsed time of the build", null="think_ns is 0", main=True),
    "wall_time_half_s": _build(
        "s", "95 % half-width of wall_time_s inside the lane, by batch means",
        null="think_ns is 0 or only some of the busy CPUs make flush events",
    ),
    "overhead_share": Metric("1", "share of the busy CPUs' time that is not compute", main=True),
    "sender_overhead_share": Metric(
        "1", "share of the time of CPUs that make flush events that is not compute", main=True
    ),
    "elongation": Metric(
        "1", "time that work takes over what it takes without flush events", null="that is 0", main=True
    ),
    "operations_per_s": Metric("1/s", "operations of all jobs a second", Kind.LOOP, main=True),
    "overhead_ns_per_operation": Metric(
        "ns", "CPU time that is not compute, of all busy CPUs, for each operation", Kind.LOOP, main=True
    ),
    "operation_ns_total": Metric("ns", "time of one operation, flush events included", Kind.LOOP),
    "flush_wait_ns": _wait("mean length of a flush event, on its sender", main=True),
    "flush_wait_p50_ns": _wait("median length of a flush event"),
    "flush_wait_p99_ns": _wait("99th percentile of the length of a flush event", main=True),
    "flush_wait_p999_ns": _wait(
        "99.9th percentile of the length of a flush event, of the events_simulated that the lane measured: an estimate "
        "from 10,000 of them on"
    ),
    "flush_wait_max_ns": _wait(
        "longest of the events_simulated flush events that the lane measured; it grows with their number"
    ),
    "flush_interval_ns": _wait("mean time between flush events, machine-wide"),
    "sender_s": _part("flush events on their senders, without bookkeeping; below 0 where irq_time hides more"),
    "handler_s": _part("handler runs on computing CPUs that are charged as system time"),
    "switch_s": _part("flushes and line accesses at switches, ticks, entries, and where a preempted vCPU runs again"),
    "refill_s": _part("TLB misses after full flushes that are system time"),
    "bookkeeping_s": _part("XPFO's own work"),
    "interrupts_per_flush": Metric(
        "1", "interrupts of a flush event, after coalescing", of_events=True, main=True
    ),
    "handler_share": Metric("1", "share of a busy CPU's time in handler runs"),
    "stale_window_ns": _window(
        "mean time from a flush event until another busy CPU cannot use the old mapping", main=True
    ),
    "stale_window_p50_ns": _window("median of the stale window"),
    "stale_window_p99_ns": _window("99th percentile of the stale window", main=True),
    "pending_share": _mark("1", "share of a busy CPU's time with its mark pending"),
    "outstanding_marks": Metric(
        "1", "flush events of others that a busy CPU has not followed yet, mean: infinite where it never flushes",
        null=_ALONE, endless=True,
    ),
    "marks_per_flush": _mark(
        "1", "marks by others between two clears, per flush that follows them",
        null=f"{_UNMARKED}, or none checks",
    ),
    "lost_marks": _mark("1e-6", "marks erased by a plain read-modify-write, per million marks"),
    "nr_tlb_remote_flush_received": _build(
        "1", "the kernel's counter for the whole build: full flushes, by request or mark"
    ),
    "nr_tlb_local_flush_one": _build("1", "the kernel's counter for the whole build: pages of range flushes"),
    "lock_wait_ns": Metric(
        "ns", "mean time from asking for a lock to having it", Kind.LOOP, null="the lane saw no lock section"
    ),
    "lock_share": Metric(
        "1", "share of the time of CPUs that make flush events in lock sections, waiting included", Kind.LOOP
    ),
    "interrupts_per_cpu_s_isolated": Metric("1/s", "interrupts to an isolated CPU a second", of_isolated=True),
    "disturbed_share_isolated": Metric(
        "1", "share of an isolated CPU's time in handler runs and flushes of marks", of_isolated=True
    ),
    "disturbance_max_ns_isolated": Metric(
        "ns", "longest handler run or flush of a mark on an isolated CPU, of those that the lane measured",
        of_isolated=True,
    ),
    "stale_window_p99_ns_isolated": Metric(
        "ns", "99th percentile of the stale window on isolated CPUs: infinite where they never flush",
        null="the lane saw none of them", of_isolated=True, of_events=True, endless=True,
    ),
    "events_simulated": Metric("1", "flush events that the lane measured; operations where these make none"),
}  # fmt: skip


def of_flush_events() -> list[str]:
    """The metrics that are null where there are no flush events."""
    return [name for name, metric in METRICS.items() if metric.of_events]


def metrics_of(kind: Kind) -> list[str]:
    """The metrics of one kind of workload alone."""
    return [name for name, metric in METRICS.items() if metric.kind is kind]


def check_metrics(metrics: Mapping[str, np.ndarray], kind: Kind) -> None:
    """ValueError where a metric is no number and `METRICS` does not say so: then doubles could not hold the sums."""
    for name, values in metrics.items():
        metric = METRICS[name]
        if metric.kind not in (Kind.ANY, kind):
            continue
        wrong = np.zeros(values.shape, dtype=bool) if metric.endless else np.isinf(values)
        if not metric.may_be_null:
            wrong |= np.isnan(values)
        if wrong.any():
            raise ValueError(
                f"{name} comes out as {values[wrong][0]}: the times of the point are too large, too small or too far "
                "apart to be added, as no machine's are"
            )
