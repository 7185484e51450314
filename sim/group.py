"""What all lanes of a group have in common."""

from __future__ import annotations

from dataclasses import dataclass

from sim.parameters import FLAT_APIC_CPUS

APIC_REACH = {"flat": 4096, "cluster": 16, "physical": 1}  # marked targets that one ICR write reaches


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

    @property
    def reach(self) -> int:
        """Marked targets that one ICR write reaches."""
        if self.apic == "auto":
            return APIC_REACH["flat" if self.cores <= FLAT_APIC_CPUS else "cluster"]
        return APIC_REACH[self.apic]
