"""The common parts of the vectorized machines. The last axis of every array is the lane; times are absolute, in ns."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from sim.counts import Records, no_counts
from sim.events import FlushEvents
from sim.policy import Policy
from sim.topology import Shape

# Before any time; finite, since differences of two are taken, and so low that no sum with a cost is a time.
NEVER = -1e200


def first_least(values: np.ndarray) -> np.ndarray:
    """The first row with the least value of each lane; faster than argmin, which takes lanes one by one."""
    rows = np.arange(len(values))[:, None]
    return np.where(values == values.min(axis=0), rows, len(values)).min(axis=0)


@dataclass
class Served:
    """The flush event that the last step served; every field is [lane]."""

    now: np.ndarray  # time of the flush event
    wait_ns: np.ndarray  # length of a finished flush event
    window_ns: np.ndarray  # stale window of another busy CPU; NaN if it is on the slow time scale


class Steps:
    """A `Machine` that serves one flush event in every lane per step; `STATE` names its dataclasses of arrays."""

    STATE: tuple[str, ...]
    senders: Any  # `start` is the begin of the next flush event, [cpu, lane]; any time before now if it is in one
    lanes: int
    tally: Records  # counts, [lane]

    def __init__(self, shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, source: FlushEvents) -> None:
        """`cost` has the parameters that the policy reads, each [lane]; `source` draws flush events and checks."""
        self.shape, self.policy, self.source, self.cost = shape, policy, source, dict(cost)
        lanes = len(source.replica_row)
        self.served = Served(np.zeros(lanes), np.zeros(lanes), np.full(lanes, np.nan))
        self._lay_out(lanes)
        self.reset()

    def _draw_first(self) -> None:
        """Draw the first flush event of every sender."""
        for k in range(self.shape.senders):
            cpu = np.full(self.lanes, k)
            self._schedule(cpu, *self.source.draw(cpu))

    def _lay_out(self, lanes: int) -> None:
        """Set the values that depend only on costs and the number of lanes."""
        self.lanes, self.lane = lanes, np.arange(lanes)

    def _schedule(self, cpu: np.ndarray, start: np.ndarray, kind: np.ndarray) -> None:
        """The next flush event of `cpu` begins at `start`."""
        raise NotImplementedError

    def step(self) -> None:
        """Serve the next flush event of every lane."""
        raise NotImplementedError

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        for name in ("served", *self.STATE):
            state = getattr(self, name)
            kept = {field.name: getattr(state, field.name)[..., lanes] for field in fields(state)}
            setattr(self, name, replace(state, **{key: np.ascontiguousarray(array) for key, array in kept.items()}))
        self.tally = self.tally[lanes]
        self.cost = {name: value[lanes] for name, value in self.cost.items()}
        self.source.keep(lanes)
        self._lay_out(len(lanes))

    @property
    def now(self) -> np.ndarray:
        return self.served.now

    @property
    def window_p99_isolated_ns(self) -> np.ndarray:
        """NaN, [lane]: only the compiled engine has isolated CPUs."""
        return np.full(self.lanes, np.nan)

    @property
    def computed_ns(self) -> np.ndarray:
        return self.source.computed_ns(self.source.used, self.senders.start, self.now)

    def serve(self, waits: np.ndarray, windows: np.ndarray, batches: int = 1) -> Records:
        counts = np.repeat(no_counts(self.lanes)[None], batches, axis=0)
        for row in range(len(waits)):
            self.step()
            waits[row], windows[row] = self.served.wait_ns, self.served.window_ns
            counts[row * batches // len(waits)] = self.tally
        return counts

    def reset(self) -> None:
        self.tally = no_counts(self.lanes)

    @property
    def counts(self) -> Records:
        return self.tally.copy()
