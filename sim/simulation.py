"""The public face: parameters by name in, metrics by name out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from sim import engine
from sim.abi import Build, Events, Flush, How, Line, Look, Own, Run, Targets, every_event
from sim.broadcast import Broadcast
from sim.costs import FlushEvents, Shape
from sim.line import Server
from sim.metrics import METRICS
from sim.parameters import PARAMETERS, check, check_together
from sim.pending import Pending, Rates, pending, switches_per_s
from sim.policy import LOOKS, policy_module, reads

MACHINE_WIDTH = 98304  # CPUs times lanes that one batch of lanes holds at most, where a step touches all CPUs,
MOST_LANES = 8192  # and lanes: more are no quicker
INTERRUPTS = (Targets.OTHER_ONLINE, Targets.OTHER_BUSY)
GROUPED = ("cores", "sockets", "threads_per_core", "apic", "policy", "window_events", "warmup_events")


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
    points = max([1, *(len(value) for name, value in columns.items() if _is_column(name, value))])
    table = {name: _column(name, value, points) for name, value in columns.items()}
    seed, replicas = int(table.pop("seed")[0]), int(table.pop("replicas")[0])
    out = {name: np.full((points, replicas), np.nan) for name in METRICS}
    for members in _groups(table, points):
        lanes = {name: np.repeat(column[members], replicas) for name, column in table.items()}
        replica = np.tile(np.arange(replicas), len(members))
        width = _width(str(lanes["policy"][0]), int(lanes["cores"][0]))
        parts = []
        for at in range(0, len(replica), width):
            some = {name: column[at : at + width] for name, column in lanes.items()}
            parts.append(_simulate_group(some, replica[at : at + width], seed))
        for name in METRICS:
            out[name][members] = np.concatenate([part[name] for part in parts]).reshape(len(members), replicas)
    return out


def _is_column(name: str, value: Any) -> bool:
    """Whether a value is one per point; the pages of one point are themselves a mapping or a tuple of pairs."""
    if name == "range_pages":
        return isinstance(value, list | np.ndarray)
    return not isinstance(value, str) and np.ndim(value) > 0


def _column(name: str, value: Any, points: int) -> np.ndarray:
    """One checked value per point, [point]; NaN where a number is not given."""
    values = value if _is_column(name, value) else [value]
    if len(values) not in (1, points):
        raise ValueError(f"{name}: {len(values)} values for {points} points")
    if name == "policy":
        checked = values
    elif isinstance(values, np.ndarray) and values.dtype.kind == "f":
        for each in values[~_plausible(name, values)].tolist():
            check(name, each)
        checked = values
    else:
        seen: dict[Any, Any] = {}
        for each in values:
            key = each if isinstance(each, str | tuple) else repr(each)
            if key not in seen:
                seen[key] = check(name, each)
        checked = [seen[each if isinstance(each, str | tuple) else repr(each)] for each in values]
    if isinstance(checked, np.ndarray):
        column = checked
    else:
        kind = object if name == "range_pages" or isinstance(checked[0], str) else float
        column = np.empty(len(checked), dtype=kind)
        column[:] = [np.nan if each is None else each for each in checked]
    return np.resize(column, points) if len(column) == 1 else column


def _plausible(name: str, values: np.ndarray) -> np.ndarray:
    """Whether each number is in the parameter's range, or NaN: not given."""
    parameter = PARAMETERS[name]
    inside = (values >= parameter.low) & (values <= parameter.high) & np.isfinite(values)
    if parameter.whole:
        inside &= values == np.floor(values)
    return inside | np.isnan(values)


def _groups(table: Mapping[str, np.ndarray], points: int) -> list[np.ndarray]:
    """Indices of points that can be simulated side by side, in order of their first point."""
    keys: dict[tuple[Any, ...], list[int]] = {}
    pages = [tuple(p for p, _ in each) for each in table["range_pages"]] if "range_pages" in table else [()] * points
    busy = np.clip(np.floor(table["jobs"]), 1, table["cores"])
    names = [name for name in (*GROUPED, "flushers") if name in table]
    columns = [table[name].tolist() for name in names]
    for point in range(points):
        key = (pages[point], busy[point], *(str(column[point]) for column in columns))
        keys.setdefault(key, []).append(point)
    return [np.array(members) for members in keys.values()]


def _width(policy: str, cores: int) -> int:
    """Lanes that are simulated side by side at most."""
    each = cores if policy_module(policy).flush().tell in INTERRUPTS else max(1, cores // 16)
    return min(max(1, MACHINE_WIDTH // each), MOST_LANES)


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

    _require(lanes, reads(module), policy)
    base, cpu_s = lanes["base_system_s"], lanes["user_s"] + lanes["base_system_s"]
    serial = lanes["serial_share"]
    elapsed_s = cpu_s * (serial + (1.0 - serial) / busy)  # without XPFO
    events = _events(module, lanes)
    total = events.total
    if not total.any():
        return _nothing_simulated(base, elapsed_s)
    think_ns = np.where(np.isnan(lanes["think_ns"]), cpu_s / total * 1e9, lanes["think_ns"])
    cost = {name: column for name, column in lanes.items() if column.dtype == float} | {"think_ns": think_ns}
    source = FlushEvents(shape, cost, events, flush, replica)
    bookkeeping_ns = source.mean_bookkeeping_ns
    machine: Any
    if flush.tell in INTERRUPTS:
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
    slow = _slow(looks, lanes, replica, shape, flush, interval_ns, full_share)
    line_ns = _line_ns(lanes, shape) + mean["queue_ns"] if flush.post else np.zeros_like(total)
    cpu_seconds = busy * build * interval_ns  # of busy CPUs, the whole build
    looked = cpu_seconds * slow["rare_looks_per_s"]
    found = looked * slow["set_share"]
    set_ns = np.zeros_like(total)  # flags that a post finds clear, each once between two looks
    if flush.post and flush.post.how is How.TEST_FIRST:
        set_ns = busy * slow["flushes_per_s"] * interval_ns * 1e-9 * line_ns
    parts = {
        "sender_s": build * (mean["wait_ns"] + set_ns - bookkeeping_ns - np.where(tick, 0.0, in_events_ns)),
        "handler_s": build * np.where(tick, mean["handler_compute_ns"] * system_share, 0.0),
        "switch_s": (looked * line_ns + found * lanes.get("flush_all_ns", 0.0)) * 1e-9 + build * mean["entry_ns"],
        "refill_s": (total * mean["refills"] + found) * refill_ns * 1e-9,
        "bookkeeping_s": build * bookkeeping_ns,
    }
    added = parts["sender_s"] + parts["handler_s"] + parts["switch_s"] + parts["refill_s"] + parts["bookkeeping_s"]
    windows = {name: mean[name] if np.isfinite(mean["window_ns"]).all() else slow[name] for name in _WINDOWS}
    posts_per_s = (1.0 - 1.0 / busy) / interval_ns * 1e9
    if busy == 1:  # nobody else
        windows = {name: np.full_like(total, np.nan) for name in _WINDOWS}
    remote, local = _counters(flush, shape, full_share, mean_pages, mean["interrupts"])
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
        "pending_share": slow["pending_share"],
        "outstanding_posts": posts_per_s * windows["window_ns"] * 1e-9,  # Little's law
        "posts_per_flush": slow["posts_per_flush"],
        "lost_posts": 1e6 * (1.0 - slow["pending_share"]) * _ahead(flush, shape, mean, interval_ns, lanes),
        "nr_tlb_remote_flush_received": total * (remote + mean["entry_flushes"]) + found,
        "nr_tlb_local_flush_one": total * local,
        "events_simulated": mean["events"],
    }


_WINDOWS = ("window_ns", "window_p50_ns", "window_p99_ns")
_SLOW = (*_WINDOWS, "pending_share", "posts_per_flush", "flushes_per_s")


def _slow(
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


def _line_ns(lanes: Mapping[str, np.ndarray], shape: Shape) -> np.ndarray:
    """One access to a line whose last owner is any busy CPU, [lane]."""
    near = -(-shape.busy // shape.sockets) / shape.busy  # share of owners on the same socket
    return near * lanes["mask_line_ns"] + (1.0 - near) * lanes["mask_line_cross_ns"]


def _ahead(
    flush: Flush, shape: Shape, mean: Mapping[str, np.ndarray], interval_ns: np.ndarray, lanes: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Foreign posts written between a post's read and its write, mean: those ahead of it in line; 0 if none is lost.

    By Little's law for the line, as one of `busy` customers sees it.
    """
    if flush.post is None:
        return np.full_like(interval_ns, np.nan)
    if flush.post.line is not Line.GLOBAL or flush.post.how is not How.PLAIN:
        return np.zeros_like(interval_ns)
    return (1.0 - 1.0 / shape.busy) * (mean["queue_ns"] + _line_ns(lanes, shape)) / interval_ns


def _counters(
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


def _nothing_simulated(base: np.ndarray, elapsed_s: np.ndarray) -> dict[str, np.ndarray]:
    """No flush events: the machine without XPFO."""
    out = {name: np.zeros_like(base) for name in METRICS}
    undefined = [
        name for name in METRICS if name.startswith(("flush_", "stale_", "interrupts", "pending", "posts", "lost"))
    ]
    out |= {name: np.full_like(base, np.nan) for name in undefined}
    return out | {"system_time_s": base.copy(), "ratio": np.ones_like(base), "wall_time_s": elapsed_s}


def _require(lanes: Mapping[str, np.ndarray], names: Sequence[str], policy: str) -> None:
    missing = [
        name
        for name in names
        if name not in lanes
        or (lanes[name].dtype == float and np.isnan(lanes[name]).any() and not PARAMETERS[name].optional)
    ]
    if missing:
        raise TypeError(f"policy {policy} reads {', '.join(missing)}: not given, or not a number")
