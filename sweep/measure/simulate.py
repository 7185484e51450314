"""A simulation of the measured experiments: the same callers, think times and pages under the kernel's own policy.

A system call's own time (entry, exit, page tables) replaces XPFO's bookkeeping: work of the sender before it notifies
any CPU. Think times are the measured means, misses included, so no refill is added to them.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sim import simulate
from sweep.measure.machine import Facts

COSTS = (
    "flush_fixed_ns invlpg_ns flush_all_ns flush_mm_ns mask_scan_ns enqueue_fixed_ns ipi_send_ns ipi_latency_ns "
    "ipi_latency_cross_ns irq_entry_ns handler_fixed_ns irq_exit_ns line_socket_ns line_cross_ns"
).split()  # costs that the experiments depend on; the last half of a pair only on several sockets
CROSS = {"ipi_latency_cross_ns": "ipi_latency_ns", "line_cross_ns": "line_socket_ns"}  # to another socket, and to none
OF_GUEST = ("exit_ns", "deliver_ns")  # further ones in a guest whose interrupts exit
SHOOTDOWNS = {  # policies of the kernel, the newest first, with the release that each began with
    "mm_shootdown_concurrent": ((5, 19), "Linux 5.19 and later"),
    "mm_shootdown_reading": ((5, 13), "Linux 5.13 to 5.18"),
    "mm_shootdown": ((0, 0), "Linux up to 5.12"),
}


def policies(kernel: str) -> dict[str, str]:
    """The policy of every call under a kernel release, like 6.1.0-18-amd64."""
    major, minor = re.findall(r"\d+", kernel)[:2]
    shootdown = next(name for name, (since, _) in SHOOTDOWNS.items() if (int(major), int(minor)) >= since)
    return {"membarrier": "membarrier"} | dict.fromkeys(("dontneed", "munmap", "mprotect"), shootdown)


def experiments(
    points: pd.DataFrame, costs: Sequence[Mapping[str, float]], machine: Facts, window_events: int
) -> dict[str, np.ndarray]:
    """Every point under every set of costs, arrays [set, point].

    A set has COSTS, fixed costs, and `CALL.call_ns`, `CALL.page_ns` of every call; in a guest whose interrupts exit,
    also OF_GUEST.
    """
    call, pages, sets, host = points["call"], points["pages"], len(costs), machine.host
    lengths = sorted({*pages.astype(int), 1} - {0})
    range_pages = [
        {each: float(each == int(p)) if p else 1.0 for each in lengths} for p in pages
    ]  # the same lengths everywhere, so that points that differ only in pages run side by side
    own_ns = [(call + ".call_ns").map(each) + pages * (call + ".page_ns").map(each).fillna(0.0) for each in costs]
    columns: dict[str, Any] = {
        name: np.repeat([each[name] for each in costs], len(points)) for name in costs[0] if "." not in name
    }
    busy = (points["callers"] + points["spinners"]).to_numpy(float)
    kunmaps = (call == "membarrier").to_numpy(float)
    found = simulate(
        policy=call.map(policies(machine.kernel.split()[1])).tolist() * sets,
        cores=host.cpus, sockets=host.sockets, threads_per_core=host.threads_per_core, cluster_cores=host.cluster_cores,
        apic="auto", delivery=machine.delivery or "apic",
        jobs=np.tile(busy, sets), senders=np.tile(points["callers"].to_numpy(float), sets),
        think_ns=np.tile(points["think_ns"].to_numpy(float), sets), range_pages=range_pages * sets,
        kunmap_events=np.tile(kunmaps, sets), alloc_events=np.tile(1.0 - kunmaps, sets),
        alloc_bookkeeping_ns=np.concatenate(own_ns), kunmap_bookkeeping_ns=np.concatenate(own_ns),
        refill_ns=0.0, refill_system_share=0.0, user_refill_ns=0.0,
        user_s=1.0, base_system_s=1.0, serial_share=0.0, accounting="tick",
        window_events=window_events, warmup_events=max(32, window_events // 4), precision=0.0,
        **columns,
    )  # fmt: skip
    out = {name: column[:, 0].reshape(sets, len(points)) for name, column in found.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        out["away_ns"] = out["handler_share"] * busy * out["flush_interval_ns"] / out["interrupts_per_flush"]
    return out
