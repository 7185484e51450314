"""Which machine simulates a group of lanes: by its rule, and by the engine that it runs on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sim.abi import Done, Flush
from sim.events import FlushEvents
from sim.group import Shape
from sim.guest import price_delivery
from sim.machine.compiled.cache import has_compiler
from sim.metrics import Machine

ENGINES = ("auto", "compiled", "vectorized")


def check_engine(engine: str, rule: str, interrupts: bool) -> str:
    """The engine that simulates a rule: compiled or vectorized. ValueError where there is none."""
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r}: must be one of {', '.join(ENGINES)}")
    if rule == "exact" and interrupts:
        if engine == "vectorized":
            raise ValueError("engine=vectorized: does not simulate rule=exact; give engine=compiled, or rule=coarse")
        if engine == "auto" and not has_compiler():
            raise ValueError("rule=exact: takes too long without compiled loops; install numba, or give rule=coarse")
        return "compiled"
    if engine == "auto":
        return "compiled" if has_compiler() else "vectorized"
    return engine


def build_machine(
    engine: str, rule: str, shape: Shape, cost: Mapping[str, np.ndarray], flush: Flush, events: FlushEvents, lanes: int
) -> Machine:
    """A machine that simulates lanes; `cost` holds the parameters that the policy reads, each [lane].

    An engine is imported when it is asked for: numba takes half a second.
    """
    interrupts = flush.tell.interrupts
    if shape.fill == "sockets" and shape.sockets > 1 and not (interrupts and rule == "exact"):
        raise ValueError(
            "fill=sockets: is modelled for broadcasts by interrupts under rule=exact alone; give fill=spread"
        )
    if interrupts:
        cost = price_delivery(shape, cost, lanes)
        if flush.done is Done.SENT:
            cost = price_slots(cost)
    if check_engine(engine, rule, interrupts) == "vectorized":
        from sim.machine.vectorized.broadcast import Broadcast
        from sim.machine.vectorized.lines import Lines
        from sim.machine.vectorized.server import Server

        if flush.reads_line:
            return Lines(shape, cost, flush, events, lanes)
        return (Broadcast if interrupts else Server)(shape, cost, flush, events, lanes)
    if flush.reads_line:
        from sim.machine.compiled.lines import lines

        return lines(shape, cost, flush, events, lanes)
    if not interrupts:
        from sim.machine.compiled.server import server

        return server(shape, cost, flush, events, lanes)
    if rule == "exact":
        from sim.machine.compiled.exact import exact

        return exact(shape, cost, flush, events, lanes)
    from sim.machine.compiled.broadcast import broadcast

    return broadcast(shape, cost, flush, events, lanes)


def price_slots(cost: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """No ack is read where nobody waits; what the coarse rule asks in their place is when the next requests can follow.

    As an ack follows when its request is done, the next request to that target does: csd_lock() has got its slot.
    """
    return {**cost, "ack_ns": cost["enqueue_ns"], "ack_cross_ns": cost["enqueue_ns"]}
