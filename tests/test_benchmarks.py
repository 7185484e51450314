"""What the benchmarks compare with gives the engines' numbers."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import c
from sim.events import FlushEvents
from sim.machine.compiled.cache import has_compiler
from sim.machine.engines import build_machine
from sim.policies import Policies
from sim.policy import Events
from tests.test_engines import configuration, with_ties

SETS = 24 if has_compiler() else 2  # of parameters; plain Python is slow
EVENTS = (40, 64)  # of a call


XPFO = Policies()["xpfo"]


def both(number):
    """Waits, windows and counts of the engine and of the program in C, by name."""
    rng = np.random.default_rng([number, 7])
    shape, cost, think_ns, kunmap, alloc = configuration(rng)
    cost, think_ns = with_ties(rng, number, cost, think_ns, False)
    shape = replace(shape, delivery="apic")  # C: bare metal
    cost |= {"preempted_share": 0.0, "receive_exit_ns": 0.0}
    replicas, ones = np.array([0, 3, 1]), np.ones(3)
    columns = {name: value * ones for name, value in cost.items()} | {"think_ns": think_ns * ones}
    events = Events(kunmap * ones, tuple(p for p, _ in alloc), np.array([count * ones for _, count in alloc]))
    sources = [FlushEvents(shape, columns, events, XPFO, replicas) for _ in range(2)]
    for machine in (
        build_machine("compiled", shape, columns, XPFO, sources[0]),
        c.Machine(shape, columns, sources[1]),
    ):
        found = {}
        for rows in EVENTS:
            waits, windows = np.empty((rows, 3), order="F"), np.empty((rows, 3), order="F")
            machine.reset()
            machine.serve(waits, windows)
            found |= {f"waits, {rows}": waits, f"windows, {rows}": windows}
            found |= {f"{name}, {rows}": machine.counts[name].copy() for name in c.COUNTS}
        yield found


@pytest.mark.skipif(not c.has_gcc(), reason="gcc is not installed")
@pytest.mark.parametrize("number", range(SETS))
def test_broadcasts_in_c_give_the_numbers_of_the_engine(number):
    engine, in_c = both(number)
    for name, values in engine.items():
        assert in_c[name] == pytest.approx(values, rel=1e-9, abs=1e-6, nan_ok=True), name
