"""What interrupts cost where sender and target are vCPUs of a guest.

C:   arch/x86/kvm/lapic.c  kvm_pv_send_ipi(), kvm_apic_send_ipi(); arch/x86/kernel/kvm.c  __send_ipi_mask()
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.topology import Shape

GUEST_COSTS = ("exit_ns", "deliver_ns", "receive_exit_ns", "wake_ns")  # that count where interrupts leave the guest


def add_delivery(shape: Shape, cost: Mapping[str, np.ndarray], lanes: int) -> dict[str, np.ndarray]:
    """The costs of a broadcast by interrupts, [lane], those of the hypervisor added to what they lengthen.

    An ICR write, or hypercall, is longer by an exit, and its targets are reached `deliver_ns` after one another. A run
    is entered later by what taking the interrupt costs. An idle target that has left for the hypervisor wakes up in
    `wake_ns` in place of `idle_exit_ns`; where that is 0, it has not left. On bare metal none of this counts.
    """
    guest = shape.delivery != "apic"
    nothing = np.zeros(lanes)
    exits, deliver, receive, wake = (cost.get(name, nothing) if guest else nothing for name in GUEST_COSTS)
    return {
        **cost,
        "ipi_send_ns": cost["ipi_send_ns"] + exits,
        "deliver_ns": deliver,
        "irq_entry_ns": cost["irq_entry_ns"] + receive,
        "idle_exit_ns": np.where(wake > 0.0, wake, cost["idle_exit_ns"]),
    }
