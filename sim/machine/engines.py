"""The choice of the machine that simulates a group of lanes, by policy and engine."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sim.counts import Machine
from sim.events import FlushEvents
from sim.machine.compiled.cache import has_compiler
from sim.parameters import PARAMETERS, Kind
from sim.policy import Done, Policy, Run
from sim.reading import reads
from sim.topology import Shape

ENGINES = ("auto", "compiled", "vectorized")
MOST_SECTIONS = 1000  # most lock sections before a flush event, for minutes of simulation per window
REMEDY = "give engine=compiled, which simulates every request"


def choose_engine(engine: str) -> str:
    """The given engine, with `auto` resolved; ValueError for an unknown engine."""
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r}: must be one of {', '.join(ENGINES)}")
    return ("compiled" if has_compiler() else "vectorized") if engine == "auto" else engine


def build_machine(
    engine: str, shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, events: FlushEvents
) -> Machine:
    """A machine that simulates lanes; `cost` has the parameters that the policy reads, each [lane].

    Engines are imported on demand, since numba takes half a second.
    """
    engine, interrupts = choose_engine(engine), policy.targets.interrupts
    locks = has_locks(cost)
    if engine == "vectorized":
        from sim.machine.vectorized.broadcast import Broadcast
        from sim.machine.vectorized.coherence import Coherence
        from sim.machine.vectorized.server import Server

        point = {name: values.max() for name, values in cost.items()} | {"delivery": shape.delivery, "fill": shape.fill}
        check_vectorized(policy, point)
        return (Broadcast if interrupts else Coherence if policy.reads_line else Server)(shape, cost, policy, events)
    if interrupts or locks:
        from sim.machine.compiled.broadcast import broadcast

        cost = _add_delivery(shape, cost, len(events.replica_row)) if interrupts else cost
        return broadcast(shape, cost, policy, events, locks)
    from sim.machine.compiled.server import server

    return server(shape, cost, policy, events)


def _add_delivery(shape: Shape, cost: Mapping[str, np.ndarray], lanes: int) -> dict[str, np.ndarray]:
    """The costs of a broadcast by interrupts, [lane], with those of the hypervisor added.

    An ICR write or hypercall takes an exit longer, and its targets are reached `deliver_ns` apart, or `wake_send_ns`
    apart if they have left for the hypervisor. The entry of a handler run takes `receive_exit_ns` longer. An idle
    target that has left wakes up in `wake_ns` instead of `idle_exit_ns`; if `wake_ns` is 0, none has left. On bare
    metal the only such cost is that a computing CPU leaves its guest.
    C: arch/x86/kvm/lapic.c  kvm_pv_send_ipi(), kvm_apic_send_ipi(); arch/x86/kernel/kvm.c  __send_ipi_mask()
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


def has_locks(cost: Mapping[str, np.ndarray]) -> bool:
    """Whether operations take locks in some lane."""
    return "locks_per_operation" in cost and bool((cost["locks_per_operation"] > 0.0).any())


def check_locks(policy: Policy, locks_per_operation: float, events_per_operation: float) -> None:
    """ValueError if no engine models these locks with the flush events of the policy."""
    if locks_per_operation > MOST_SECTIONS * events_per_operation:
        raise ValueError(
            f"locks_per_operation={locks_per_operation:g}: must be at most {MOST_SECTIONS} for each flush event, but "
            f"events_per_operation={events_per_operation:g}"
        )
    if not policy.targets.interrupts:
        raise ValueError(
            f"locks_per_operation: no engine models locks beside {policy.targets}: must be 0, or give a policy that "
            "interrupts"
        )


def check_vectorized(policy: Policy, point: Mapping[str, Any]) -> None:
    """ValueError if the numpy engine does not model the policy or the point; `point` has parameters by name."""
    interrupts = policy.targets.interrupts
    unequal = point.get("cores", 1) // point.get("threads_per_core", 1) % point.get("sockets", 1) != 0
    wrong = [
        (interrupts and (policy.run.catches_up or policy.run is Run.NOTHING), f"Run.{policy.run.name}"),
        (policy.targets.looks_for_user_mode, str(policy.targets)),
        (policy.done is Done.SENT, "a sender that does not wait"),
        (policy.mutex, "a mutex"),
        (interrupts and point.get("delivery", "apic") != "apic", f"delivery={point.get('delivery')}"),
        (interrupts and point.get("fill", "spread") != "spread", f"fill={point.get('fill')}"),
        (interrupts and unequal, "sockets of unequal size"),
    ]
    for name in reads(policy, Kind.LOOP):
        parameter = PARAMETERS[name]
        wrong.append((parameter.compiled and point.get(name, parameter.default) > parameter.default, f"{name} above 0"))
    for it_is, what in wrong:
        if it_is:
            raise ValueError(f"engine=vectorized: does not model {what}; {REMEDY}")
