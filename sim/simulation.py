"""The public face: parameters by name in, metrics by name out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from sim import engine
from sim.abi import Build, Events, Flush, How, Look, every_event
from sim.accounting import WINDOWS, ahead, counters, line_ns, nothing_simulated, slow
from sim.events import FlushEvents
from sim.group import Shape
from sim.lanes import column, groups, is_column, require, width
from sim.machine.vectorized.broadcast import Broadcast
from sim.machine.vectorized.server import Server
from sim.metrics import METRICS
from sim.parameters import PARAMETERS, check_together
from sim.policies import LOOKS, policy_module, reads


def simulate(*, policy: str | Sequence[str], **parameters: Any) -> dict[str, np.ndarray]:
    """Simulate points under common random numbers; every parameter of `PARAMETERS` by name, scalar or one per point.

    Returns arrays by metric name (`METRICS`), shape [point, replica]. `range_pages` is a mapping of pages to weights,
    or a sequence of such mappings. A point's result does not depend on the other points of the call.

    Raises ValueError naming parameter, value and what is allowed; TypeError for an unknown or missing parameter.
    """
    unknown = sorted(set(parameters) - set(PARAMETERS))
    if unknown:
        raise TypeError(f"simulate() has no parameter {unknown[0]!r}; there are: {', '.join(PARAMETERS)}")
    columns = {name: p.default for name, p in PARAMETERS.items() if p.default is not None or p.optional}
    columns |= parameters | {"policy": policy}
    points = max([1, *(len(value) for name, value in columns.items() if is_column(name, value))])
    table = {name: column(name, value, points) for name, value in columns.items()}
    seed, replicas = int(table.pop("seed")[0]), int(table.pop("replicas")[0])
    out = {name: np.full((points, replicas), np.nan) for name in METRICS}
    for members in groups(table, points):
        lanes = {name: np.repeat(column[members], replicas) for name, column in table.items()}
        replica = np.tile(np.arange(replicas), len(members))
        side_by_side = width(str(lanes["policy"][0]), int(lanes["cores"][0]))
        parts = []
        for at in range(0, len(replica), side_by_side):
            some = {name: column[at : at + side_by_side] for name, column in lanes.items()}
            parts.append(_simulate_group(some, replica[at : at + side_by_side], seed))
        for name in METRICS:
            out[name][members] = np.concatenate([part[name] for part in parts]).reshape(len(members), replicas)
    return out


def _simulate_group(lanes: dict[str, np.ndarray], replica: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    first = {name: column[0] for name, column in lanes.items()}
    policy = first["policy"]
    module = policy_module(policy)
    flush: Flush = module.flush()
    looks: dict[str, Look] = {where: getattr(module, where)() for where in LOOKS if hasattr(module, where)}
    cores = int(first["cores"])
    busy = max(1, min(int(first["jobs"]), cores))
    flushers = busy if np.isnan(first["flushers"]) else min(int(first["flushers"]), busy)
    sockets, threads = int(first["sockets"]), int(first["threads_per_core"])
    check_together({"cores": cores, "sockets": sockets, "threads_per_core": threads, "apic": first["apic"]})
    shape = Shape(cores, sockets, busy, flushers, threads, first["apic"], seed)

    require(lanes, reads(module), policy)
    base, cpu_s = lanes["base_system_s"], lanes["user_s"] + lanes["base_system_s"]
    serial = lanes["serial_share"]
    elapsed_s = cpu_s * (serial + (1.0 - serial) / busy)  # without XPFO
    events = _events(module, lanes)
    total = events.total
    if not total.any():
        return nothing_simulated(base, elapsed_s)
    think_ns = np.where(np.isnan(lanes["think_ns"]), cpu_s / total * 1e9, lanes["think_ns"])
    cost = {name: column for name, column in lanes.items() if column.dtype == float} | {"think_ns": think_ns}
    source = FlushEvents(shape, cost, events, flush, replica)
    bookkeeping_ns = source.mean_bookkeeping_ns
    machine: Any
    if flush.tell.interrupts:
        machine = Broadcast(shape, cost, flush, source, len(replica))
    else:
        entries = replica if "kernel_entry" in looks else None
        machine = Server(shape, cost, flush, source, len(replica), entries)
    full_share, mean_pages = source.full_share, source.mean_range_pages  # before lanes leave

    tick = lanes["accounting"] == "tick"
    system_share = base / cpu_s  # a tick held back by a handler charges the mode that the handler interrupted
    refill_ns = lanes["refill_system_share"] * lanes["refill_ns"] if "refill_ns" in lanes else np.zeros_like(base)
    price = engine.Price(
        fixed_ns=base / total * 1e9,
        handler=np.where(tick, 0.0, -1.0),
        handler_compute=np.where(tick, system_share, 1.0),
        refill_ns=refill_ns,
    )
    window = int(first["window_events"])
    warmup = max(window // 3, 16 * cores) if np.isnan(first["warmup_events"]) else int(first["warmup_events"])
    mean = engine.run(machine, price, warmup, window, lanes["precision"])  # per flush event

    build = total * 1e-9  # from ns an event to seconds a build
    interval_ns = mean["interval_ns"]
    in_events_ns = mean["handler_ns"] - mean["handler_compute_ns"]
    noted = slow(looks, lanes, replica, shape, flush, interval_ns, full_share)
    access_ns = line_ns(lanes, shape) + mean["queue_ns"] if flush.post else np.zeros_like(total)
    cpu_seconds = busy * build * interval_ns  # of busy CPUs, the whole build
    looked = cpu_seconds * noted["rare_looks_per_s"]
    found = looked * noted["set_share"]
    set_ns = np.zeros_like(total)  # flags that a post finds clear, each once between two looks
    if flush.post and flush.post.how is How.TEST_FIRST:
        set_ns = busy * noted["flushes_per_s"] * interval_ns * 1e-9 * access_ns
    parts = {
        "sender_s": build * (mean["wait_ns"] + set_ns - bookkeeping_ns - np.where(tick, 0.0, in_events_ns)),
        "handler_s": build * np.where(tick, mean["handler_compute_ns"] * system_share, 0.0),
        "switch_s": (looked * access_ns + found * lanes.get("flush_all_ns", 0.0)) * 1e-9 + build * mean["entry_ns"],
        "refill_s": (total * mean["refills"] + found) * refill_ns * 1e-9,
        "bookkeeping_s": build * bookkeeping_ns,
    }
    added = parts["sender_s"] + parts["handler_s"] + parts["switch_s"] + parts["refill_s"] + parts["bookkeeping_s"]
    windows = {name: mean[name] if np.isfinite(mean["window_ns"]).all() else noted[name] for name in WINDOWS}
    posts_per_s = (1.0 - 1.0 / busy) / interval_ns * 1e9
    if busy == 1:  # nobody else
        windows = {name: np.full_like(total, np.nan) for name in WINDOWS}
    remote, local = counters(flush, shape, full_share, mean_pages, mean["interrupts"])
    return parts | {
        "system_time_s": base + added,
        "system_time_half_s": build * mean["half_ns"],
        "added_s": added,
        "ratio": (base + added) / base,
        "wall_time_s": elapsed_s * (flushers * interval_ns / think_ns),
        "flush_wait_ns": mean["wait_ns"] + set_ns,
        "flush_wait_p50_ns": mean["wait_p50_ns"],
        "flush_wait_p99_ns": mean["wait_p99_ns"],
        "flush_interval_ns": interval_ns,
        "interrupts_per_flush": mean["interrupts"],
        "handler_share": mean["handler_ns"] / (busy * interval_ns),
        "stale_window_ns": windows["window_ns"],
        "stale_window_p50_ns": windows["window_p50_ns"],
        "stale_window_p99_ns": windows["window_p99_ns"],
        "pending_share": noted["pending_share"],
        "outstanding_posts": posts_per_s * windows["window_ns"] * 1e-9,  # Little's law
        "posts_per_flush": noted["posts_per_flush"],
        "lost_posts": 1e6 * (1.0 - noted["pending_share"]) * ahead(flush, shape, mean, interval_ns, lanes),
        "nr_tlb_remote_flush_received": total * (remote + mean["entry_flushes"]) + found,
        "nr_tlb_local_flush_one": total * local,
        "events_simulated": mean["events"],
    }


def _events(module: ModuleType, lanes: Mapping[str, np.ndarray]) -> Events:
    """The flush events of a whole build under the policy."""
    pages = tuple(p for p, _ in lanes["range_pages"][0])
    weights = np.array([[weight for _, weight in each] for each in lanes["range_pages"]]).T  # [pages, lane]
    total = np.zeros(weights.shape[1])
    for row in weights:  # row by row: a lane does not notice its neighbours
        total = total + row
    build = Build(
        kunmap_events=lanes["kunmap_events"],
        alloc_events=lanes["alloc_events"],
        pages=pages,
        weights=weights / total,
        pcp_batch=lanes.get("pcp_batch", np.zeros_like(total)),
        pcp_refill_share=lanes.get("pcp_refill_share", np.zeros_like(total)),
        ownership_change_share=lanes.get("ownership_change_share", np.zeros_like(total)),
    )
    return getattr(module, "events", every_event)(build)
