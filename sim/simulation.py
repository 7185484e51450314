"""The public face: parameters by name in, metrics by name out, one group of lanes after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np

from sim.abi import Build, Events, Flush, check_events, every_event
from sim.accounting import account, account_without_events, own_overhead_ns
from sim.engine import run as run_lanes
from sim.events import FlushEvents
from sim.group import Shape
from sim.lanes import (
    check_column,
    group_points,
    is_column,
    lanes_side_by_side,
    numbers_of,
    require_parameters,
)
from sim.loop import asked_operation_ns, check_loops, fill_loops, is_loop
from sim.machine.engines import build_machine
from sim.metrics import METRICS
from sim.notes import all_looks_per_s
from sim.parameters import PARAMETERS, busy_cpus, check_together, default_warmup, is_number
from sim.policies import COUNT_EVENTS, LOOKS, policy_module, reads
from sim.quantities import fill_unknown
from sim.scenario import Scenario, prices

Columns = Mapping[str, np.ndarray]
MOST_ENTRIES = 1e9  # kernel entries of a lane: beyond, its simulation takes half a day


def simulate(*, policy: str | Sequence[str], engine: str = "auto", **parameters: Any) -> dict[str, np.ndarray]:
    """Simulate points under common random numbers; every parameter of `PARAMETERS` by name, scalar or one per point.

    `engine` is `compiled` (loops under numba, plain Python without it), `vectorized` (numpy), or `auto`: compiled where
    numba is there. Both give the same bits; `rule="exact"` is simulated by `compiled` alone.

    Returns arrays by metric name (`METRICS`), shape [point, replica]. `range_pages` is a mapping of pages to weights,
    or a sequence of such mappings. A point's result does not depend on the other points of the call.

    Raises ValueError naming parameter, value and what is allowed, and where results would be no numbers; TypeError for
    an unknown or missing parameter. A metric is NaN only where its meaning in `METRICS` says null, or where it is of a
    whole build and the point is a loop.
    """
    table, points = _check_columns(parameters | {"policy": policy})
    loop = is_loop(table, points)
    _check_points(table, loop)
    table = fill_loops(table, loop)
    seed, replicas = (_one_value(name, table.pop(name)) for name in ("seed", "replicas"))
    out = {name: np.full((points, replicas), np.nan) for name in METRICS}
    for members in group_points(table, points):
        lanes = {name: np.repeat(column[members], replicas) for name, column in table.items()}
        replica = np.tile(np.arange(replicas), len(members))
        flush: Flush = policy_module(str(lanes["policy"][0])).flush()
        width = lanes_side_by_side(int(lanes["cores"][0]), flush.tell.interrupts, str(lanes["rule"][0]))
        parts = []
        for begin in range(0, len(replica), width):
            beside = slice(begin, begin + width)
            part = {name: column[beside] for name, column in lanes.items()}
            parts.append(_simulate_group(part, replica[beside], seed, engine))
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
    table = {name: check_column(name, value, points) for name, value in values.items()}
    for name in table:
        if is_number(name) and PARAMETERS[name].default is not None:
            table[name] = fill_unknown(table[name], PARAMETERS[name].default)
    return table, points


def _one_value(name: str, column: np.ndarray) -> int:
    """The value that all points share; ValueError where they do not."""
    if (column != column[0]).any():
        raise ValueError(f"{name}: {len(np.unique(column))} values; all points of a call share one")
    return int(column[0])


def _check_points(table: Mapping[str, np.ndarray], loop: np.ndarray) -> None:
    """TypeError where a policy reads what is not given for each of its points, ValueError where a point cannot be."""
    for policy, is_a_loop in dict.fromkeys(zip(table["policy"].tolist(), loop.tolist(), strict=True)):
        mine = (table["policy"] == policy) & (loop == is_a_loop)
        names = reads(policy_module(policy), is_a_loop)
        require_parameters({name: column[mine] for name, column in table.items()}, names, policy)
    if wrong := check_loops(table, len(loop)):
        raise ValueError(wrong[1])
    no_work = ~loop & (table.get("user_s", loop) == 0.0) & (table.get("base_system_s", loop) == 0.0)
    for row in np.flatnonzero(no_work)[:1].tolist():
        check_together({name: column[row] for name, column in table.items()} | {"cores": int(table["cores"][row])})


def _simulate_group(lanes: dict[str, np.ndarray], replica: np.ndarray, seed: int, engine: str) -> dict[str, np.ndarray]:
    """Every metric of lanes that share a shape, a policy and a window, [lane]; `replica` of each lane."""
    shape = _shape({name: column[0] for name, column in lanes.items()}, seed)
    events = _count_events(policy_module(lanes["policy"][0]), lanes)
    some = events.total > 0.0
    if not some.any():
        return account_without_events(lanes, shape, loop=bool(is_loop(lanes, len(replica))[0]))
    if not some.all():  # a lane without events is none of a machine's
        out = {name: np.full(len(some), np.nan) for name in METRICS}
        for mine in (some, ~some):
            part = _simulate_group({name: column[mine] for name, column in lanes.items()}, replica[mine], seed, engine)
            for name in METRICS:
                out[name][mine] = part[name]
        return out
    return _simulate_events(lanes, replica, shape, events, engine)


def _simulate_events(
    lanes: dict[str, np.ndarray], replica: np.ndarray, shape: Shape, events: Events, engine: str
) -> dict[str, np.ndarray]:
    """Every metric of lanes that all make flush events, [lane]."""
    if not is_loop(lanes, len(replica)).any():
        think_ns = (lanes["user_s"] + lanes["base_system_s"]) / events.total * 1e9
    else:
        think_ns = _think_of_loops(lanes, replica, shape, events, engine)
    think_ns = np.where(np.isnan(lanes["think_ns"]), think_ns, lanes["think_ns"])
    return account(*_run(lanes, replica, shape, events, think_ns, engine))


def _think_of_loops(
    lanes: dict[str, np.ndarray], replica: np.ndarray, shape: Shape, events: Events, engine: str
) -> np.ndarray:
    """Own work between two flush events, [lane]; ValueError where flush events alone take longer than an operation."""

    def left_ns(operation_ns: np.ndarray, shape: Shape) -> np.ndarray:
        """What is left of an operation for own work, if its flush events take what they take at this pace."""
        think_ns = operation_ns / events.total
        return (think_ns - own_overhead_ns(*_run(lanes, replica, shape, events, think_ns, engine))) * events.total

    whole_ns = operation_ns = asked_operation_ns(lanes, shape.flushers)
    if not np.isnan(lanes["one_thread_ops_per_s"][0]):
        operation_ns = left_ns(whole_ns, replace(shape, busy=1, flushers=1))
        for row in np.flatnonzero(operation_ns < 0.0)[:1].tolist():
            raise ValueError(
                f"one_thread_ops_per_s={lanes['one_thread_ops_per_s'][row]:g}: an operation takes {whole_ns[row]:.0f} "
                f"ns, and its flush events alone {whole_ns[row] - operation_ns[row]:.0f} ns of it"
            )
    elif not np.isnan(lanes["rate_per_s"][0]):
        operation_ns = np.maximum(left_ns(whole_ns, shape), 0.0)  # 0: more than the CPUs can do; the rate is not met
    return operation_ns / events.total


def _run(
    lanes: dict[str, np.ndarray], replica: np.ndarray, shape: Shape, events: Events, think_ns: np.ndarray, engine: str
) -> tuple[Scenario, dict[str, np.ndarray]]:
    """What lanes simulate, and their means per flush event, [lane]."""
    first = {name: column[0] for name, column in lanes.items()}
    module, total = policy_module(first["policy"]), events.total
    flush: Flush = module.flush()
    looks = {function: getattr(module, function)() for function in LOOKS if hasattr(module, function)}
    cost = numbers_of(lanes) | {"think_ns": think_ns}
    if flush.reads_line:
        cost["looks_per_s"] = all_looks_per_s(looks, numbers_of(lanes))
    window = int(first["window_events"])
    given = first["warmup_events"]
    warmup = int(default_warmup(window, shape.cores) if np.isnan(given) else given)
    if "kernel_entry" in looks:
        _check_entries(cost, shape, warmup + window)
    source = FlushEvents(shape, cost, events, flush, replica, looking="kernel_entry" in looks)
    scenario = Scenario(  # before lanes leave, and the source with them
        flush=flush,
        looks=looks,
        loop=bool(is_loop(lanes, len(replica))[0]),
        shape=shape,
        replica=replica,
        lanes=lanes,
        events=total,
        think_ns=think_ns,
        bookkeeping_ns=source.mean_bookkeeping_ns,
        full_share=source.full_share,
        range_pages=source.mean_range_pages,
    )
    machine = build_machine(engine, first["rule"], shape, cost, flush, source, len(replica))
    return scenario, run_lanes(machine, prices(scenario), warmup, window, lanes["precision"])


def _check_entries(cost: Columns, shape: Shape, events: int) -> None:
    """ValueError where the loop would serve more kernel entries than anybody waits for."""
    each = cost["kernel_entries_per_s"] * 1e-9 * cost["think_ns"] * shape.busy / shape.flushers  # per flush event
    for entries in (each * events)[each * events > MOST_ENTRIES][:1].tolist():
        raise ValueError(
            f"kernel_entries_per_s: about {entries:.1e} kernel entries look at a note in {events} flush events; must "
            f"be at most {MOST_ENTRIES:.0e}: ask for a smaller window_events, or more flush events a second"
        )


def _shape(first: Mapping[str, Any], seed: int) -> Shape:
    """What all lanes of a group have in common, from the parameters of the first; ValueError where they contradict."""
    cores, sockets, threads = (int(first[name]) for name in ("cores", "sockets", "threads_per_core"))
    shown = {"cores": cores, "sockets": sockets, "threads_per_core": threads}
    check_together(shown | {name: first[name] for name in ("apic", "fill")})
    busy = int(busy_cpus(first["jobs"], cores))
    flushers = busy if np.isnan(first["flushers"]) else min(int(first["flushers"]), busy)
    names = (first[name] for name in ("fill", "operation", "delivery"))
    return Shape(cores, sockets, busy, flushers, threads, first["apic"], seed, *names)


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
        **{name: lanes.get(name, np.full_like(total, np.nan)) for name in COUNT_EVENTS},  # NaN: the policy reads it not
    )
    return check_events(getattr(module, "events", every_event)(build), len(total))
