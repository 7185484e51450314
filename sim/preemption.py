"""CPUs that cannot take an interrupt when it arrives: how long, drawn interrupt by interrupt.

Interrupts are off there, firmware has the CPU, or it is a preempted vCPU. What the CPU computes meanwhile is not
delayed: of a preempted vCPU only the interrupt is modelled.

Where a preempted vCPU is marked pending, it stays preempted for the flush events that come meanwhile, so that those
which follow each other closely find it as the one before did. Then `held_share` is the share of time: a vCPU that ran
`since_ns` ago is preempted with probability `held_share * (1 - exp(-since_ns / forget_ns))`, where `forget_ns` is
`held_ns * (1 - held_share)`, as a process is that changes between two states at constant rates. However long it
has been preempted, the rest is exponential.

A CPU in user mode is the same where it is marked pending: it is away, until its next kernel entry.
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
        preempted = bool((cost.get("held_share", np.zeros(lanes)) > 0.0).any())
        if policy.targets.looks_for_user_mode and preempted:
            raise ValueError(f"held_share: no engine models preempted vCPUs beside {policy.targets}: must be 0")
        self.any = policy.targets.interrupts and (preempted or policy.targets.looks_for_user_mode)
        reachable = shape.busy if policy.targets is Targets.OTHER_BUSY else shape.cores
        self.cpus = reachable if self.any else 0  # that draw
        self.draws = Draws(shape.seed, replicas, self.cpus, BY_INTERRUPT)
        self.draws.reserve(shape.flushers if self.any else 0)  # so many may be on their way


def away(
    shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, lanes: int, cpus: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of what share of its time CPUs 0..cpus-1 are away, and for how long at a time in ns, both [lane, cpu].

    Preempted; or, where the policy looks for that, in user mode while they compute. An idle CPU is in the kernel.
    """
    share, mean_ns = np.zeros((lanes, cpus)), np.zeros((lanes, cpus))
    if not policy.targets.looks_for_user_mode:
        for values, name in ((share, "held_share"), (mean_ns, "held_ns")):
            values[:] = cost.get(name, np.zeros(lanes))[:, None]
        return share, mean_ns
    housekeeping, isolated = slice(0, shape.busy - shape.isolated), slice(shape.busy - shape.isolated, shape.busy)
    classes = [(isolated, "isolated_kernel_share", "isolated_entries_per_s")]
    if policy.targets is Targets.OTHER_IN_KERNEL:
        classes.append((housekeeping, "kernel_share", "kernel_entries_per_s"))
    for members, in_kernel, entries_per_s in classes:
        if members.start == members.stop:
            continue
        in_user = 1.0 - cost[in_kernel]
        if not (cost[entries_per_s] > 0.0).all():
            raise ValueError(f"{entries_per_s}=0: must be above 0 with {policy.targets}, or a CPU never comes back")
        share[:, members], mean_ns[:, members] = in_user[:, None], (in_user * 1e9 / cost[entries_per_s])[:, None]
    return share, mean_ns
