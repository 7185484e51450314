"""A sweep as a plan: its points, their decoding, their chunks, and the hash of it all.

Chunk boundaries come from the plan by formula, never from timing or the cluster, and no result depends on them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from sim.parameters import busy_cpus, default_warmup
from sim.policy import Line, Policy
from sim.quantities import fill_unknown
from sweep.inputs.catalog import Entry
from sweep.inputs.measured import FITTED_HERE
from sweep.plan.code import code_hash
from sweep.plan.grid import Block
from sweep.plan.points import Space

# The time of a flush event, measured on one core. It affects chunk sizes and estimates, never results.
LANE_NS = 200  # in each lane,
CPU_NS = {True: 60.0, False: 0.2}  # and for each of its CPUs; by whether the policy interrupts
GROUP_S = 0.005  # for any group of lanes
STEP_NS = {True: 500_000, False: 50_000}  # vectorized: for any number of lanes,
STEP_CPU_NS = {True: 21.0, False: 0.2}  # and for each CPU of a lane
ENTRY_STEPS = 3.0  # a kernel entry that checks a mark, in steps: lanes wait for the one with most of them
VISIT_STEPS = 4.0  # vectorized: a visit to a line that CPUs read before they write, in steps
THINK_NS = 10_000.0  # compute between two flush events of a loop with a rate
CUT_BY = "compiled"  # chunks follow this engine's costs, for any engine
CHUNK_S = 10.0  # estimated length of a chunk
CHUNK_ROWS = 100_000  # the most rows of a part


class Segments(NamedTuple):
    """Runs of points of one shape, [run]."""

    first: np.ndarray  # first point
    points: np.ndarray  # how many
    fixed_s: np.ndarray  # estimated CPU seconds that a run costs by itself,
    point_s: np.ndarray  # and each of its points


@dataclass(frozen=True)
class Plan:
    """A sweep that can be run: all inputs of its results, and nothing else."""

    name: str
    question: str
    space: Space
    seed: int
    replicas: int
    chunk_s: float = CHUNK_S
    policies: Mapping[str, Policy] = field(default_factory=dict)  # those of its points, by name
    policy_path: str | None = None  # a folder of the user's own policies, whose code is part of the hash
    draws: int = 0  # of the costs, beside the representative one
    cut: tuple[int, int] | None = None  # only these points of it; each keeps its index
    engine: str = "compiled"  # or vectorized: no chunk depends on it, and no result unless `is_approximate`
    engine_because: str = ""  # the reason for the engine, if worth a message

    def __len__(self) -> int:
        return self.end - self.begin

    @property
    def begin(self) -> int:
        return self.cut[0] if self.cut else 0

    @property
    def end(self) -> int:
        return self.cut[1] if self.cut else self.space.points

    @property
    def is_approximate(self) -> bool:
        """Whether broadcasts by interrupts are simulated by numpy in two events for a flush event."""
        return self.engine == "vectorized" and any(policy.targets.interrupts for policy in self.policies.values())

    @cached_property
    def hash(self) -> str:
        """The hash of the points and the code that simulates them, without the chunks."""
        space = self.space
        content = {
            "blocks": [asdict(block) for block in space.blocks],
            **self.sources,
            "defaults": dict(space.defaults),
            "seed": self.seed,
            "replicas": self.replicas,
            "code": code_hash(self.policy_path),
        }
        content |= {"cut": self.cut} if self.cut else {}
        content |= {"engine": self.engine} if self.is_approximate else {}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    @property
    def measured_costs(self) -> list[str]:
        """Costs that `sweep measure` wrote, by name."""
        return [name for name, costs in self.space.costs.items() if "measured_on" in costs.stamp]

    @property
    def measured_machines(self) -> set[str]:
        """Machines whose own file has costs fitted to measurements of `sweep measure`."""
        return {
            name
            for name, machine in self.space.machines.items()
            if any(each.owner == name and each.source == FITTED_HERE for each in machine.quantities.values())
        }

    @cached_property
    def sources(self) -> dict[str, Any]:
        """The meaning of the points' names: central values by machine and workload, digests of the costs."""
        space = self.space
        return {
            "machines": {name: _centrals(entry) for name, entry in space.machines.items()},
            "workloads": {name: _centrals(entry) for name, entry in space.workloads.items()},
            "costs": {name: costs.digest for name, costs in space.costs.items()},
        }

    def columns(self, begin: int, end: int) -> dict[str, np.ndarray]:
        """Names and model parameters of the points begin..end-1 as arrays, [point]."""
        return self.space.columns(begin, end)

    @cached_property
    def segments(self) -> Segments:
        """Runs of points of one shape inside the cut, in order, with their costs on this engine."""
        return self._segments(self.engine)

    def _segments(self, engine: str) -> Segments:
        parts, offset = [], 0
        for block, firsts in self.shapes():
            if len(firsts):
                columns = self.space.block_columns(block, firsts)
                fixed_s, point_s = _cost(columns, self.policies, self.replicas, engine)
                begin = np.maximum(offset + firsts, self.begin)
                end = np.minimum(offset + firsts + block.run, self.end)
                parts.append(np.stack([begin, end - begin, fixed_s, point_s]))
            offset += block.points
        first, points, fixed_s, point_s = np.concatenate(parts, axis=1)
        return Segments(first.astype(np.int64), points.astype(np.int64), fixed_s, point_s)

    def shapes(self) -> Iterator[tuple[Block, np.ndarray]]:
        """Every block with the indices of the first points of its runs of one shape inside the cut."""
        offset = 0
        for block in self.space.blocks:
            begin = max(0, self.begin - offset) // block.run
            end = -(-min(block.points, max(0, self.end - offset)) // block.run)
            yield block, np.arange(begin, max(begin, end), dtype=np.int64) * block.run
            offset += block.points

    @cached_property
    def chunks(self) -> np.ndarray:
        """Bounds of the chunks: chunk c holds the points chunks[c]..chunks[c + 1] - 1."""
        most = max(1, CHUNK_ROWS // self.replicas)
        bounds, cost_s = [self.begin], 0.0
        for first, points, fixed_s, point_s in zip(*(each.tolist() for each in self._segments(CUT_BY)), strict=True):
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
        return float((self.segments.fixed_s + self.segments.points * self.segments.point_s).sum())

    def chunk_cost_s(self) -> np.ndarray:
        """Estimated CPU seconds of every chunk."""
        first, points, fixed_s, point_s = self.segments
        low = np.searchsorted(first, self.chunks[:-1], side="right") - 1  # first segment of each chunk
        high = np.searchsorted(first, self.chunks[1:] - 1, side="right")  # and the one after its last
        fixed_to = np.concatenate([[0.0], np.cumsum(fixed_s)])  # of the segments before each
        points_to = np.concatenate([[0.0], np.cumsum(points * point_s)])
        return fixed_to[high] - fixed_to[low] + np.diff(np.interp(self.chunks, np.append(first, self.end), points_to))


def _cost(
    columns: Mapping[str, np.ndarray], known: Mapping[str, Policy], replicas: int, engine: str
) -> tuple[np.ndarray, np.ndarray]:
    """Estimated seconds of a group of lanes of any width, and of each point in it, [point]."""
    policies = [known[name] for name in columns["policy"].tolist()]
    interrupts = np.array([policy.targets.interrupts for policy in policies])
    enters = np.array([policy.kernel_entry is not None for policy in policies])
    window, cores = columns["window_events"], columns["cores"]
    steps = window + _given(columns, "warmup_events", default_warmup(window, cores))
    if enters.any():
        steps = steps * (1.0 + ENTRY_STEPS * np.where(enters, _entries_per_event(columns), 0.0))
    cpu_ns = CPU_NS if engine == "compiled" else STEP_CPU_NS
    lane_ns = LANE_NS + np.where(interrupts, cpu_ns[True], cpu_ns[False]) * cores
    fixed_s: float | np.ndarray = GROUP_S
    if engine == "vectorized":
        reads_line = np.array([policy.reads_line for policy in policies])
        by_node = np.array([policy.mark is not None and policy.mark.line is Line.NODE for policy in policies])
        lines = np.where(by_node, columns.get("sockets", np.ones(len(policies))), 1)  # that a flush event visits
        visits = np.where(reads_line, VISIT_STEPS * lines, 1.0)
        fixed_s = steps * np.where(interrupts, STEP_NS[True], STEP_NS[False] * visits) * 1e-9
    simulated = np.array([name != "vanilla" for name in columns["policy"].tolist()])
    return np.where(simulated, fixed_s, 0.0), np.where(simulated, steps * lane_ns * replicas * 1e-9, 2e-6)


def _given(columns: Mapping[str, np.ndarray], name: str, otherwise: Any) -> Any:
    """A column, with other values where it is not given, [point]."""
    return fill_unknown(columns[name].astype(float), otherwise) if name in columns else otherwise


def _entries_per_event(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Kernel entries, a step each, between two flush events if these take no time, [point]."""
    think_ns = np.full(len(columns["cores"]), np.nan)
    if "user_s" in columns:
        cpu_s = columns["user_s"] + columns["base_system_s"]
        think_ns = cpu_s / np.maximum(columns["kunmap_events"] + columns["alloc_events"], 1.0) * 1e9
    think_ns = fill_unknown(_given(columns, "operation_ns", think_ns), THINK_NS)
    think_ns = _given(columns, "think_ns", think_ns)
    busy = busy_cpus(columns["jobs"], columns["cores"])
    senders = np.minimum(_given(columns, "senders", busy), busy)
    return columns.get("kernel_entries_per_s", np.zeros(len(busy))) * busy * think_ns * 1e-9 / senders


def _centrals(entry: Entry) -> dict[str, Any]:
    machines = {name: {k: q.central for k, q in some.items()} for name, some in entry.machines.items()}
    return {name: quantity.central for name, quantity in entry.quantities.items()} | {"machines": machines}
