"""CPUs that cannot take an interrupt when it arrives: how long, drawn interrupt by interrupt.

Interrupts are off there, firmware has the CPU, or it is a preempted vCPU. What the CPU computes meanwhile is not
delayed: of a preempted vCPU only the interrupt is modelled.

Where a preempted vCPU is marked pending, it stays preempted for the flush events that come meanwhile, so that those
which follow each other closely find it as the one before did. Then `held_share` is the share of time: a vCPU that ran
`since_ns` ago is preempted with probability `held_share * (1 - exp(-since_ns / forget_ns))`, where `forget_ns` is
`held_ns * (1 - held_share)`, as a process is that changes between two states at constant rates. However long it
has been preempted, the rest is exponential.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.draws import BY_INTERRUPT, Draws
from sim.policy import Policy, Targets
from sim.topology import Shape


class Preemption:
    """Of the m-th interrupt to CPU k: a uniform, whether the CPU cannot take it, and an exponential, for how long."""

    def __init__(
        self, shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, replicas: np.ndarray, lanes: int
    ) -> None:
        """`replicas` of the lanes, without repetition."""
        nothing = np.zeros(lanes)
        self.share, self.mean_ns = (cost.get(name, nothing) for name in ("held_share", "held_ns"))  # [lane]
        self.any = policy.targets.interrupts and bool((self.share > 0.0).any())
        reachable = shape.busy if policy.targets is Targets.OTHER_BUSY else shape.cores
        self.cpus = reachable if self.any else 0  # that draw
        self.draws = Draws(shape.seed, replicas, self.cpus, BY_INTERRUPT)
        self.draws.reserve(shape.flushers if self.any else 0)  # so many may be on their way

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        self.share, self.mean_ns = self.share[lanes], self.mean_ns[lanes]
