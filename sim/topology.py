"""The machine that all lanes of a group have in common: its CPUs, sockets and siblings, and who is busy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.parameters import FLAT_APIC_CPUS

APIC_REACH = {"flat": 4096, "cluster": 16, "physical": 1}  # marked targets that one ICR write reaches
HYPERCALL_REACH = 128  # and one hypercall


@dataclass(frozen=True)
class Shape:
    """What is the same for all lanes of a group."""

    cores: int
    sockets: int
    busy: int  # CPUs 0..busy-1 run the build
    flushers: int  # CPUs 0..flushers-1 make flush events
    threads_per_core: int
    apic: str
    seed: int
    fill: str = "spread"
    operation: str = "exponential"
    delivery: str = "apic"

    @property
    def reach(self) -> int:
        """Marked targets that one ICR write, or hypercall, reaches."""
        if self.delivery == "hypercall":
            return HYPERCALL_REACH
        if self.apic == "auto":
            return APIC_REACH["flat" if self.cores <= FLAT_APIC_CPUS else "cluster"]
        return APIC_REACH[self.apic]

    @property
    def socket(self) -> np.ndarray:
        """The socket of every CPU, in the order in which jobs take CPUs, [cpu]."""
        cpu = np.arange(self.cores)
        if self.fill == "spread":
            return cpu % self.sockets
        cores = self.cores // self.threads_per_core
        return cpu % cores // (cores // self.sockets)

    def targets_with_sibling(self, reachable: int) -> np.ndarray:
        """Of the CPUs 0..reachable-1 that requests can reach, those whose SMT sibling is one of them, [cpu].

        Both are interrupted by one flush event, so their handler runs overlap and slow each other down. The sibling of
        CPU k is `cores / 2` CPUs away.
        """
        cpu, half = np.arange(reachable), self.cores // 2
        return (cpu >= half) | (cpu + half < reachable) if self.threads_per_core == 2 else np.zeros(reachable, bool)

    def mean_slowdown(self, reachable: int, smt_slowdown: np.ndarray) -> np.ndarray:
        """How many times as long handler runs take, the mean over the CPUs that requests can reach, [lane]."""
        share = self.targets_with_sibling(reachable).mean()
        return smt_slowdown * 1.0 if share == 1.0 else 1.0 + share * (smt_slowdown - 1.0)
