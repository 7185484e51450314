"""The public face: parameters by name in, metrics by name out, one group of lanes after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from sim import engine
from sim.abi import Build, Events, Flush, every_event
from sim.accounting import Scenario, account, account_without_events, price_system_time
from sim.events import FlushEvents
from sim.group import Shape
from sim.lanes import check_column, group_points, is_column, lanes_side_by_side, require_parameters
from sim.machine.vectorized.broadcast import Broadcast
from sim.machine.vectorized.server import Server
from sim.metrics import METRICS
from sim.parameters import PARAMETERS, busy_cpus, check_together, default_warmup
from sim.policies import LOOKS, policy_module, reads

Columns = Mapping[str, np.ndarray]


def simulate(*, policy: str | Sequence[str], **parameters: Any) -> dict[str, np.ndarray]:
    """Simulate points under common random numbers; every parameter of `PARAMETERS` by name, scalar or one per point.

    Returns arrays by metric name (`METRICS`), shape [point, replica]. `range_pages` is a mapping of pages to weights,
    or a sequence of such mappings. A point's result does not depend on the other points of the call.

    Raises ValueError naming parameter, value and what is allowed; TypeError for an unknown or missing parameter.
    """
    table, points = _check_columns(parameters | {"policy": policy})
    seed, replicas = int(table.pop("seed")[0]), int(table.pop("replicas")[0])
    out = {name: np.full((points, replicas), np.nan) for name in METRICS}
    for members in group_points(table, points):
        lanes = {name: np.repeat(column[members], replicas) for name, column in table.items()}
        replica = np.tile(np.arange(replicas), len(members))
        flush: Flush = policy_module(str(lanes["policy"][0])).flush()
        width = lanes_side_by_side(int(lanes["cores"][0]), flush.tell.interrupts)
        parts = []
        for begin in range(0, len(replica), width):
            beside = slice(begin, begin + width)
            part = {name: column[beside] for name, column in lanes.items()}
            parts.append(_simulate_group(part, replica[beside], seed))
        for name in METRICS:
            out[name][members] = np.concatenate([part[name] for part in parts]).reshape(len(members), replicas)
    return out


def _check_columns(parameters: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], int]:
    """A checked column [point] by parameter, those with a default included, and how many points there are."""
    unknown = sorted(set(parameters) - {*PARAMETERS, "policy"})
    if unknown:
        raise TypeError(f"simulate() has no parameter {unknown[0]!r}; there are: {', '.join(PARAMETERS)}")
    defaults = {name: p.default for name, p in PARAMETERS.items() if p.default is not None or p.optional}
    values = {**defaults, **parameters}
    points = max([1, *(len(value) for name, value in values.items() if is_column(name, value))])
    return {name: check_column(name, value, points) for name, value in values.items()}, points


def _simulate_group(lanes: dict[str, np.ndarray], replica: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Every metric of lanes that share a shape, a policy and a window, [lane]; `replica` of each lane."""
    first = {name: column[0] for name, column in lanes.items()}
    module = policy_module(first["policy"])
    flush: Flush = module.flush()
    looks = {function: getattr(module, function)() for function in LOOKS if hasattr(module, function)}
    shape = _shape(first, seed)
    require_parameters(lanes, reads(module), first["policy"])
    events = _count_events(module, lanes)
    total = events.total
    if not total.any():
        return account_without_events(lanes, shape)

    cpu_s = lanes["user_s"] + lanes["base_system_s"]
    think_ns = np.where(np.isnan(lanes["think_ns"]), cpu_s / total * 1e9, lanes["think_ns"])
    cost = {name: column for name, column in lanes.items() if column.dtype == float} | {"think_ns": think_ns}
    source = FlushEvents(shape, cost, events, flush, replica)
    scenario = Scenario(  # before lanes leave, and the source with them
        flush=flush,
        looks=looks,
        shape=shape,
        replica=replica,
        lanes=lanes,
        events=total,
        think_ns=think_ns,
        bookkeeping_ns=source.mean_bookkeeping_ns,
        full_share=source.full_share,
        range_pages=source.mean_range_pages,
    )
    machine: Broadcast | Server
    if flush.tell.interrupts:
        machine = Broadcast(shape, cost, flush, source, len(replica))
    else:
        machine = Server(shape, cost, flush, source, len(replica), replica if "kernel_entry" in looks else None)
    window = int(first["window_events"])
    given = first["warmup_events"]
    warmup = int(default_warmup(window, shape.cores) if np.isnan(given) else given)
    mean = engine.run(machine, price_system_time(scenario), warmup, window, lanes["precision"])
    return account(scenario, mean)


def _shape(first: Mapping[str, Any], seed: int) -> Shape:
    """What all lanes of a group have in common, from the parameters of the first; ValueError where they contradict."""
    cores, sockets, threads = (int(first[name]) for name in ("cores", "sockets", "threads_per_core"))
    check_together({"cores": cores, "sockets": sockets, "threads_per_core": threads, "apic": first["apic"]})
    busy = int(busy_cpus(first["jobs"], cores))
    flushers = busy if np.isnan(first["flushers"]) else min(int(first["flushers"]), busy)
    return Shape(cores, sockets, busy, flushers, threads, first["apic"], seed)


def _count_events(module: ModuleType, lanes: Columns) -> Events:
    """The flush events of a whole build under the policy."""
    pages = tuple(p for p, _ in lanes["range_pages"][0])
    weights = np.array([[weight for _, weight in mix] for mix in lanes["range_pages"]]).T  # [pages, lane]
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
