"""The costs of interrupts between vCPUs of a guest.

C:   arch/x86/kvm/lapic.c  kvm_pv_send_ipi(), kvm_apic_send_ipi(); arch/x86/kernel/kvm.c  __send_ipi_mask()
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.topology import Shape


def add_delivery(shape: Shape, cost: Mapping[str, np.ndarray], lanes: int) -> dict[str, np.ndarray]:
    """The costs of a broadcast by interrupts, [lane], with those of the hypervisor added.

    An ICR write or hypercall takes an exit longer, and its targets are reached `deliver_ns` apart, or `wake_send_ns`
    apart if they have left for the hypervisor. The entry of a handler run takes `receive_exit_ns` longer. An idle
    target that has left wakes up in `wake_ns` instead of `idle_exit_ns`; if `wake_ns` is 0, none has left. On bare
    metal the only such cost is that a computing CPU leaves its guest.
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
