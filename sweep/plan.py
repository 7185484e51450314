"""A sweep as a plan: which points there are, what each is, how they are cut into chunks, and the hash of it all.

Chunk boundaries come from the plan by formula, never from timing or the cluster, and no result depends on them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

import sim
from sim.abi import Targets
from sim.parameters import PARAMETERS, check_together
from sim.policy import add_policies, policy_module, policy_names, reads
from sweep.catalog import (
    INSTRUCTION_COSTS,
    QUANTITIES,
    BadInput,
    Entry,
    check_quantity,
    derive,
    did_you_mean,
    quantities_of,
)
from sweep.columns import constant, pointwise
from sweep.costs import LITERATURE, Costs, drawn, literature, posterior, priors
from sweep.grid import Axis, Block, Coded, Relative, read_blocks

NAMES = ("policy", "machine", "workload", "costs")
CONTROLS = ("seed", "replicas")  # one value for the whole sweep

# Engine time, measured on one core of a 2.1 GHz Xeon: a step costs this, and each lane in it that plus so much a CPU.
# They steer chunk sizes and estimates, never results.
STEP_NS = {True: 500_000, False: 50_000}  # by whether the policy interrupts
LANE_NS = 200
LANE_CPU_NS = {True: 21.0, False: 0.2}
CHUNK_S = 10.0  # estimated length of a chunk
CHUNK_ROWS = 100_000  # the most rows of a part
MOST_DRAWS = 65_536


@dataclass(frozen=True)
class Plan:
    """A sweep that can be run: everything that a result depends on, and nothing else."""

    name: str
    question: str
    blocks: tuple[Block, ...]
    machines: Mapping[str, Entry]
    workloads: Mapping[str, Entry]
    defaults: Mapping[str, Any]  # names and parameters where neither axis nor machine nor workload says
    seed: int
    replicas: int
    chunk_s: float = CHUNK_S
    policy_path: str | None = None  # a folder of the user's own policies
    costs: Mapping[str, Costs] = field(default_factory=dict)  # by name; literature's central values where none is
    draws: int = 0  # of the costs, beside the one that stands for them
    cut: tuple[int, int] | None = None  # only these points of it; each keeps its index

    def __len__(self) -> int:
        return self.end - self.begin

    @property
    def begin(self) -> int:
        return self.cut[0] if self.cut else 0

    @property
    def end(self) -> int:
        return self.cut[1] if self.cut else sum(len(block) for block in self.blocks)

    @cached_property
    def hash(self) -> str:
        """Of the points and the code that simulates them, not of the chunks."""
        content = {
            "blocks": [asdict(block) for block in self.blocks],
            "machines": {name: _centrals(entry) for name, entry in self.machines.items()},
            "workloads": {name: _centrals(entry) for name, entry in self.workloads.items()},
            "defaults": dict(self.defaults),
            "seed": self.seed,
            "replicas": self.replicas,
            "code": code_hash(self.policy_path),
            "costs": {name: costs.digest for name, costs in self.costs.items()},
        } | ({"cut": self.cut} if self.cut else {})
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    def columns(self, begin: int, end: int) -> dict[str, np.ndarray]:
        """Names and model parameters of the points begin..end-1 as arrays, [point]."""
        parts, offset = [], 0
        for block in self.blocks:
            low, high = max(begin, offset), min(end, offset + len(block))
            if low < high:
                parts.append(self._block_columns(block, np.arange(low - offset, high - offset)))
            offset += len(block)
        if len(parts) == 1:
            return derive(parts[0])
        names = list(dict.fromkeys(name for part in parts for name in part))
        out = {}
        for name in names:
            out[name] = np.concatenate([part.get(name, np.full(_length(part), np.nan)) for part in parts])
        return derive(out)

    def _block_columns(self, block: Block, index: np.ndarray) -> dict[str, np.ndarray]:
        points = len(index)
        given = block.columns(index)
        names, which = self._names(given)
        columns = {name: _spread(name, [each[at] for each in names], which, points) for at, name in enumerate(NAMES)}
        draw = _spread("draw", *given.pop("draw", ([0], None)), points).astype(np.int64)
        known, by_draw = [], []  # for each of `names`: values by name, and those that depend on the draw
        for _, machine, workload, costs in names:
            entries = self.machines[machine], self.workloads[workload]
            central = {name: quantity.central for name, quantity in quantities_of(*entries).items()}
            drawn_here = drawn(
                self.costs.get(costs, Costs(LITERATURE)), *entries, clock_scale="clock_scale" not in given
            )
            if (draw == draw[0]).all():
                central |= {name: values[draw[0]] for name, values in drawn_here.items()}
                drawn_here = {}
            known.append({**self.defaults, **central})
            by_draw.append(drawn_here)
        for name in dict.fromkeys(name for each in known for name in each):
            if name not in (*NAMES, *CONTROLS):
                columns[name] = _spread(name, [each.get(name) for each in known], which, points)
        for number, drawn_here in enumerate(by_draw):
            members = np.ones(points, dtype=bool) if which is None else which == number
            for name, by_row in drawn_here.items():
                columns[name] = np.array(columns[name])
                columns[name][members] = by_row[draw[members]]
        columns["draw"] = draw
        relative: dict[str, Coded] = {}
        values: Sequence[Any] | np.ndarray
        for name, (values, at) in given.items():
            if name in (*NAMES, *CONTROLS):
                continue
            if not isinstance(values, np.ndarray) and any(isinstance(value, Relative) for value in values):
                relative[name] = (values, at)
                values = [None if isinstance(value, Relative) else value for value in values]
            columns[name] = _spread(name, values, at, points)
        for name, (values, at) in relative.items():
            for number, value in enumerate(values):
                if isinstance(value, Relative):
                    made = pointwise(partial(_follow, value), columns[value.of])
                    columns[name] = made if at is None else np.where(at == number, made, columns[name])
        return columns

    def _names(self, given: Mapping[str, Coded]) -> tuple[list[tuple[str, ...]], np.ndarray | None]:
        """The names that occur together, and which of them each point has, [point]; None if there is one."""
        found: list[tuple[str, ...]] = [()]
        which: np.ndarray | None = None
        for name in NAMES:
            values, at = given[name] if name in given else ([self.defaults[name]], None)
            if at is None:
                found = [(*each, values[0]) for each in found]
                continue
            pairs = at if which is None else which * len(values) + at
            used = np.flatnonzero(np.bincount(pairs))
            found = [(*found[pair // len(values)], values[pair % len(values)]) for pair in used.tolist()]
            which = np.searchsorted(used, pairs)
        return found, which

    @cached_property
    def segments(self) -> list[tuple[int, int, float, float]]:
        """Runs of points of one shape: first point, points, seconds a run costs by itself, seconds a point.

        Only those in the cut, and clipped to it.
        """
        out, offset = [], 0
        for block in self.blocks:
            inner = block.run
            firsts = np.arange(0, len(block), inner)
            firsts = firsts[(firsts + offset < self.end) & (firsts + offset + inner > self.begin)]
            if not len(firsts):
                offset += len(block)
                continue
            columns = derive(self._block_columns(block, firsts))
            for at, first in enumerate(firsts.tolist()):
                fixed_s, point_s = _cost({name: column[at] for name, column in columns.items()}, self.replicas)
                begin, end = max(offset + first, self.begin), min(offset + first + inner, self.end)
                out.append((begin, end - begin, fixed_s, point_s))
            offset += len(block)
        return out

    @cached_property
    def chunks(self) -> np.ndarray:
        """Bounds of the chunks: chunk c holds the points chunks[c]..chunks[c + 1] - 1."""
        most = max(1, CHUNK_ROWS // self.replicas)
        bounds, cost_s = [self.begin], 0.0
        for first, points, fixed_s, point_s in self.segments:
            whole_s = fixed_s + points * point_s
            if first > bounds[-1] and (cost_s + whole_s > self.chunk_s or first + points - bounds[-1] > most):
                bounds.append(first)
                cost_s = 0.0
            cost_s += whole_s
            room = max(self.chunk_s - fixed_s, fixed_s)
            size = int(min(most, max(1, room // point_s if point_s else most)))
            if points > size:
                pieces = -(-points // size)
                bounds += [first + points * piece // pieces for piece in range(1, pieces)]
                cost_s = fixed_s + points / pieces * point_s
        return np.array([*bounds, self.end], dtype=np.int64)

    @cached_property
    def estimate_s(self) -> float:
        """Estimated CPU seconds of the whole sweep on one core."""
        return sum(fixed_s + points * point_s for _, points, fixed_s, point_s in self.segments)

    def chunk_cost_s(self) -> np.ndarray:
        """Estimated CPU seconds of every chunk."""
        first, points, fixed_s, point_s = (np.array(each) for each in zip(*self.segments, strict=True))
        begin, end = self.chunks[:-1], self.chunks[1:]
        low, high = (np.searchsorted(first, at, side="right") - 1 for at in (begin, end - 1))  # first, last segment
        fixed_to = np.concatenate([[0.0], np.cumsum(fixed_s)])  # of the segments before each
        points_to = np.concatenate([[0.0], np.cumsum(points * point_s)])
        before = points_to[low] + (begin - first[low]) * point_s[low]
        after = points_to[high] + (end - first[high]) * point_s[high]
        return fixed_to[high + 1] - fixed_to[low] + (after - before)


def open_plan(
    name: str,
    question: str,
    content: Mapping[str, Any],
    pinned: Mapping[str, Any],
    defaults: Mapping[str, Any],
    machines: Mapping[str, Entry],
    workloads: Mapping[str, Entry],
    chunk_s: float = CHUNK_S,
    policy_path: str | None = None,
    points: str | None = None,
    posteriors: Mapping[str, Costs] | None = None,
    given: Mapping[str, Costs] | None = None,
) -> Plan:
    """A checked plan; BadInput naming the key, the value and what is allowed. `points` cuts it, as BEGIN:END.

    `posteriors` are stored costs by name. `given` are costs whose draws are the sweep's own, all of them.
    """
    posteriors = posteriors or {}
    where = f"grid/{name}"
    if policy_path is not None:
        if not Path(policy_path).is_dir():
            raise BadInput(f"policy_path={policy_path!r}: no such folder")
        policy_path = str(Path(policy_path).resolve())
        add_policies(policy_path)

    def check(key: str, value: Any, here: str) -> Any:
        if key == "policy":
            return _check_policy(value, here)
        if key in ("machine", "workload"):
            known = machines if key == "machine" else workloads
            if value not in known:
                raise BadInput(f"{here}: {key}={value!r}: no such {key}{did_you_mean(str(value), known)}")
            return value
        if key == "costs":
            if value != LITERATURE and value not in posteriors:
                raise BadInput(
                    f"{here}: costs={value!r}: no such costs{did_you_mean(str(value), [LITERATURE, *posteriors])}"
                )
            return value
        if key not in QUANTITIES:
            raise BadInput(f"{here}: unknown key {key!r}{did_you_mean(key, [*NAMES, *QUANTITIES])}")
        return check_quantity(key, value, here)

    content, pinned, defaults = dict(content), dict(pinned), {"costs": LITERATURE, **defaults}
    controls = {}
    for control in CONTROLS:
        value = pinned.pop(control, None)
        in_grid = content.pop(control, None)
        value = in_grid if value is None else value
        controls[control] = int(check(control, defaults.pop(control) if value is None else value, where))
    draws = _draws(content, pinned, defaults, where)
    for key, value in defaults.items():
        check(key, value, "configuration")
    blocks = read_blocks(content, pinned, check, where)
    used_machines = _used(blocks, "machine", defaults)
    used_workloads = _used(blocks, "workload", defaults)
    _check_read(blocks, pinned, defaults, where)
    used = [{each: machines[each] for each in used_machines}, {each: workloads[each] for each in used_workloads}]
    known = priors(used[0].values(), used[1].values())
    costs = {
        each: literature(known, draws, controls["seed"]) if each == LITERATURE
        else posterior(posteriors[each], known, draws, controls["seed"])
        for each in _used(blocks, "costs", defaults)
    }  # fmt: skip
    costs |= given or {}
    rows = max((len(each.values) for each in costs.values()), default=1)
    if rows > 1:
        axis = Axis(("draw",), (range(rows),))
        blocks = tuple(replace(block, axes=(*block.axes, axis)) for block in blocks)
    plan = Plan(
        name, question, blocks, used[0], used[1], defaults, controls["seed"], controls["replicas"], chunk_s,
        policy_path, costs, rows - 1,
    )  # fmt: skip
    _check_points(plan, where)
    return plan if points is None else replace(plan, cut=_cut(points, len(plan)))


def _draws(content: dict[str, Any], pinned: dict[str, Any], defaults: dict[str, Any], where: str) -> int:
    """How many draws of the costs each point is simulated under, beside the one that stands for them."""
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
    for block in plan.blocks:
        keys = set(block.names) | {*NAMES}
        for axis in block.axes:
            for name, values in zip(axis.names, axis.values, strict=True):
                for value in values if not hasattr(values, "steps") else ():
                    if isinstance(value, Relative) and value.of not in QUANTITIES:
                        raise BadInput(
                            f"{where}: {name}={value}: {value.of!r} is no parameter{did_you_mean(value.of, keys)}"
                        )
    offset = 0
    for block in plan.blocks:
        inner = block.run
        columns = derive(plan._block_columns(block, np.arange(0, len(block), inner)))
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
            missing = [name for name in needs if not _known(point.get(name)) and not PARAMETERS[name].optional]
            if missing:
                raise BadInput(
                    f"{here}: policy {point['policy']} reads {', '.join(missing)}, "
                    f"and neither machine {point['machine']} nor workload {point['workload']} says"
                )
        offset += len(block)


def _known(value: Any) -> bool:
    return value is not None and value == value


def _cost(point: Mapping[str, Any], replicas: int) -> tuple[float, float]:
    """Estimated seconds: of a group of lanes whatever its width, and of each point in it."""
    module = policy_module(point["policy"])
    if point["policy"] == "vanilla":
        return 0.0, 2e-6
    cores = int(point["cores"])
    window = point["window_events"]
    warmup = point.get("warmup_events")
    steps = window + (warmup if _known(warmup) else max(window // 3, 16 * cores))
    interrupts = module.flush().tell in (Targets.OTHER_ONLINE, Targets.OTHER_BUSY)
    lane_ns = LANE_NS + LANE_CPU_NS[interrupts] * cores
    return steps * STEP_NS[interrupts] * 1e-9, steps * lane_ns * replicas * 1e-9


def _centrals(entry: Entry) -> dict[str, Any]:
    machines = {name: {k: q.central for k, q in some.items()} for name, some in entry.machines.items()}
    return {name: quantity.central for name, quantity in entry.quantities.items()} | {"machines": machines}


def _follow(relative: Relative, column: np.ndarray) -> np.ndarray:
    return np.fmax(relative.least, relative.factor * column)


def _spread(name: str, values: Sequence[Any] | np.ndarray, which: np.ndarray | None, points: int) -> np.ndarray:
    """The column of a name, [point], from its values and which of them each point has; None is not known."""
    first = values[0]
    text = name == "range_pages" or name in NAMES or (name in PARAMETERS and bool(PARAMETERS[name].choices))
    if which is None or all(value is first for value in values):
        return constant(first if text else np.nan if first is None else float(first), points)
    held = np.empty(len(values), dtype=object if text else float)
    for at, value in enumerate(values) if text else ():
        held[at] = value
    if not text:
        held[:] = values if isinstance(values, np.ndarray) else [np.nan if value is None else value for value in values]
    return held[which]


def _length(part: Mapping[str, np.ndarray]) -> int:
    return len(part["policy"])


def code_hash(policy_path: str | None = None) -> str:
    """Hash of the code that simulates, the user's own policies included."""
    digest = hashlib.sha256()
    for root in [Path(sim.__file__).parent, *([Path(policy_path)] if policy_path else [])]:
        for path in sorted(root.rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
