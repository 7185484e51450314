"""Vectorization, proved: the scalar twin gives the engine's numbers from the same draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim import engine, policies, simulate
from sim.abi import ALL_PAGES, Done, Events, Flush, Own, Run, Targets
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.vectorized.broadcast import Broadcast
from sim.machine.vectorized.server import Server
from sim.metrics import Price
from sim.policies import policy_module
from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir
from tests import twin

MACHINES = catalog([conf_dir()])["machine"]
ONLINE, BUSY = Targets.OTHER_ONLINE, Targets.OTHER_BUSY
POLICIES = {path.stem: policy_module(path.stem) for path in sorted(Path(policies.__path__[0]).glob("[a-z]*.py"))}
FLUSHES = {  # what no policy says alone
    "no_own": Flush(tell=BUSY, own=Own.NEVER),
    "own_before": Flush(tell=BUSY, own=Own.BEFORE),
    "nothing_flushed": Flush(tell=BUSY, own=Own.NEVER, run=Run.NOTHING),
    "under_a_mutex": Flush(tell=BUSY, own=Own.NEVER, run=Run.NOTHING, mutex=True),
    "own_under_a_mutex": Flush(tell=ONLINE, own=Own.AFTER_ACKS, mutex=True),
    "all_at_once": Flush(tell=BUSY, own=Own.AFTER_SENDS, done=Done.RUN_BEGUN, run=Run.FIRST_FULLY),
}
CONFIGURATIONS = 16  # of each policy


def configuration(rng):
    """A random machine and workload: 1 to 256 CPUs, 1 to 4 sockets, light load to saturation."""
    quantities = MACHINES[rng.choice(["xeon_8160", "i5_3550"])].quantities
    cost = {
        name: float(rng.uniform(q.low, q.high))
        for name, q in quantities.items()
        if q.low is not None and (name.endswith("_ns") or name in ("smt_slowdown", "refill_system_share"))
    }
    cost |= {"broadcast_ns": 600.0, "broadcast_page_ns": float(rng.uniform(0, 500)), "broadcast_all_ns": 1500.0}
    cost["ceiling"] = float(rng.choice([0, 1, 8, 33, 511, 600]))
    sockets = int(rng.integers(1, 5))
    cores = sockets * round(np.exp(rng.uniform(0, np.log(256 // sockets))))
    jobs = int(rng.choice([1, rng.integers(1, cores + 1), cores, 2 * cores]))
    busy = min(jobs, cores)
    flushers = busy if rng.random() < 0.7 else int(rng.integers(1, busy + 1))
    apic = str(rng.choice(["auto", "cluster", "physical"] + ["flat"] * (cores <= 8)))
    threads = 2 if cores % 2 == 0 and rng.random() < 0.5 else 1
    shape = Shape(cores, sockets, busy, flushers, threads, apic, int(rng.integers(1000)))
    cost["kernel_entries_per_s"] = float(np.exp(rng.uniform(np.log(1e3), np.log(1e6))))
    pages = sorted(rng.choice([1, 2, 4, 8, 33, 34, 512], size=rng.integers(1, 5), replace=False).tolist())
    pages += [ALL_PAGES] if rng.random() < 0.2 else []
    alloc = [(int(p), float(rng.uniform(1e6, 2e8))) for p in pages]
    think_ns = float(np.exp(rng.uniform(np.log(200), np.log(1e7))))
    return shape, cost, think_ns, float(rng.choice([0.0, 1e8, 4e8])), alloc


def by_engine(flush, shape, cost, think_ns, kunmap, alloc, replica, warmup, window, entries):
    columns = {name: np.array([value]) for name, value in cost.items()} | {"think_ns": np.array([think_ns])}
    events = Events(np.array([kunmap]), tuple(p for p, _ in alloc), np.array([[count] for _, count in alloc]))
    source = FlushEvents(shape, columns, events, flush, np.array([replica]))
    if flush.tell in (ONLINE, BUSY):
        machine = Broadcast(shape, columns, flush, source, 1)
    else:
        machine = Server(shape, columns, flush, source, 1, np.array([replica]) if entries else None)
    zero = np.zeros(1)
    return engine.run(machine, Price(zero, zero, zero, zero), warmup, window, zero)


@pytest.mark.parametrize("name", [*POLICIES, *FLUSHES])
def test_the_twin_gives_the_engines_numbers(name):
    flush = FLUSHES[name] if name in FLUSHES else POLICIES[name].flush()
    entries = hasattr(POLICIES.get(name), "kernel_entry")
    for number in range(CONFIGURATIONS):
        rng = np.random.default_rng([number, *name.encode()])
        shape, cost, think_ns, kunmap, alloc = configuration(rng)
        replica, warmup, window = int(rng.integers(5)), int(rng.choice([0, 64])), 192
        found = by_engine(flush, shape, cost, think_ns, kunmap, alloc, replica, warmup, window, entries)
        expected = twin.lane(
            flush, cost=cost, cores=shape.cores, sockets=shape.sockets, threads_per_core=shape.threads_per_core,
            busy=shape.busy, flushers=shape.flushers, apic=shape.apic, think_ns=think_ns, kunmap_events=kunmap,
            alloc=alloc, seed=shape.seed, replica=replica, warmup=warmup, window=window, entries=entries,
        )  # fmt: skip
        assert found["events"][0] == window
        for metric, value in expected.items():
            assert found[metric][0] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), (number, shape, metric)


@pytest.mark.parametrize("accounting", ["tick", "irq_time"])
@pytest.mark.parametrize("name", ["xpfo", "xpfo_concurrent", "xpfo_deferred_per_task"])
def test_system_time_is_the_models_formula_over_the_twins_numbers(name, accounting, parameters):
    p = parameters("i5_3550", jobs=4, accounting=accounting, range_pages={1: 3, 64: 1}, think_ns=3000.0)
    p |= {"window_events": 640, "warmup_events": 64, "replicas": 1}
    found = simulate(policy=name, **p)
    alloc = [(1, 0.75 * p["alloc_events"]), (64, 0.25 * p["alloc_events"])]
    lane = twin.lane(
        POLICIES[name].flush(), cost=p, cores=4, sockets=1, threads_per_core=1, busy=4, flushers=4, apic="auto",
        think_ns=3000.0, kunmap_events=p["kunmap_events"], alloc=alloc, seed=0, replica=0, warmup=64, window=640,
    )  # fmt: skip
    events = p["kunmap_events"] + p["alloc_events"]
    system_ns = lane["wait_ns"] + p["refill_system_share"] * p["refill_ns"] * lane["refills"]
    if accounting == "tick":
        system_ns += lane["handler_compute_ns"] * p["base_system_s"] / (p["user_s"] + p["base_system_s"])
    else:
        system_ns -= lane["handler_ns"] - lane["handler_compute_ns"]
    system_s = p["base_system_s"] + events * system_ns * 1e-9
    noticed = (
        found["switch_s"]
        + found["refill_s"]
        - events * p["refill_system_share"] * p["refill_ns"] * (lane["refills"] * 1e-9)
    )  # where tasks migrate, on the slow scale
    assert found["system_time_s"] - noticed == pytest.approx(system_s, rel=1e-9)
    assert (noticed > 1e-6).all() == (name == "xpfo_deferred_per_task")
    stretch = 4 * lane["interval_ns"] / 3000.0
    elapsed = (p["user_s"] + p["base_system_s"]) * (p["serial_share"] + (1 - p["serial_share"]) / 4)
    assert found["wall_time_s"] == pytest.approx(elapsed * stretch, rel=1e-9)
    assert found["flush_wait_p99_ns"] == pytest.approx(lane["wait_p99_ns"], rel=1e-9)
