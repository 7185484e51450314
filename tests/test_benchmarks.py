"""What the engine is measured against says the same as the engine and the fine simulation."""

from __future__ import annotations

import numpy as np
import pytest

from sim.abi import Events
from tests import distance
from tests.test_twin import CONFIGURATIONS, POLICIES, by_engine, configuration


def test_the_compiled_loop_gives_the_engines_numbers():
    compiled = pytest.importorskip("benchmarks.compiled", exc_type=ImportError)
    for number in range(CONFIGURATIONS):
        shape, cost, think_ns, kunmap, alloc = configuration(np.random.default_rng(number))
        found = by_engine(POLICIES["xpfo"].flush(), shape, cost, think_ns, kunmap, alloc, 1, 64, 192, False)
        columns = {name: np.array([value]) for name, value in cost.items()} | {"think_ns": np.array([think_ns])}
        events = Events(np.array([kunmap]), tuple(p for p, _ in alloc), np.array([[count] for _, count in alloc]))
        machine = compiled.Machine(shape, columns, events, np.array([1]), 64 + 192 + 1)
        machine.advance(64)
        for metric, value in machine.advance(192).items():
            if metric != "window_ns" or shape.busy > 1:
                assert value[0] == pytest.approx(found[metric][0], rel=1e-9), (number, shape, metric)


@pytest.mark.parametrize("machine", ["xeon_8160", "i5_3550"])
def test_simpy_gives_the_fine_simulations_numbers(machine, monkeypatch):
    usual = pytest.importorskip("benchmarks.usual", exc_type=ImportError)
    monkeypatch.setattr(distance, "WINDOW", 64)
    p = distance.known(machine) | {"cores": 8, "jobs": 6, "think_ns": 9000.0, "ceiling": 1}
    truth = distance.by_fine(p)
    alloc_share = p["alloc_events"] / (p["kunmap_events"] + p["alloc_events"])
    found = usual.broadcast(
        p, think_ns=9000.0, alloc_share=alloc_share, draw=distance.draws(0), events=64, warmup_events=16 * 8
    )
    for metric, value in found.items():
        assert value == pytest.approx(truth[metric], rel=1e-9), metric
