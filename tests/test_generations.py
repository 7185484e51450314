"""Generations of an address space, and siblings that slow each other down: laws by reasoning."""

import numpy as np
import pytest

from sim import METRICS, simulate
from sim.policy import Local, Policy, Run, Targets
from sim.topology import Shape
from tests.test_engines import by_engine, configuration

LINES = [f"line_{distance}_ns" for distance in ("hit", "sibling", "cluster", "socket", "cross")]
OWNS = {"before": Local.FIRST, "after_sends": Local.AFTER_SENDS, "after_acks": Local.AFTER_ACKS, "never": Local.NEVER}


def flushes(own):
    """The same flush event with generations and without."""
    return [Policy(targets=Targets.OTHER_BUSY, local=own, run=run) for run in (Run.CATCH_UP, Run.EACH)]


def lane(number, think_ns, busy=12, senders=12):
    """A machine of 16 CPUs whose ranges are one page long."""
    _, cost, *_ = configuration(np.random.default_rng(number))
    cost = cost | {"ceiling": 33.0, "user_refill_ns": 70.0} | dict.fromkeys(LINES, 0.0)  # also of the generation
    return Shape(16, 2, busy, senders, 1, "auto", 3), cost, think_ns, 0.0, [(1, 1e8)], 0.0


@pytest.mark.parametrize("own", OWNS)
def test_where_one_cpu_alone_flushes_every_request_is_the_next_one(own):
    for number in range(4):
        if own == "never":  # its own CPU misses every one, and nobody asks
            continue
        found, expected = (by_engine("compiled", flush, *lane(number, 1e5, senders=1)) for flush in flushes(OWNS[own]))
        for name, values in expected.items():
            assert found[name] == pytest.approx(values, rel=1e-12, nan_ok=True), (number, name)


@pytest.mark.parametrize("own", OWNS)
def test_where_flushing_takes_no_time_generations_change_no_wait(own):
    for number in range(4):
        shape, cost, *rest = lane(number, 2000.0)
        cost |= dict.fromkeys(("flush_fixed_ns", "invlpg_ns", "flush_mm_ns", "refill_ns", "user_refill_ns"), 0.0)
        found, expected = (by_engine("compiled", flush, shape, cost, *rest) for flush in flushes(OWNS[own]))
        for name in ("wait_ns", "wait_p99_ns", "interval_ns", "interrupts", "handler_ns"):
            assert found[name] == pytest.approx(expected[name], rel=1e-12), (number, name)


def test_under_a_storm_most_requests_find_their_cpu_there_already():
    """A handler run flushes at most once, however many requests it takes along."""
    shape, cost, *rest = lane(0, 0.0)
    cost |= {"flush_fixed_ns": 5000.0, "flush_mm_ns": 5000.0, "refill_ns": 0.0, "user_refill_ns": 0.0}
    found, expected = (by_engine("compiled", flush, shape, cost, *rest) for flush in flushes(Local.AFTER_SENDS))
    assert (found["interrupts"] < 0.9 * 11).all()  # requests share runs
    assert (found["handler_ns"] < 0.6 * expected["handler_ns"]).all()
    assert (found["interval_ns"] < 0.7 * expected["interval_ns"]).all()


def test_an_own_flush_that_others_asked_for_meanwhile_is_not_made_again():
    """Two CPUs that flush all the time; own flushes after the acks often find their CPU there."""
    shape, cost, *rest = lane(1, 0.0, busy=2, senders=2)
    cost |= {"flush_fixed_ns": 3000.0, "invlpg_ns": 0.0, "flush_mm_ns": 3000.0, "refill_ns": 0.0, "user_refill_ns": 0.0}
    found, expected = (by_engine("compiled", flush, shape, cost, *rest) for flush in flushes(Local.AFTER_ACKS))
    assert (found["wait_ns"] < expected["wait_ns"] - 500.0).all()


def test_a_window_ends_with_the_flush_that_led_past_its_generation():
    """Of requests that share a run the first flushes; the others find their CPU there, and it has been since then."""
    shape, cost, *rest = lane(0, 0.0)
    cost |= dict.fromkeys(("flush_fixed_ns", "invlpg_ns", "flush_mm_ns", "refill_ns", "user_refill_ns"), 0.0)
    cost |= {"handler_fixed_ns": 5000.0}
    found, expected = (by_engine("compiled", flush, shape, cost, *rest) for flush in flushes(Local.AFTER_SENDS))
    assert found["wait_ns"] == pytest.approx(expected["wait_ns"])  # the same run
    assert (found["window_ns"] > 0.0).all()
    assert (found["window_ns"] < 0.8 * expected["window_ns"]).all()


@pytest.mark.parametrize("policy", ["mm_shootdown", "mm_shootdown_concurrent", "xpfo_skip_idle", "membarrier"])
def test_siblings_that_are_no_targets_slow_no_handler_down(policy, parameters):
    def slowed(jobs):
        p = parameters("xeon_8160", cores=16, jobs=jobs, think_ns=20000.0, window_events=128, replicas=2)
        p |= {"flush_mm_ns": 90.0, "engine": "compiled"}
        return [simulate(policy=policy, **p | {"smt_slowdown": slow}) for slow in (1.0, 1.7)]

    alone, slow = slowed(8)  # of 16 CPUs with siblings eight apart, those that run nothing are told nothing
    for name in METRICS:
        assert alone[name].tobytes() == slow[name].tobytes(), name
    for jobs in (9, 16):
        alone, slow = slowed(jobs)
        assert (slow["handler_share"] > alone["handler_share"]).all(), jobs


def test_a_broadcast_to_all_always_slows_siblings_down(parameters):
    p = parameters("xeon_8160", cores=16, jobs=4, think_ns=20000.0, window_events=128)
    slow, alone = (simulate(policy="xpfo", **p | {"smt_slowdown": each})["flush_wait_ns"] for each in (1.7, 1.0))
    assert slow > alone


def test_the_mean_slowdown_is_that_of_the_cpus_told_with_their_sibling():
    shape = Shape(16, 2, 12, 12, 2, "auto", 0)
    assert shape.with_sibling(12).tolist() == [True] * 4 + [False] * 4 + [True] * 4
    assert shape.mean_slowdown(12, np.array([1.3])) == pytest.approx(1.0 + 0.3 * 8 / 12)
    assert shape.mean_slowdown(16, np.array([1.3])).tolist() == [1.3]
    assert shape.mean_slowdown(8, np.array([1.3])).tolist() == [1.0]
