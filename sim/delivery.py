"""What interrupts cost where sender and target are vCPUs of a guest.

C:   arch/x86/kvm/lapic.c  kvm_pv_send_ipi(), kvm_apic_send_ipi(); arch/x86/kernel/kvm.c  __send_ipi_mask()
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.topology import Shape


def add_delivery(shape: Shape, cost: Mapping[str, np.ndarray], lanes: int) -> dict[str, np.ndarray]:
    """The costs of a broadcast by interrupts, [lane], those of the hypervisor added to what they lengthen.

    An ICR write, or hypercall, is longer by an exit, and its targets are reached `deliver_ns` after one another; to
    wake one that has left for the hypervisor takes `wake_send_ns` instead. A run is entered later by what taking the
    interrupt costs. An idle target that has left wakes up in `wake_ns` in place of `idle_exit_ns`; where that is 0, it
    has not left. On bare metal none of this counts, but that a CPU which computes may have to leave its guest.
    """
    guest, nothing = shape.delivery != "apic", np.zeros(lanes)
    receive = cost.get("receive_exit_ns", nothing)
    exits, deliver, wake = (
        cost.get(name, nothing) if guest else nothing for name in ("exit_ns", "deliver_ns", "wake_ns")
    )
    wake_send = cost.get("wake_send_ns", np.full(lanes, np.nan))
    left = (wake > 0.0) & ~np.isnan(wake_send)
    return {
        **cost,
        "ipi_send_ns": cost["ipi_send_ns"] + exits,
        "deliver_ns": deliver,
        "wake_send_ns": np.where(left, wake_send, deliver),
        "irq_entry_ns": cost["irq_entry_ns"] + (receive if guest else nothing),
        "leave_guest_ns": nothing if guest else receive,
        "idle_exit_ns": np.where(wake > 0.0, wake, cost["idle_exit_ns"]),
    }
