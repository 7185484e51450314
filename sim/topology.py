"""The machine that all lanes of a group have in common: its CPUs, sockets, siblings and busy CPUs."""

from dataclasses import dataclass

import numpy as np

from sim.parameters import FLAT_APIC_CPUS

APIC_REACH = {"flat": 4096, "cluster": 16, "physical": 1}  # marked targets that one ICR write reaches
HYPERCALL_REACH = 128  # marked targets that one hypercall reaches


@dataclass(frozen=True)
class Shape:
    """Parameters that are the same for all lanes of a group."""

    cores: int
    sockets: int
    busy: int  # CPUs 0..busy-1 run the build
    senders: int  # CPUs 0..senders-1 make flush events
    threads_per_core: int
    apic: str
    seed: int
    fill: str = "spread"
    operation: str = "exponential"
    delivery: str = "apic"
    cluster_cores: int | None = None  # cores that share a last-level cache; None: all of a socket
    isolated: int = 0  # CPUs busy-isolated..busy-1 are isolated
    lock_per: str = "machine"
    lock_irqs: str = "off"

    @property
    def reach(self) -> int:
        """Marked targets that one ICR write, or hypercall, reaches."""
        if self.delivery == "hypercall":
            return HYPERCALL_REACH
        if self.apic == "auto":
            return APIC_REACH["flat" if self.cores <= FLAT_APIC_CPUS else "cluster"]
        return APIC_REACH[self.apic]

    @property
    def cores_a_socket(self) -> int:
        """Physical cores of each socket; the last one may have fewer."""
        return -(-self.cores // (self.threads_per_core * self.sockets))

    @property
    def core(self) -> np.ndarray:
        """The core of every CPU, in the order in which jobs take CPUs: siblings come last, [cpu]."""
        return np.arange(self.cores) % (self.cores // self.threads_per_core)

    @property
    def socket(self) -> np.ndarray:
        """The socket of every CPU, [cpu]."""
        return self.core % self.sockets if self.fill == "spread" else self.core // self.cores_a_socket

    @property
    def cluster(self) -> np.ndarray:
        """The cluster of every CPU, numbered over all sockets; jobs go to the clusters of a socket in turn, [cpu]."""
        size = min(self.cluster_cores or self.cores_a_socket, self.cores_a_socket)
        clusters = -(-self.cores_a_socket // size)
        place = self.core // self.sockets if self.fill == "spread" else self.core % self.cores_a_socket
        return self.socket * clusters + (place % clusters if self.fill == "spread" else place // size)

    def with_sibling(self, awake: int) -> np.ndarray:
        """Whether each of the CPUs 0..awake-1 has a sibling among them, [cpu]."""
        core = self.core[:awake]
        return np.bincount(core)[core] > 1

    def mean_slowdown(self, awake: int, smt_slowdown: np.ndarray, among: int | None = None) -> np.ndarray:
        """The factor by which work takes longer if CPUs 0..awake-1 are not idle, [lane].

        It is the mean over CPUs 0..among-1, or over all that are not idle.
        """
        share = self.with_sibling(awake)[:among].mean()
        return smt_slowdown * 1.0 if share == 1.0 else 1.0 + share * (smt_slowdown - 1.0)
