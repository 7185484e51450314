"""Which machine simulates a group of lanes: by its policy, and by the engine that it runs on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.counts import Machine
from sim.delivery import add_delivery
from sim.events import FlushEvents
from sim.machine.compiled.cache import has_compiler
from sim.policy import Done, Policy, Run
from sim.topology import Shape

ENGINES = ("auto", "compiled", "vectorized")
REMEDY = "give engine=compiled, which simulates every request"


def choose_engine(engine: str) -> str:
    """The engine that `auto` stands for here, or the one that is asked for; ValueError where there is no such one."""
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r}: must be one of {', '.join(ENGINES)}")
    return ("compiled" if has_compiler() else "vectorized") if engine == "auto" else engine


def build_machine(
    engine: str, shape: Shape, cost: Mapping[str, np.ndarray], policy: Policy, events: FlushEvents
) -> Machine:
    """A machine that simulates lanes; `cost` holds the parameters that the policy reads, each [lane].

    An engine is imported when it is asked for: numba takes half a second.
    """
    engine, interrupts = choose_engine(engine), policy.targets.interrupts
    if engine == "vectorized":
        from sim.machine.vectorized.broadcast import Broadcast
        from sim.machine.vectorized.coherence import Coherence
        from sim.machine.vectorized.server import Server

        if interrupts:
            unequal = shape.cores // shape.threads_per_core % shape.sockets != 0
            check_vectorized(policy, shape.delivery, shape.fill, events.preemption.any, unequal)
        return (Broadcast if interrupts else Coherence if policy.reads_line else Server)(shape, cost, policy, events)
    if policy.reads_line:
        from sim.machine.compiled.coherence import coherence

        return coherence(shape, cost, policy, events)
    if interrupts:
        from sim.machine.compiled.broadcast import broadcast

        return broadcast(shape, add_delivery(shape, cost, len(events.replica_row)), policy, events)
    from sim.machine.compiled.server import server

    return server(shape, cost, policy, events)


def check_vectorized(policy: Policy, delivery: str, fill: str, preempts: bool, unequal: bool) -> None:
    """ValueError where numpy's approximation of a broadcast by interrupts does not model what is asked for."""
    for wrong, what in (
        (policy.run.catches_up or policy.run is Run.NOTHING, f"Run.{policy.run.name}"),
        (policy.done is Done.SENT, "a sender that does not wait"),
        (policy.mutex, "a mutex"),
        (delivery != "apic", f"delivery={delivery}"),
        (fill != "spread", f"fill={fill}"),
        (preempts, "held_share above 0"),
        (unequal, "sockets of unequal size"),
    ):
        if wrong:
            raise ValueError(f"engine=vectorized: does not model {what}; {REMEDY}")
