"""From means per flush event to the metrics of a build."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.abi import Flush, How, Line, Look, Own, Run, Targets
from sim.group import Shape
from sim.metrics import METRICS
from sim.notes import Pending, Rates, pending, switches_per_s

WINDOWS = ("window_ns", "window_p50_ns", "window_p99_ns")
_SLOW = (*WINDOWS, "pending_share", "posts_per_flush", "flushes_per_s")


def slow(
    looks: Mapping[str, Look],
    lanes: Mapping[str, np.ndarray],
    replica: np.ndarray,
    shape: Shape,
    flush: Flush,
    interval_ns: np.ndarray,
    full_share: np.ndarray,
) -> dict[str, np.ndarray]:
    """What looks at notes find, lane by lane; `rare_looks_per_s` leaves out those the loop serves."""
    out = {name: np.full(len(replica), np.nan) for name in (*_SLOW, "rare_looks_per_s", "set_share")}
    out["rare_looks_per_s"][:] = out["set_share"][:] = 0.0
    if flush.tell is not Targets.NOBODY:
        return out
    for at in range(len(replica)):
        lane = {name: float(column[at]) for name, column in lanes.items() if column.dtype == float}
        interval_s = float(interval_ns[at]) * 1e-9
        switches = switches_per_s(lane) if "switch_to_user" in looks else 0.0
        migrations = lane["migrations_per_s"] if "migration" in looks else 0.0
        ticks = lane["tick_hz"] if "tick" in looks else 0.0
        entries = lane["kernel_entries_per_s"] if "kernel_entry" in looks else 0.0
        rates = Rates(
            switches=switches,
            switch_cv2=lane.get("switch_cv2", 1.0),
            ticks=ticks,
            others=migrations + entries,
            posts=(1.0 - 1.0 / shape.busy) / interval_s,
            own_full=0.0 if flush.own is Own.NEVER else float(full_share[at]) / (interval_s * shape.busy),
        )
        found: Pending = pending(rates, shape.seed, int(replica[at]))
        for name in _SLOW:
            out[name][at] = getattr(found, name)
        out["rare_looks_per_s"][at] = switches + migrations + ticks
        out["set_share"][at] = found.flushes_per_s / found.looks_per_s if found.looks_per_s else 0.0
    if flush.post is None:
        out["pending_share"][:] = out["posts_per_flush"][:] = np.nan
    return out


def line_ns(lanes: Mapping[str, np.ndarray], shape: Shape) -> np.ndarray:
    """One access to a line whose last owner is any busy CPU, [lane]."""
    near = -(-shape.busy // shape.sockets) / shape.busy  # share of owners on the same socket
    return near * lanes["mask_line_ns"] + (1.0 - near) * lanes["mask_line_cross_ns"]


def ahead(
    flush: Flush, shape: Shape, mean: Mapping[str, np.ndarray], interval_ns: np.ndarray, lanes: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Foreign posts written between a post's read and its write, mean: those ahead of it in line; 0 if none is lost.

    By Little's law for the line, as one of `busy` customers sees it.
    """
    if flush.post is None:
        return np.full_like(interval_ns, np.nan)
    if flush.post.line is not Line.GLOBAL or flush.post.how is not How.PLAIN:
        return np.zeros_like(interval_ns)
    return (1.0 - 1.0 / shape.busy) * (mean["queue_ns"] + line_ns(lanes, shape)) / interval_ns


def counters(
    flush: Flush, shape: Shape, full_share: np.ndarray, mean_pages: np.ndarray, interrupts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """nr_tlb_remote_flush_received and nr_tlb_local_flush_one of a flush event, [lane].

    C: arch/x86/mm/tlb.c  do_flush_tlb_all() counts the first, __flush_tlb_one_kernel() the second
    """
    others = {Targets.OTHER_ONLINE: shape.cores - 1, Targets.OTHER_BUSY: shape.busy - 1}.get(flush.tell, 0)
    own = 0 if flush.own is Own.NEVER else 1
    if flush.run is Run.NOTHING:
        others = 0
    if flush.run is Run.FIRST_FULLY and others:
        return interrupts + own * full_share, own * mean_pages
    return (others + own) * full_share, (others + own) * mean_pages


def nothing_simulated(base: np.ndarray, elapsed_s: np.ndarray) -> dict[str, np.ndarray]:
    """No flush events: the machine without XPFO."""
    out = {name: np.zeros_like(base) for name in METRICS}
    undefined = [
        name for name in METRICS if name.startswith(("flush_", "stale_", "interrupts", "pending", "posts", "lost"))
    ]
    out |= {name: np.full_like(base, np.nan) for name in undefined}
    return out | {"system_time_s": base.copy(), "ratio": np.ones_like(base), "wall_time_s": elapsed_s}
