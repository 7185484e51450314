"""Opening a plan: the grid's content, the command line and the files, checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from sim.parameters import PARAMETERS, check_together
from sim.policies import add_policies, policy_module, policy_names, reads
from sweep.errors import BadInput, did_you_mean
from sweep.inputs.catalog import INSTRUCTION_COSTS, QUANTITIES, Entry, check_quantity
from sweep.inputs.costs import LITERATURE, Costs, literature, posterior, priors
from sweep.plan.grid import Axis, Block, Relative, read_blocks
from sweep.plan.plan import CHUNK_S, Plan
from sweep.plan.points import CONTROLS, NAMES, Space, is_known

MOST_DRAWS = 65_536


@dataclass(frozen=True)
class Composition:
    """A grid as it was composed, and the files that its names stand for; nothing of it is checked yet."""

    grid: str
    question: str
    content: Mapping[str, Any]  # of the grid's file
    pinned: Mapping[str, Any]  # keys of the command line, which take the place of axes
    defaults: Mapping[str, Any]
    machines: Mapping[str, Entry]
    workloads: Mapping[str, Entry]
    costs: Mapping[str, Costs] = field(default_factory=dict)  # stored ones by name
    chunk_s: float = CHUNK_S
    policy_path: str | None = None
    points: str | None = None  # BEGIN:END cuts the plan

    def check(self, key: str, value: Any, where: str) -> Any:
        """The checked value of a key; BadInput naming key, value and what is allowed."""
        if key == "policy":
            return _check_policy(value, where)
        groups = {"machine": self.machines, "workload": self.workloads, "costs": [LITERATURE, *self.costs]}
        if key in groups:
            if value not in groups[key]:
                raise BadInput(f"{where}: {key}={value!r}: no such {key}{did_you_mean(str(value), groups[key])}")
            return value
        if key not in QUANTITIES:
            raise BadInput(f"{where}: unknown key {key!r}{did_you_mean(key, [*NAMES, *QUANTITIES])}")
        return check_quantity(key, value, where)


def open_plan(asked: Composition, own_costs: Mapping[str, Costs] | None = None) -> Plan:
    """A checked plan; BadInput naming the key, the value and what is allowed.

    `own_costs` are costs whose draws are the sweep's own, all of them.
    """
    where = f"grid/{asked.grid}"
    policy_path = _find_policies(asked.policy_path)
    content, pinned, defaults = dict(asked.content), dict(asked.pinned), {"costs": LITERATURE, **asked.defaults}
    seed, replicas = (_control(asked, name, content, pinned, defaults, where) for name in CONTROLS)
    draws = _draws(content, pinned, defaults, where)
    for key, value in defaults.items():
        asked.check(key, value, "configuration")
    blocks = read_blocks(content, pinned, asked.check, where)
    _check_read(blocks, pinned, defaults, where)
    machines = {name: asked.machines[name] for name in _used(blocks, "machine", defaults)}
    workloads = {name: asked.workloads[name] for name in _used(blocks, "workload", defaults)}
    known = priors(machines.values(), workloads.values())
    costs = {
        name: literature(known, draws, seed) if name == LITERATURE
        else posterior(asked.costs[name], known, draws, seed)
        for name in _used(blocks, "costs", defaults)
    }  # fmt: skip
    costs |= own_costs or {}
    rows = max((len(each.values) for each in costs.values()), default=1)
    if rows > 1:
        axis = Axis(("draw",), (range(rows),))
        blocks = tuple(replace(block, axes=(*block.axes, axis)) for block in blocks)
    space = Space(blocks, machines, workloads, defaults, costs)
    plan = Plan(asked.grid, asked.question, space, seed, replicas, asked.chunk_s, policy_path, rows - 1)
    _check_points(plan, where)
    return plan if asked.points is None else replace(plan, cut=_cut(asked.points, len(plan)))


def _find_policies(folder: str | None) -> str | None:
    """Find the user's own policies too; the folder's absolute path."""
    if folder is None:
        return None
    if not Path(folder).is_dir():
        raise BadInput(f"policy_path={folder!r}: no such folder")
    folder = str(Path(folder).resolve())
    add_policies(folder)
    return folder


def _control(
    asked: Composition, name: str, content: dict[str, Any], pinned: dict[str, Any], defaults: dict[str, Any], where: str
) -> int:
    """One value for the whole sweep: of the command line, else the grid's, else the configuration's."""
    values = [source.pop(name, None) for source in (pinned, content, defaults)]
    return int(asked.check(name, next((value for value in values if value is not None), None), where))


def _draws(content: dict[str, Any], pinned: dict[str, Any], defaults: dict[str, Any], where: str) -> int:
    """How many draws of the costs each point is simulated under, beside the representative one."""
    given = [source.pop("draws", None) for source in (pinned, content, defaults)]
    draws = next((each for each in given if each is not None), 0)
    if isinstance(draws, bool) or not isinstance(draws, int) or not 0 <= draws <= MOST_DRAWS:
        raise BadInput(f"{where}: draws={draws!r}: must be a whole number from 0 to {MOST_DRAWS}")
    return draws


def _cut(points: str, whole: int) -> tuple[int, int]:
    ends = str(points).split(":")
    if len(ends) == 2 and all(end.isdecimal() or not end for end in ends):
        begin, end = int(ends[0] or 0), int(ends[1] or whole)
        if begin < end <= whole:
            return begin, end
    raise BadInput(f"points={points!r}: must be BEGIN:END with 0 <= BEGIN < END <= {whole}, like points=0:1000")


def _check_policy(value: Any, where: str) -> str:
    try:
        reads(policy_module(str(value)))
    except ValueError:
        raise BadInput(f"{where}: policy={value!r}: no such policy{did_you_mean(str(value), policy_names())}") from None
    except Exception as error:
        raise BadInput(f"{where}: policy={value!r}: its file does not work: {type(error).__name__}: {error}") from None
    return str(value)


def _used(blocks: tuple[Block, ...], name: str, defaults: Mapping[str, Any]) -> list[str]:
    used: dict[str, None] = {}
    for block in blocks:
        values = [v for axis in block.axes for n, v in zip(axis.names, axis.values, strict=True) if n == name]
        used |= dict.fromkeys(values[0] if values else [defaults[name]])
    return list(used)


CONTROL_KEYS = {"window_events", "warmup_events", "precision", "flushers", "think_ns", *NAMES}
MADE_FROM = {  # what a deriving quantity changes
    "clock_scale": INSTRUCTION_COSTS,
    "alloc_per_kunmap": ["alloc_events"],
    "large_range_share": ["range_pages"],
    "user_s_over_xeon": ["user_s"],
}


def _check_read(blocks: tuple[Block, ...], pinned: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> None:
    """Every key of a block changes something that a policy of the block reads; a key of the command line, of any."""
    anywhere: set[str] = set()
    for number, block in enumerate(blocks):
        names = {
            policy
            for axis in block.axes
            for name, values in zip(axis.names, axis.values, strict=True)
            if name == "policy"  # before its values are walked: another axis may be a range of a billion
            for policy in values
        } or {defaults["policy"]}
        read = {name for policy in names for name in reads(policy_module(policy))}
        anywhere |= read
        for key in block.names:
            if key in CONTROL_KEYS or key in pinned or read & {key, *MADE_FROM.get(key, ())}:
                continue
            raise BadInput(
                f"{where}, block {number + 1}: {key!r} is read by none of its policies, {', '.join(sorted(names))}; "
                f"they read {', '.join(sorted(read))}"
            )
    for key in pinned:
        if key not in CONTROL_KEYS and not anywhere & {key, *MADE_FROM.get(key, ())}:
            raise BadInput(
                f"command line: {key!r} is read by no policy of this grid; read are {', '.join(sorted(anywhere))}"
            )


def _check_points(plan: Plan, where: str) -> None:
    """What one value alone cannot show: relative axes, shapes that contradict each other, missing quantities."""
    for block in plan.space.blocks:
        keys = set(block.names) | {*NAMES}
        for axis in block.axes:
            for name, values in zip(axis.names, axis.values, strict=True):
                for value in values if not hasattr(values, "steps") else ():
                    if isinstance(value, Relative) and value.of not in QUANTITIES:
                        raise BadInput(
                            f"{where}: {name}={value}: {value.of!r} is no parameter{did_you_mean(value.of, keys)}"
                        )
    offset = 0
    for block in plan.space.blocks:
        inner = block.run
        columns = plan.space.block_columns(block, np.arange(0, len(block), inner))
        for at in range(len(columns["policy"])):
            point = {name: column[at] for name, column in columns.items()}
            here = f"{where}, point {offset + at * inner}"
            for name in ("cores", "jobs", "sockets", "threads_per_core"):
                if name not in point:
                    raise BadInput(f"{here}: {name} is not given: add `{name}=` or an axis of that name")
                check_quantity(name, point[name], here)
            try:
                check_together({**point, "cores": int(point["cores"])})
            except ValueError as error:
                raise BadInput(f"{here}: {error}") from None
            needs = reads(policy_module(point["policy"]))
            missing = [name for name in needs if not is_known(point.get(name)) and not PARAMETERS[name].optional]
            if missing:
                raise BadInput(
                    f"{here}: policy {point['policy']} reads {', '.join(missing)}, "
                    f"and neither machine {point['machine']} nor workload {point['workload']} says"
                )
        offset += len(block)
