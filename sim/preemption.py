"""CPUs that cannot take an interrupt when it arrives; the delay is drawn for each interrupt.

Interrupts are off on such a CPU, firmware runs on it, or it is a preempted vCPU. Its compute is not delayed meanwhile:
the model delays only the interrupt.

If the policy marks preempted vCPUs pending, a vCPU stays preempted during the next flush events too. `preempted_share`
is then a share of time: a vCPU that ran `since_ns` ago is preempted with probability
`preempted_share * (1 - exp(-since_ns / forget_ns))`, where `forget_ns` is `preempted_ns * (1 - preempted_share)`, as in
a process that changes between two states at constant rates. The remaining time is exponential, however long the vCPU
has been preempted.

If the policy marks CPUs in user mode pending, such a CPU is treated in the same way, until its next kernel entry.
"""

from collections.abc import Mapping

import numpy as np

from sim.draws import BY_INTERRUPT, Draws
from sim.policy import Policy, Targets
from sim.topology import Shape


class Preemption:
    """Draws for the m-th interrupt to CPU k: a uniform for whether the CPU can take it, and an exponential delay."""

    def __init__(
        self, shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, replicas: np.ndarray, lanes: int
    ) -> None:
        """`replicas` has the replicas of the lanes, without repetition."""
        preempted = bool((cost.get("preempted_share", np.zeros(lanes)) > 0.0).any())
        if policy.targets.looks_for_user_mode and preempted:
            raise ValueError(f"preempted_share: no engine models preempted vCPUs beside {policy.targets}: must be 0")
        self.any = policy.targets.interrupts and (preempted or policy.targets.looks_for_user_mode)
        reachable = shape.busy if policy.targets is Targets.OTHER_BUSY else shape.cores
        self.cpus = reachable if self.any else 0  # CPUs with draws
        self.draws = Draws(shape.seed, replicas, self.cpus, BY_INTERRUPT)
        self.draws.reserve(shape.senders if self.any else 0)  # each sender may have an interrupt on its way


def away(
    shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, lanes: int, cpus: int
) -> tuple[np.ndarray, np.ndarray]:
    """The share of time for which CPUs 0..cpus-1 are away, and the mean length in ns, both [lane, cpu].

    A CPU is away when it is preempted, or in user mode if the policy marks such CPUs. An idle CPU is in the kernel.
    """
    share, mean_ns = np.zeros((lanes, cpus)), np.zeros((lanes, cpus))
    if not policy.targets.looks_for_user_mode:
        for values, name in ((share, "preempted_share"), (mean_ns, "preempted_ns")):
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
            raise ValueError(f"{entries_per_s}=0: must be above 0 with {policy.targets}, or marks never end")
        share[:, members], mean_ns[:, members] = in_user[:, None], (in_user * 1e9 / cost[entries_per_s])[:, None]
    return share, mean_ns
