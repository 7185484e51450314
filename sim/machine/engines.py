"""Which machine simulates a group of lanes: by its rule, and by the engine that it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec

import numpy as np

from sim.abi import Flush
from sim.engine import Machine
from sim.events import FlushEvents
from sim.group import Shape

ENGINES = ("auto", "compiled", "vectorized")
INSTALL = "install numba, or ask for rule=coarse"


@cache
def has_compiler() -> bool:
    """Whether numba is there; it is not imported."""
    return find_spec("numba") is not None


def check_engine(engine: str, rule: str, interrupts: bool) -> str:
    """The engine that simulates a rule: compiled or vectorized. ValueError where there is none."""
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r}: must be one of {', '.join(ENGINES)}")
    if rule == "exact" and interrupts:
        if engine == "vectorized":
            raise ValueError("rule=exact: engine=vectorized does not simulate it; give engine=compiled, or rule=coarse")
        if engine == "auto" and not has_compiler():
            raise ValueError(f"rule=exact: one event per request takes too long without compiled loops: {INSTALL}")
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
    if check_engine(engine, rule, interrupts) == "vectorized":
        from sim.machine.vectorized.broadcast import Broadcast
        from sim.machine.vectorized.server import Server

        return (Broadcast if interrupts else Server)(shape, cost, flush, events, lanes)
    if not interrupts:
        from sim.machine.compiled.server import server

        return server(shape, cost, flush, events, lanes)
    if rule == "exact":
        from sim.machine.compiled.exact import exact

        return exact(shape, cost, flush, events, lanes)
    from sim.machine.compiled.broadcast import broadcast

    return broadcast(shape, cost, flush, events, lanes)
