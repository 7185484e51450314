"""Broadcasts by interrupts, proved: by hand, by numpy where nobody is in the way, and by a simulation in SimPy."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import distance
from sim import simulate
from sim.lanes import lanes_side_by_side
from sim.machine.compiled.cache import has_compiler
from sim.machine.engines import check_vectorized
from sim.topology import Shape
from tests.conftest import one_request
from tests.test_engines import FLUSHES, POLICIES, by_engine, configuration

INTERRUPTING = {name: policy for name, policy in POLICIES.items() if policy.targets.interrupts} | FLUSHES
LINES = [f"line_{distance}_ns" for distance in ("sibling", "cluster", "socket", "cross")]
CONFIGURATIONS = 12 if has_compiler() else 2  # of each policy


def alone(shape):
    """The same machine where one CPU alone makes flush events, and no sibling is told without the other.

    The approximation slows all handler runs down by the mean, and takes sockets to have as many cores each.
    """
    some = shape.cores < 2 * shape.busy < 2 * shape.cores
    threads = 1 if some or shape.cores // 2 % shape.sockets else shape.threads_per_core
    return replace(shape, senders=1, threads_per_core=threads)


def modelled(policy):
    """Whether numpy's approximation models a policy."""
    try:
        check_vectorized(policy, {})
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", [name for name, policy in INTERRUPTING.items() if modelled(policy)])
def test_where_one_cpu_alone_flushes_numpys_approximation_is_exact(name):
    for number in range(CONFIGURATIONS):
        shape, cost, think_ns, _, alloc = configuration(np.random.default_rng([number, *name.encode()]))
        one_kind = alloc[-1:]  # as numpy reports the event before
        cost |= {"preempted_share": 0.0, "receive_exit_ns": 0.0}
        cost |= dict.fromkeys(LINES, 80.0)  # of which it takes the mean
        metal = replace(alone(shape), delivery="apic")
        lane = (INTERRUPTING[name], metal, cost, think_ns + 1e5, 0.0, one_kind, 0.0)
        vectorized, compiled = (by_engine(engine, *lane) for engine in ("vectorized", "compiled"))
        for metric in ("wait_ns", "wait_p50_ns", "window_ns", "interrupts", "handler_ns", "handler_compute_ns"):
            expected = pytest.approx(vectorized[metric], rel=1e-6, nan_ok=True)
            assert compiled[metric] == expected, (number, metric)
        assert compiled["refills"] == pytest.approx(vectorized["refills"], abs=2.0 * shape.busy / 96), number


def test_by_hand_a_broadcast_to_two_sockets(parameters):
    p = parameters("xeon_8160", cores=4, jobs=1, range_pages={1: 1}, alloc_events=0.0, think_ns=1e9)
    p |= {"idle_exit_ns": 0.0, "threads_per_core": 1, "window_events": 64, "engine": "compiled"}
    wait = simulate(policy="xpfo", **p)["flush_wait_ns"]
    local = p["flush_fixed_ns"] + p["invlpg_ns"]
    near, far = one_request(p), one_request(p, "line_cross_ns")
    sent = p["kunmap_bookkeeping_ns"] + p["mask_scan_ns"] + 2 * far.enqueue + near.enqueue + p["ipi_send_ns"]
    done = sent + p["ipi_latency_cross_ns"] + p["irq_entry_ns"] + far.take + far.handle + local
    # CPU 0 waits for CPU 1 (far), by when CPU 2 (near) and CPU 3 (far) are done too
    assert wait == pytest.approx(done + 2 * far.ack + near.ack + local, rel=1e-6)


def test_a_rider_waits_for_the_interrupt_of_whoever_found_the_queue_empty(parameters):
    """Two senders and one idle target: the second joins the first one's request, and sends no interrupt."""
    p = parameters("xeon_8160", cores=3, sockets=1, threads_per_core=1, jobs=2, alloc_events=0.0, think_ns=0.0)
    p |= {"range_pages": {1: 1}, "window_events": 640, "warmup_events": 64, "engine": "compiled"}
    found = simulate(policy="xpfo", **p)
    assert 1.0 < found["interrupts_per_flush"][0, 0] < 2.0  # of two targets
    apart = simulate(policy="xpfo", **p | {"think_ns": 1e7})
    assert apart["interrupts_per_flush"][0, 0] == pytest.approx(2.0, abs=0.01)
    assert found["flush_wait_ns"][0, 0] > apart["flush_wait_ns"][0, 0]


def test_a_mutex_lets_one_flush_event_at_a_time_through():
    flush = FLUSHES["own_under_a_mutex"]
    shape, cost, _, kunmap, alloc = configuration(np.random.default_rng(5))
    shape = Shape(8, 1, 8, 8, 1, "auto", 0)
    cost = cost | {"smt_slowdown": 1.0}
    free, held = (
        by_engine("compiled", each, shape, cost, 100.0, kunmap, alloc, 0.0) for each in (INTERRUPTING["xpfo"], flush)
    )
    assert (held["wait_ns"] > 1.5 * free["wait_ns"]).all()
    # One after the other: time between events is at least what one takes from its first request to its own flush.
    least = cost["mask_scan_ns"] + 7 * one_request(cost).enqueue + cost["ipi_send_ns"] + cost["ipi_latency_ns"]
    assert (held["interval_ns"] > least).all()


@pytest.mark.parametrize(("machine", "cores", "jobs", "think_ns"), [
    ("xeon_8160", 8, 6, 9000.0), ("i5_3550", 4, 4, 2000.0), ("xeon_8160", 24, 24, 3000.0), ("xeon_8160", 16, 9, 500.0),
])  # fmt: skip
def test_simpy_gives_the_same_numbers(machine, cores, jobs, think_ns):
    usual = pytest.importorskip("benchmarks.usual", exc_type=ImportError)
    p = distance.known(machine) | {"cores": cores, "jobs": jobs, "think_ns": think_ns, "ceiling": 1}
    alloc_share = p["alloc_events"] / (p["kunmap_events"] + p["alloc_events"])
    controls = {"window_events": 512, "warmup_events": 16 * cores, "engine": "compiled"}
    expected = simulate(policy="xpfo", **p | controls)
    found = usual.broadcast(
        p, think_ns=think_ns, alloc_share=alloc_share, draw=usual.draws(0), events=512, warmup_events=16 * cores
    )
    # A flush event counts once its acks are read here, and once its own flush is over there.
    for metric, off in (("flush_wait_ns", 1e-3), ("flush_interval_ns", 1e-3), ("interrupts_per_flush", 1e-2)):
        assert found[metric] == pytest.approx(expected[metric][0, 0], rel=off), metric


def test_lanes_remember_no_more_requests_than_fit_the_memory():
    for cores in (4, 96, 1024, 4096):
        assert 1 <= lanes_side_by_side(cores, True) <= max(1, 2**24 // cores**2)
