"""The public interface: parameters by name in, metrics by name out, one group of lanes after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from sim.accounting import account, account_without_events, own_overhead_ns, slowdown_of_work
from sim.batch_means import run as run_lanes
from sim.closed_loop import asked_operation_ns, check_loops, fill_loops, is_loop
from sim.deferral import checks_by_place, on_isolated_cpus
from sim.elementary import sum_rows
from sim.events import FlushEvents
from sim.lanes import (
    check_column,
    group_points,
    is_column,
    lanes_side_by_side,
    numbers_of,
    require_parameters,
)
from sim.machine.engines import build_machine, check_locks
from sim.metrics import METRICS, of_flush_events
from sim.parameters import PARAMETERS, Kind, busy_cpus, check_together, default_warmup, is_number
from sim.policies import Policies
from sim.policy import Build, Events, Local, Policy
from sim.quantities import fill_unknown
from sim.reading import COUNTED, reads
from sim.scenario import Scenario, times
from sim.topology import Shape

Columns = Mapping[str, np.ndarray]
NO_FLUSH = Policy(local=Local.NEVER, build=False)  # for operations that take locks and flush nothing
LOCKS = ("locks_per_operation", "events_per_operation")
MOST_ENTRIES = 1e9  # most kernel entries of a lane, for half a day of simulation


def simulate(
    *,
    policy: str | Sequence[str],
    engine: str = "auto",
    policies: Mapping[str, Policy] | None = None,
    **parameters: Any,
) -> dict[str, np.ndarray]:
    """Simulate points with common random numbers; takes the parameters of `PARAMETERS` by name, scalars or columns.

    `engine` is `compiled` (loops with numba, plain Python without it), `vectorized` (numpy), or `auto`: compiled if
    numba is installed. Both give the same bits, except for broadcasts by interrupts: `vectorized` approximates a flush
    event by two events, `compiled` has one event for each request. `policies` maps names to policies; the default is
    those of `sim.policies`.

    Returns arrays by metric name (`METRICS`), shape [point, replica]. `range_pages` is a mapping of pages to weights,
    or a sequence of such mappings. A point's result does not depend on the other points of the call.

    Raises ValueError with parameter, value and allowed values, and if results would be no numbers; TypeError for an
    unknown or missing parameter. A metric is NaN only where its description in `METRICS` has null.
    """
    known = Policies() if policies is None else policies
    table, points = _check_columns(parameters | {"policy": policy})
    loop = is_loop(table, points)
    _check_points(table, loop, known)
    table = fill_loops(table, loop)
    seed, replicas = (_one_value(name, table.pop(name)) for name in ("seed", "replicas"))
    out = {name: np.full((points, replicas), np.nan) for name in METRICS}
    for members in group_points(table, points):
        lanes = {name: np.repeat(column[members], replicas) for name, column in table.items()}
        replica = np.tile(np.arange(replicas), len(members))
        mine = known[str(lanes["policy"][0])]
        width = lanes_side_by_side(int(lanes["cores"][0]), mine.targets.interrupts)
        parts = []
        for begin in range(0, len(replica), width):
            beside = slice(begin, begin + width)
            part = {name: column[beside] for name, column in lanes.items()}
            parts.append(_simulate_group(_Group(mine, part, replica[beside], seed, engine)))
        for name in METRICS:
            out[name][members] = np.concatenate([part[name] for part in parts]).reshape(len(members), replicas)
    return out


def _check_columns(parameters: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], int]:
    """A checked column [point] for each parameter, including defaults, and the number of points."""
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
    """The common value of all points; ValueError if they differ."""
    if (column != column[0]).any():
        raise ValueError(f"{name}: {len(np.unique(column))} values; must be one value for all points of a call")
    return int(column[0])


def _check_points(table: Mapping[str, np.ndarray], loop: np.ndarray, policies: Mapping[str, Policy]) -> None:
    """TypeError if a parameter that a policy reads is missing at one of its points, ValueError for an illegal point."""
    for policy, is_a_loop in dict.fromkeys(zip(table["policy"].tolist(), loop.tolist(), strict=True)):
        mine = (table["policy"] == policy) & (loop == is_a_loop)
        names = reads(policies[policy], Kind.LOOP if is_a_loop else Kind.BUILD)
        require_parameters({name: column[mine] for name, column in table.items()}, names, policy)
    if wrong := check_loops(table, len(loop)):
        raise ValueError(wrong[1])
    no_work = ~loop & (table.get("user_s", loop) == 0.0) & (table.get("base_system_s", loop) == 0.0)
    for row in np.flatnonzero(no_work)[:1].tolist():
        check_together({name: column[row] for name, column in table.items()} | {"cores": int(table["cores"][row])})


@dataclass(frozen=True)
class _Group:
    """Lanes that share a policy, a shape, a window and a kind of workload."""

    policy: Policy
    lanes: dict[str, np.ndarray]
    replica: np.ndarray  # replica of each lane
    seed: int
    engine: str

    @property
    def kind(self) -> Kind:
        """The kind of workload: a build or a closed loop."""
        return Kind.LOOP if is_loop(self.lanes, 1)[0] else Kind.BUILD

    @property
    def has_locks(self) -> np.ndarray:
        """Whether operations take locks, [lane]."""
        locks = self.lanes["locks_per_operation"] > 0.0
        return locks if self.kind is Kind.LOOP else np.zeros_like(locks)

    @cached_property
    def first(self) -> dict[str, Any]:
        """The parameters of the first lane."""
        return {name: column[0] for name, column in self.lanes.items()}

    @cached_property
    def shape(self) -> Shape:
        """The common shape of all lanes; ValueError if their parameters contradict each other."""
        first = self.first
        cores, sockets, threads = (int(first[name]) for name in ("cores", "sockets", "threads_per_core"))
        shown = {"cores": cores, "sockets": sockets, "threads_per_core": threads}
        check_together(shown | {name: first[name] for name in ("apic", "fill", "jobs", "senders", "isolated")})
        busy = int(busy_cpus(first["jobs"], cores))
        senders = busy if np.isnan(first["senders"]) else min(int(first["senders"]), busy)
        fill, operation, delivery = (first[name] for name in ("fill", "operation", "delivery"))
        cluster = None if np.isnan(first["cluster_cores"]) else int(first["cluster_cores"])
        return Shape(
            cores, sockets, busy, senders, threads, first["apic"], self.seed, fill, operation, delivery, cluster,
            int(first["isolated"]), first["lock_per"], first["lock_irqs"],
        )  # fmt: skip

    @cached_property
    def events(self) -> Events:
        """The flush events of a whole build, or of one operation, with the policy."""
        lanes = self.lanes
        pages = tuple(p for p, _ in lanes["range_pages"][0])
        weights = np.array([[weight for _, weight in mix] for mix in lanes["range_pages"]]).T  # [pages, lane]
        total = sum_rows(weights)
        unread = np.full_like(total, np.nan)
        build = Build(
            kunmap_events=lanes["kunmap_events"],
            alloc_events=lanes["alloc_events"],
            pages=pages,
            weights=weights / total,
            **{name: lanes.get(name, unread) for name in COUNTED},
        )
        return self.policy.count(build)

    def part(self, members: np.ndarray) -> _Group:
        """The group of some of the lanes (a mask)."""
        lanes = {name: column[members] for name, column in self.lanes.items()}
        return replace(self, lanes=lanes, replica=self.replica[members])


def _simulate_group(group: _Group) -> dict[str, np.ndarray]:
    """Every metric of a group, [lane]."""
    shape = group.shape
    some = group.events.total > 0.0
    locks_only, nothing = ~some & group.has_locks, ~some & ~group.has_locks
    if locks_only.all():
        return _without_flush_events(group)
    if nothing.all():
        return account_without_events(group.lanes, shape, group.kind)
    if not some.all():  # machines cannot simulate lanes without events
        out = {name: np.full(len(some), np.nan) for name in METRICS}
        for mine in filter(np.any, (some, locks_only, nothing)):
            for name, values in _simulate_group(group.part(mine)).items():
                out[name][mine] = values
        return out
    if group.policy is not NO_FLUSH:
        for row in np.flatnonzero(group.has_locks).tolist():
            check_locks(group.policy, *(float(group.lanes[name][row]) for name in LOCKS))
    if group.kind is Kind.LOOP:
        think_ns = _think_of_loops(group)
    else:
        think_ns = (group.lanes["user_s"] + group.lanes["base_system_s"]) / group.events.total * 1e9
    given_ns = group.lanes["think_ns"]
    return account(*_run(group, shape, np.where(np.isnan(given_ns), think_ns, given_ns)))


def _without_flush_events(group: _Group) -> dict[str, np.ndarray]:
    """Every metric of operations with locks and without flush events, [lane]."""
    one = np.ones_like(group.lanes["cores"])
    pages = check_column("range_pages", {1: 1.0}, len(one))
    lanes = group.lanes | {"events_per_operation": one, "alloc_events": one, "range_pages": pages}
    out = _simulate_group(replace(group, policy=NO_FLUSH, lanes=lanes))
    return out | {name: np.full_like(one, np.nan) for name in of_flush_events()}


def _think_of_loops(group: _Group) -> np.ndarray:
    """Work between two flush events, [lane]; ValueError if flush events alone take longer than an operation."""
    lanes, total = group.lanes, group.events.total

    def left_ns(operation_ns: np.ndarray, shape: Shape) -> np.ndarray:
        """The time of an operation without its flush events, at this rate of operations."""
        think_ns = operation_ns / total
        return (think_ns - own_overhead_ns(*_run(group, shape, think_ns))) * total

    whole_ns = operation_ns = asked_operation_ns(lanes, group.shape.senders)
    if not np.isnan(lanes["one_thread_ops_per_s"][0]):
        operation_ns = left_ns(whole_ns, replace(group.shape, busy=1, senders=1, isolated=0))
        for row in np.flatnonzero(operation_ns < 0.0)[:1].tolist():
            raise ValueError(
                f"one_thread_ops_per_s={lanes['one_thread_ops_per_s'][row]:g}: an operation takes {whole_ns[row]:.0f} "
                f"ns, but its flush events alone take {whole_ns[row] - operation_ns[row]:.0f} ns"
            )
    elif not np.isnan(lanes["rate_per_s"][0]):
        operation_ns = np.maximum(left_ns(whole_ns, group.shape), 0.0)  # 0: the CPUs cannot reach the rate
        return operation_ns / total
    return operation_ns * slowdown_of_work(lanes, group.shape) / total


def _run(group: _Group, shape: Shape, think_ns: np.ndarray) -> tuple[Scenario, dict[str, np.ndarray]]:
    """The scenario of the lanes, and their means per flush event, [lane]."""
    policy, lanes, first = group.policy, group.lanes, group.first
    cost = numbers_of(lanes) | {"think_ns": think_ns}
    if not group.has_locks.any():  # a build reads no parameters of closed loops
        cost["locks_per_operation"] = np.zeros_like(think_ns)
    if policy.reads_line:
        for name, numbers in (("checks_per_s", cost), ("isolated_checks_per_s", on_isolated_cpus(cost))):
            cost[name] = sum(checks_by_place(policy.checks, numbers).values(), np.zeros_like(think_ns))
    window = int(first["window_events"])
    given = first["warmup_events"]
    warmup = int(default_warmup(window, shape.cores) if np.isnan(given) else given)
    if policy.kernel_entry is not None:
        _check_entries(cost, shape, warmup + window)
    source = FlushEvents(shape, cost, group.events, policy, group.replica)
    scenario = Scenario(  # before finished lanes leave the source
        policy=policy,
        kind=group.kind,
        shape=shape,
        replica=group.replica,
        lanes=lanes,
        events=group.events.total,
        think_ns=think_ns,
        bookkeeping_ns=source.mean_bookkeeping_ns,
        full_share=source.full_share,
        range_pages=source.mean_range_pages,
    )
    machine = build_machine(group.engine, shape, cost, policy, source)
    return scenario, run_lanes(machine, times(scenario), warmup, window, lanes["precision"])


def _check_entries(cost: Columns, shape: Shape, events: int) -> None:
    """ValueError if the loop would serve more than MOST_ENTRIES kernel entries."""
    entries_per_s = (shape.busy - shape.isolated) * cost["kernel_entries_per_s"]
    if shape.isolated:
        entries_per_s = entries_per_s + shape.isolated * cost["isolated_entries_per_s"]
    each = entries_per_s * 1e-9 * cost["think_ns"] / shape.senders  # per flush event
    for entries in (each * events)[each * events > MOST_ENTRIES][:1].tolist():
        raise ValueError(
            f"kernel_entries_per_s: about {entries:.1e} kernel entries check a mark in {events} flush events; must be "
            f"at most {MOST_ENTRIES:.0e}: give a smaller window_events, or more flush events per second"
        )
