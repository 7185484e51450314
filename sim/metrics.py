"""Every metric of one simulation: its unit and meaning."""

from __future__ import annotations

METRICS: dict[str, tuple[str, str]] = {  # name: (unit, meaning)
    "system_time_s": ("s", "system CPU time of the build, as `time` shows it"),
    "system_time_half_s": ("s", "95 % half-width of system_time_s inside the lane, by batch means"),
    "added_s": ("s", "system time above vanilla's"),
    "ratio": ("1", "system time over vanilla's"),
    "wall_time_s": ("s", "elapsed time of the build"),
    "flush_wait_ns": ("ns", "mean length of a flush event, on its sender"),
    "flush_wait_p50_ns": ("ns", "median length of a flush event"),
    "flush_wait_p99_ns": ("ns", "99th percentile of the length of a flush event"),
    "flush_interval_ns": ("ns", "mean time between flush events, machine-wide"),
    "sender_s": ("s", "part of added_s: flush events on their senders, without bookkeeping"),
    "handler_s": ("s", "part of added_s: handler runs on computing CPUs that are charged as system time"),
    "switch_s": ("s", "part of added_s: flushes and line accesses at switches, ticks and entries"),
    "refill_s": ("s", "part of added_s: TLB misses after full flushes that are system time"),
    "bookkeeping_s": ("s", "part of added_s: XPFO's own work"),
    "interrupts_per_flush": ("1", "interrupts of a flush event, after coalescing"),
    "handler_share": ("1", "share of a busy CPU's time in handler runs"),
    "stale_window_ns": ("ns", "mean time from a flush event until another busy CPU cannot use the old mapping"),
    "stale_window_p50_ns": ("ns", "median of the stale window"),
    "stale_window_p99_ns": ("ns", "99th percentile of the stale window"),
    "pending_share": ("1", "share of a busy CPU's time with its note set"),
    "outstanding_posts": ("1", "flush events of others that a busy CPU has not honoured yet, mean"),
    "posts_per_flush": ("1", "foreign posts between two clears of a note, per flush that honours them"),
    "lost_posts": ("1e-6", "posts erased by a plain read-modify-write, per million posts"),
    "nr_tlb_remote_flush_received": ("1", "the kernel's counter for the whole build: full flushes, by request or note"),
    "nr_tlb_local_flush_one": ("1", "the kernel's counter for the whole build: pages of range flushes"),
    "events_simulated": ("1", "flush events that the lane measured"),
}
