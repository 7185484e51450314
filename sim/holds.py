"""CPUs that cannot take an interrupt when it arrives: how long, drawn interrupt by interrupt.

Interrupts are off there, firmware has the CPU, or its host does not run it. What the CPU computes meanwhile is not
delayed: of a vCPU that does not run, only this is modelled.

Where a held CPU is left a note, it stays held for whoever comes meanwhile, so that flush events which follow each other
closely find a CPU as the one before did. Then `held_share` is the share of time: a CPU that ran `since_ns` ago is held
with probability `held_share * (1 - exp(-since_ns / forget_ns))`, where `forget_ns = held_ns * (1 - held_share)`, as a
process is that changes between two states at constant rates. However long it has been held, the rest is exponential.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.abi import Flush, Targets
from sim.draws import BY_INTERRUPT, Draws
from sim.group import Shape


class Holds:
    """Of the m-th interrupt to CPU k: a uniform, whether the CPU cannot take it, and an exponential, for how long."""

    def __init__(
        self, shape: Shape, cost: Mapping[str, np.ndarray], flush: Flush, replicas: np.ndarray, replica_row: np.ndarray
    ) -> None:
        """`replicas` without repetition, and which of them each lane is."""
        nothing = np.zeros(len(replica_row))
        self.share, self.mean_ns = (cost.get(name, nothing) for name in ("held_share", "held_ns"))  # [lane]
        self.any = flush.tell.interrupts and bool((self.share > 0.0).any())
        reachable = shape.busy if flush.tell is Targets.OTHER_BUSY else shape.cores
        self.cpus = reachable if self.any else 0  # that draw
        self.draws = Draws(shape.seed, replicas, self.cpus, BY_INTERRUPT)
        self.draws.reserve(shape.flushers if self.any else 0)  # so many may be on their way
        self._row = replica_row
        self._used = np.zeros((self.cpus, len(replica_row)), dtype=np.int64)

    def draw(self, sent: np.ndarray, since_ns: np.ndarray | None = None) -> np.ndarray:
        """How long the interrupts that are `sent` cannot be taken, in ns, [cpu, lane]; 0 where none is.

        `since_ns` [cpu, lane]: how long ago each CPU ran, where that counts.
        """
        held_ns = np.zeros(sent.shape)
        cpu, lane = np.nonzero(sent)
        used = self._used[cpu, lane]
        self.draws.reserve(int(used.max(initial=0)) + 1)
        at = (self._row[lane] * self.cpus + cpu) * self.draws.length + used
        held, hold = (table.take(at) for table in self.draws.tables)
        share = self.share[lane] if since_ns is None else self._held_since(since_ns[cpu, lane], lane)
        held_ns[cpu, lane] = np.where(held < share, hold * self.mean_ns[lane], 0.0)
        self._used[cpu, lane] = used + 1
        return held_ns

    def _held_since(self, since_ns: np.ndarray, lane: np.ndarray) -> np.ndarray:
        """With which probability CPUs are held that ran `since_ns` ago, in these lanes (indices)."""
        share = self.share[lane]
        forget_ns = self.mean_ns[lane] * (1.0 - share)
        soon = forget_ns > 0.0
        changed = 1.0 - np.exp(-np.maximum(since_ns, 0.0) / np.where(soon, forget_ns, 1.0))
        return np.where(soon, share * changed, share)

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        self.share, self.mean_ns, self._row = self.share[lanes], self.mean_ns[lanes], self._row[lanes]
        self._used = np.ascontiguousarray(self._used[:, lanes])
