"""Checks of more than one value: unused keys, values relative to others, impossible points."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sim.closed_loop import check_loops, is_loop
from sim.machine.engines import check_locks
from sim.parameters import PARAMETERS, Kind, busy_cpus, check_together
from sim.policy import Policy
from sim.preemption import Preemption, away
from sim.reading import reads
from sim.topology import Shape
from sweep.errors import BadInput, did_you_mean
from sweep.inputs.catalog import QUANTITIES, check_quantity
from sweep.plan.columns import is_constant
from sweep.plan.grid import SHAPE, Block, Span
from sweep.plan.plan import Plan
from sweep.plan.points import NAMES, in_order, is_known, relatives

CONTROL_KEYS = {*NAMES, *(name for name, parameter in PARAMETERS.items() if parameter.control)}
NEEDED = [
    name
    for name, parameter in PARAMETERS.items()
    if parameter.certain and not (parameter.control or parameter.optional)
]
OF_LOOPS = [name for name, p in PARAMETERS.items() if p.kind is Kind.LOOP and not p.defining and p.default is not None]
BATCH = 65_536  # points checked side by side
ALL_OF = 64  # up to this length, all values of an axis behind a relative value are tried, else its ends


def check_keys(
    blocks: Sequence[Block],
    pinned: Mapping[str, Any],
    defaults: Mapping[str, Any],
    policies: Mapping[str, Policy],
    where: str,
) -> None:
    """BadInput if no policy of a block reads a key of the block, or no policy at all one of the command line."""
    anywhere: set[str] = set()
    for number, block in enumerate(blocks):
        here = f"{where}, block {number + 1}"
        names = set(_values(block, "policy")) or {defaults["policy"]}
        read = {name for policy in names for kind in Kind for name in reads(policies[policy], kind)}
        anywhere |= read
        for key in block.names:
            if key in CONTROL_KEYS or key in pinned or read & {key, *QUANTITIES[key].makes}:
                continue
            raise BadInput(
                f"{here}: {key!r} is used by none of its policies, {', '.join(sorted(names))}; {_near(key, read)}"
            )
        _check_relative(block, here if len(blocks) > 1 else where)
    for key in pinned:
        if key not in CONTROL_KEYS and not anywhere & {key, *QUANTITIES[key].makes}:
            raise BadInput(f"command line: {key!r} is used by no policy of this grid; {_near(key, anywhere)}")


def _near(key: str, read: set[str]) -> str:
    """Similar keys that are used, and the command that lists all."""
    near = difflib.get_close_matches(key, sorted(read), n=3)
    return (f"similar keys: {', '.join(near)}; " if near else "") + "`sweep list parameters` lists all"


def _check_relative(block: Block, where: str) -> None:
    """BadInput if a value is relative to anything but a number of the point, or to itself in a circle."""
    needs: dict[str, set[str]] = {}
    for axis in block.axes:
        for name, values in zip(axis.names, axis.values, strict=True):
            for of in relatives(values):
                needs.setdefault(name, set()).add(of)
                if of not in QUANTITIES:
                    raise BadInput(f"{where}: {name}: `x {of}`: no such parameter{did_you_mean(of, QUANTITIES)}")
                if of in ("seed", "replicas", "range_pages") or QUANTITIES[of].choices:
                    raise BadInput(f"{where}: {name}: `x {of}`: {of} must be a number of a point")
                if name == "range_pages" or name in NAMES or QUANTITIES[name].choices:
                    raise BadInput(f"{where}: {name}: `x {of}`: {name} must be a number")
    try:
        in_order(needs)
    except ValueError as error:
        raise BadInput(f"{where}: {error}: relative to each other; give one of them a number") from None


def check_points(plan: Plan, where: str) -> None:
    """BadInput for parameters out of range, contradicting shapes, missing quantities, policies without events."""
    offset = 0
    for block, firsts in plan.shapes():
        steps = _steps_inside(block)
        for begin in range(0, len(firsts), BATCH):
            for step in steps:
                index = firsts[begin : begin + BATCH] + step
                columns = plan.space.block_columns(block, index)
                _check_columns(columns, index + offset, plan.policies, where)
        offset += block.points


def check_hours(plan: Plan, most: float) -> None:
    """BadInput if a sweep is estimated longer than the limit."""
    hours = float(plan.chunk_cost_s().sum()) / 3600  # of a cut, its part only
    if hours > most:
        raise BadInput(
            f"{plan.name}: estimated {hours:.1f} CPU-hours: must be at most max_cpu_hours={most:g}; "
            f"give max_cpu_hours={hours * 1.1:.0f}"
        )


def _steps_inside(block: Block) -> list[int]:
    """Offsets, from the first point of a shape, of the extreme relative values."""
    followed = {of for axis in block.axes for values in axis.values for of in relatives(values)}
    following = {
        name for axis in block.axes for name, values in zip(axis.names, axis.values, strict=True) if relatives(values)
    }
    steps, stride = [0], 1
    for axis in reversed(block.axes):
        if set(axis.names) & (followed | following) and not set(axis.names) & set(SHAPE):
            length = len(axis)
            digits = range(length) if length <= ALL_OF else _ends(axis.values)
            steps = [step + digit * stride for step, digit in itertools.product(steps, digits)][:BATCH]
        stride *= len(axis)
    return steps


def _ends(columns: Sequence[Sequence[Any]]) -> list[int]:
    """The indices of an axis's least and greatest values."""
    ends = {0, len(columns[0]) - 1}
    for values in columns:
        if not isinstance(values, Span | range) and all(isinstance(value, int | float) for value in values):
            ends |= {int(np.argmin(values)), int(np.argmax(values))}
    return sorted(ends)


def _check_columns(
    columns: Mapping[str, np.ndarray], points: np.ndarray, policies: Mapping[str, Policy], where: str
) -> None:
    """BadInput for the first impossible point, with the reason."""

    def at(row: int) -> str:
        return f"{where}, point {points[row]}"

    for name in NEEDED:
        if name not in columns or not is_known(columns[name][0]):
            raise BadInput(f"{at(0)}: {name} is not given: add `{name}=` or an axis of that name")
    for name, column in columns.items():
        if name in PARAMETERS and column.dtype != object:
            for row in _first(_outside(name, column)):
                check_quantity(name, column[row].item(), at(row))
    cores, sockets, threads = (columns[name] for name in ("cores", "sockets", "threads_per_core"))
    flat = columns["apic"] == "flat" if "apic" in columns else np.zeros(len(points), dtype=bool)
    no_time = np.ones(len(points), dtype=bool)
    for name in ("user_s", "base_system_s"):
        no_time &= columns[name] == 0.0 if name in columns else False
    wrong = (cores % sockets != 0) | (cores % threads != 0) | (flat & (cores > 8)) | no_time
    if "isolated" in columns:
        busy = busy_cpus(columns["jobs"], cores)
        senders = columns["flushers"].astype(float) if "flushers" in columns else np.full(len(points), np.nan)
        wrong |= columns["isolated"] > busy - np.fmin(senders, busy)
    for row in _first(wrong):
        point = {name: column[row] for name, column in columns.items()}
        try:
            check_together({**point, "cores": int(point["cores"])})
        except ValueError as error:
            raise BadInput(f"{at(row)}: {error}") from None
    _check_policies(columns, policies, at)


def _outside(name: str, column: np.ndarray) -> np.ndarray:
    """Whether a given value is not allowed for the parameter, [point]."""
    parameter = PARAMETERS[name]
    values = column.astype(float)
    outside = (values < parameter.low) | (values > parameter.high) | np.isinf(values)
    if parameter.whole:
        outside |= (values != np.floor(values)) & ~np.isnan(values)
    return outside


def _check_policies(columns: Mapping[str, np.ndarray], known: Mapping[str, Policy], at: Any) -> None:
    """BadInput if a policy's parameters are missing, or it has nothing to simulate."""
    policies = np.array(columns["policy"].tolist(), dtype=object)
    loops = is_loop(columns, len(policies))
    if wrong := check_loops(columns, len(policies)):
        raise BadInput(f"{at(wrong[0])}: {wrong[1]}")
    for policy, loop in dict.fromkeys(zip(policies.tolist(), loops.tolist(), strict=True)):
        mine = (policies == policy) & (loops == loop)
        missing = []
        for name in reads(known[policy], Kind.LOOP if loop else Kind.BUILD):
            needs = mine
            if name == "line_cross_ns":  # optional only on one socket
                needs = mine & (columns["sockets"] > 1)
            elif PARAMETERS[name].optional or (PARAMETERS[name].default is not None and name not in columns):
                continue
            unknown = needs & _unknown(columns[name]) if name in columns else needs
            missing += [(int(row), name) for row in _first(unknown)]
        if missing:
            row = min(row for row, _ in missing)
            names = ", ".join(name for first, name in missing if first == row)
            machine, workload = (columns[name][row] for name in ("machine", "workload"))
            raise BadInput(
                f"{at(row)}: policy {policy} needs {names}: neither machine {machine} nor workload {workload} has it"
            )
        if not loop:
            _check_no_loop(columns, mine, at)
        if known[policy].targets.looks_for_user_mode:
            _check_user_mode(columns, known[policy], mine, at)
        if loop and "locks_per_operation" in columns:
            locks = columns["locks_per_operation"]
            events = columns.get("events_per_operation", np.ones(len(locks)))
            for row in np.flatnonzero(mine & (events > 0.0) & (locks > 0.0)).tolist():
                try:
                    check_locks(known[policy], locks[row], events[row])
                except ValueError as error:
                    raise BadInput(f"{at(row)}: policy {policy}: {error}") from None
        if not (loop or known[policy].build):
            raise BadInput(
                f"{at(int(np.flatnonzero(mine)[0]))}: policy {policy}: needs a closed loop, since its flush events are "
                "system calls, and the workload is a build; give one like shootdown_loop"
            )
        if policy != "vanilla" and not loop:
            for row in _first(mine & (columns["kunmap_events"] + columns["alloc_events"] == 0)):
                raise BadInput(
                    f"{at(row)}: kunmap_events and alloc_events are 0, so policy {policy} has no flush events; give "
                    "alloc_events (default: alloc_per_kunmap x kunmap_events), or policy=vanilla"
                )


def _check_no_loop(columns: Mapping[str, np.ndarray], mine: np.ndarray, at: Any) -> None:
    """BadInput if a build has a parameter of closed loops with another value than its default."""
    for name in OF_LOOPS:
        if name in columns:
            default = PARAMETERS[name].default
            for row in _first(mine & ~_unknown(columns[name]) & (columns[name] != default)):
                raise BadInput(
                    f"{at(row)}: {name}={columns[name][row]} needs a closed loop, and workload "
                    f"{columns['workload'][row]} is a build; give one like shootdown_loop"
                )


def _check_user_mode(columns: Mapping[str, np.ndarray], policy: Policy, mine: np.ndarray, at: Any) -> None:
    """BadInput if CPUs in user mode never enter the kernel, or are preempted vCPUs too."""
    numbers = {name: column for name, column in columns.items() if column.dtype == float}
    doubtful = numbers.get("held_share", np.zeros(len(mine))) > 0.0
    for name in ("kernel_entries_per_s", "isolated_entries_per_s"):
        doubtful |= numbers[name] == 0.0 if name in numbers else False
    for row in np.flatnonzero(mine & doubtful).tolist():
        cost = {name: np.array([column[row]]) for name, column in numbers.items()}
        cores, isolated = int(columns["cores"][row]), int(columns["isolated"][row]) if "isolated" in columns else 0
        shape = Shape(cores, 1, cores, 1, 1, "auto", 0, isolated=isolated)
        try:
            Preemption(shape, cost, policy, np.zeros(1, dtype=np.int64), 1)
            away(shape, cost, policy, 1, cores)
        except ValueError as error:
            raise BadInput(f"{at(row)}: {error}") from None


def _unknown(column: np.ndarray) -> np.ndarray:
    """Whether a value is not given, [point]."""
    if is_constant(column):
        return np.full(len(column), not is_known(column[0]))
    return np.isnan(column) if column.dtype == float else np.array([not is_known(value) for value in column.tolist()])


def _first(wrong: np.ndarray) -> Iterator[int]:
    """The first row of a mask, if there is one."""
    rows = np.flatnonzero(wrong)
    return iter(rows[:1].tolist())


def _values(block: Block, wanted: str) -> Sequence[Any]:
    """The values of a name in a block, without walking those of other names: a range may have a billion."""
    for axis in block.axes:
        for name, values in zip(axis.names, axis.values, strict=True):
            if name == wanted:
                return values
    return ()
