"""A sweep as a plan: which points there are, what each is, how they are cut into chunks, and the hash of it all.

Chunk boundaries come from the plan by formula, never from timing or the cluster, and no result depends on them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sim.parameters import warmup_events
from sim.policies import policy_module
from sweep.inputs.catalog import Entry
from sweep.plan.code import code_hash
from sweep.plan.points import Space, is_known

# Engine time, measured on one core of a 2.1 GHz Xeon: a step costs this, and each lane in it that plus so much a CPU.
# They steer chunk sizes and estimates, never results.
STEP_NS = {True: 500_000, False: 50_000}  # by whether the policy interrupts
LANE_NS = 200
LANE_CPU_NS = {True: 21.0, False: 0.2}
CHUNK_S = 10.0  # estimated length of a chunk
CHUNK_ROWS = 100_000  # the most rows of a part


@dataclass(frozen=True)
class Plan:
    """A sweep that can be run: everything that a result depends on, and nothing else."""

    name: str
    question: str
    space: Space
    seed: int
    replicas: int
    chunk_s: float = CHUNK_S
    policy_path: str | None = None  # a folder of the user's own policies
    draws: int = 0  # of the costs, beside the representative one
    cut: tuple[int, int] | None = None  # only these points of it; each keeps its index

    def __len__(self) -> int:
        return self.end - self.begin

    @property
    def begin(self) -> int:
        return self.cut[0] if self.cut else 0

    @property
    def end(self) -> int:
        return self.cut[1] if self.cut else len(self.space)

    @cached_property
    def hash(self) -> str:
        """Of the points and the code that simulates them, not of the chunks."""
        space = self.space
        content = {
            "blocks": [asdict(block) for block in space.blocks],
            "machines": {name: _centrals(entry) for name, entry in space.machines.items()},
            "workloads": {name: _centrals(entry) for name, entry in space.workloads.items()},
            "defaults": dict(space.defaults),
            "seed": self.seed,
            "replicas": self.replicas,
            "code": code_hash(self.policy_path),
            "costs": {name: costs.digest for name, costs in space.costs.items()},
        } | ({"cut": self.cut} if self.cut else {})
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()

    def columns(self, begin: int, end: int) -> dict[str, np.ndarray]:
        """Names and model parameters of the points begin..end-1 as arrays, [point]."""
        return self.space.columns(begin, end)

    @cached_property
    def segments(self) -> list[tuple[int, int, float, float]]:
        """Runs of points of one shape: first point, points, seconds a run costs by itself, seconds a point.

        Only those in the cut, and clipped to it.
        """
        out, offset = [], 0
        for block in self.space.blocks:
            inner = block.run
            firsts = np.arange(0, len(block), inner)
            firsts = firsts[(firsts + offset < self.end) & (firsts + offset + inner > self.begin)]
            if not len(firsts):
                offset += len(block)
                continue
            columns = self.space.block_columns(block, firsts)
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


def _cost(point: Mapping[str, Any], replicas: int) -> tuple[float, float]:
    """Estimated seconds: of a group of lanes whatever its width, and of each point in it."""
    module = policy_module(point["policy"])
    if point["policy"] == "vanilla":
        return 0.0, 2e-6
    cores = int(point["cores"])
    window = point["window_events"]
    warmup = point.get("warmup_events")
    steps = window + (warmup if is_known(warmup) else warmup_events(window, cores))
    interrupts = module.flush().tell.interrupts
    lane_ns = LANE_NS + LANE_CPU_NS[interrupts] * cores
    return steps * STEP_NS[interrupts] * 1e-9, steps * lane_ns * replicas * 1e-9


def _centrals(entry: Entry) -> dict[str, Any]:
    machines = {name: {k: q.central for k, q in some.items()} for name, some in entry.machines.items()}
    return {name: quantity.central for name, quantity in entry.quantities.items()} | {"machines": machines}
