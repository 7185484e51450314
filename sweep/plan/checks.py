"""Checks of more than one value: unused keys, values relative to others, impossible points."""

import difflib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sim.closed_loop import check_loops, is_loop
from sim.machine.engines import check_locks
from sim.parameters import PARAMETERS, Kind, check, check_together
from sim.policy import Policy
from sim.preemption import Preemption, away
from sim.reading import reads
from sim.topology import Shape
from sweep.errors import BadInput, did_you_mean
from sweep.inputs.catalog import QUANTITIES
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
TOGETHER = (
    "cores", "sockets", "threads_per_core", "apic", "fill", "user_s", "base_system_s", "isolated", "jobs", "senders"
)  # fmt: skip
GIVE_LOOP = "give one like shootdown_loop"
Columns = Mapping[str, np.ndarray]  # by name, [point]
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
        names = set(block.values.get("policy", [defaults["policy"]]))
        read = {name for policy in names for kind in Kind for name in reads(policies[policy], kind)}
        anywhere |= read
        for key in block.values:
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
    near = difflib.get_close_matches(key, sorted(read), n=3)
    return (f"similar keys: {', '.join(near)}; " if near else "") + "`sweep list parameters` lists all"


def _check_relative(block: Block, where: str) -> None:
    """BadInput if a value is relative to anything but a number of the point, or to itself in a circle."""
    needs = {name: relatives(values) for name, values in block.values.items()}
    for name, of in [(name, of) for name, among in needs.items() for of in among]:
        if of not in QUANTITIES:
            raise BadInput(f"{where}: {name}: `x {of}`: no such parameter{did_you_mean(of, QUANTITIES)}")
        if of in ("seed", "replicas", "range_pages") or QUANTITIES[of].choices:
            raise BadInput(f"{where}: {name}: `x {of}`: {of} must be a number of a point")
        if name == "range_pages" or name in NAMES or QUANTITIES[name].choices:
            raise BadInput(f"{where}: {name}: `x {of}`: {name} must be a number")
    try:
        in_order({name: among for name, among in needs.items() if among})
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
                for row, wrong in _mistakes(plan.space.block_columns(block, index), plan.policies):
                    raise BadInput(f"{where}, point {offset + index[row]}: {wrong}")
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
    needs = {name: relatives(values) for name, values in block.values.items()}
    moving = {name for name, among in needs.items() if among}.union(*needs.values())
    steps, stride = [0], 1
    for axis in reversed(block.axes):
        if set(axis.names) & moving and not set(axis.names) & set(SHAPE):
            length = len(axis)
            digits = range(length) if length <= ALL_OF else _ends(axis.values)
            steps = [step + digit * stride for step, digit in itertools.product(steps, digits)][:BATCH]
        stride *= len(axis)
    return steps


def _ends(columns: Sequence[Sequence[Any]]) -> list[int]:
    ends = {0, len(columns[0]) - 1}
    for values in columns:
        if not isinstance(values, Span | range) and all(isinstance(value, int | float) for value in values):
            ends |= {int(np.argmin(values)), int(np.argmax(values))}
    return sorted(ends)


def different(columns: Columns, names: Iterable[str]) -> Iterator[tuple[int, Mapping[Any, Any]]]:
    """The different combinations of these columns' values, where there are such columns, each with its first row."""
    table = pd.DataFrame({name: columns[name] for name in names if name in columns}).drop_duplicates()
    return zip(table.index.tolist(), table.to_dict("records"), strict=True)


def _mistakes(columns: Columns, policies: Mapping[str, Policy]) -> Iterator[tuple[int, str]]:
    """Impossible points: the first row with each mistake, and its reason; later mistakes may follow from earlier ones.

    A check stands for all points, or for those of one policy and one kind of workload.
    """
    for name in NEEDED:
        if name not in columns or not is_known(columns[name][0]):
            yield 0, f"{name} is not given: add `{name}=` or an axis of that name"
    for name, column in columns.items():
        if name in PARAMETERS and column.dtype != object:
            for row in _first(_outside(name, column)):
                yield from _refused(row, check, name, column[row].item())
    for row, point in different(columns, TOGETHER if "isolated" in columns else TOGETHER[:-3]):
        yield from _refused(row, check_together, {"apic": "auto", **point, "cores": int(point["cores"])})
    points = len(columns["policy"])
    loops = is_loop(columns, points)
    if wrong := check_loops(columns, points):
        yield wrong
    for policy, loop in dict.fromkeys(zip(columns["policy"].tolist(), loops.tolist(), strict=True)):
        rows = np.flatnonzero((columns["policy"] == policy) & (loops == loop))
        mine = columns if len(rows) == points else {name: column[rows] for name, column in columns.items()}
        for row, mistake in _mistakes_of(policy, policies[policy], loop, mine):
            yield int(rows[row]), mistake


def _refused(row: int, checked: Callable[..., Any], *arguments: Any) -> Iterator[tuple[int, str]]:
    """The row with the error message of a check, if it fails."""
    try:
        checked(*arguments)
    except ValueError as error:
        yield row, str(error)


def _outside(name: str, column: np.ndarray) -> np.ndarray:
    """Whether a given value is not allowed for the parameter, [point]."""
    parameter = PARAMETERS[name]
    values = column.astype(float)
    outside = (values < parameter.low) | (values > parameter.high) | np.isinf(values)
    if parameter.whole:
        outside |= (values != np.floor(values)) & ~np.isnan(values)
    return outside


def _mistakes_of(name: str, policy: Policy, loop: bool, columns: Columns) -> Iterator[tuple[int, str]]:
    """Points of a policy and a kind of workload that lack one of its parameters, or have nothing to simulate."""
    missing = []
    for read in reads(policy, Kind.LOOP if loop else Kind.BUILD):
        needed: np.ndarray | bool = True
        if read == "line_cross_ns":  # optional only on one socket
            needed = columns["sockets"] > 1
        elif PARAMETERS[read].optional or (PARAMETERS[read].default is not None and read not in columns):
            continue
        unknown = pd.isna(columns[read]) if read in columns else np.ones(len(columns["policy"]), dtype=bool)
        missing += [(row, read) for row in _first(needed & unknown)]
    if missing:
        row = min(row for row, _ in missing)
        names = ", ".join(read for first, read in missing if first == row)
        machine, workload = (columns[of][row] for of in ("machine", "workload"))
        yield row, f"policy {name} needs {names}: neither machine {machine} nor workload {workload} has it"
    for of_loops in OF_LOOPS if not loop else ():
        column = columns.get(of_loops, np.empty(0))
        for row in _first(~pd.isna(column) & (column != PARAMETERS[of_loops].default)):
            workload = columns["workload"][row]
            yield row, f"{of_loops}={column[row]} needs a closed loop, and workload {workload} is a build; {GIVE_LOOP}"
    if policy.targets.looks_for_user_mode:
        yield from _mistakes_in_user_mode(policy, columns)
    if loop and "locks_per_operation" in columns:
        for row, point in different(columns, ("locks_per_operation", "events_per_operation")):
            locks, events = point["locks_per_operation"], point.get("events_per_operation", 1.0)
            if locks > 0.0 and events > 0.0:
                for _, wrong in _refused(row, check_locks, policy, locks, events):
                    yield row, f"policy {name}: {wrong}"
    if not loop and not policy.build:
        why = "needs a closed loop, since its flush events are system calls, and the workload is a build"
        yield 0, f"policy {name}: {why}; {GIVE_LOOP}"
    if not loop and name != "vanilla":
        for row in _first(columns["kunmap_events"] + columns["alloc_events"] == 0):
            remedy = "give alloc_events (default: alloc_per_kunmap x kunmap_events), or policy=vanilla"
            yield row, f"kunmap_events and alloc_events are 0, so policy {name} has no flush events; {remedy}"


def _mistakes_in_user_mode(policy: Policy, columns: Columns) -> Iterator[tuple[int, str]]:
    """Points whose CPUs in user mode never enter the kernel, or are preempted vCPUs too."""
    numbers = {name: column for name, column in columns.items() if column.dtype == float}
    doubtful = numbers.get("preempted_share", np.zeros(len(columns["policy"]))) > 0.0
    for name in ("kernel_entries_per_s", "isolated_entries_per_s"):
        doubtful |= numbers[name] == 0.0 if name in numbers else False
    for row in np.flatnonzero(doubtful).tolist():
        cost = {name: np.array([column[row]]) for name, column in numbers.items()}
        cores, isolated = int(columns["cores"][row]), int(columns["isolated"][row]) if "isolated" in columns else 0
        shape = Shape(cores, 1, cores, 1, 1, "auto", 0, isolated=isolated)
        yield from _refused(row, Preemption, shape, cost, policy, np.zeros(1, dtype=np.int64), 1)
        yield from _refused(row, away, shape, cost, policy, 1, cores)


def _first(wrong: np.ndarray) -> list[int]:
    return np.flatnonzero(wrong)[:1].tolist()
