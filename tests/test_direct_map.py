"""Pages that are taken out of the direct map: pools of unmapped pages, whole leaves, and shares of time that cross."""

import json

import numpy as np
import pandas as pd
import pytest

from sim import METRICS, simulate
from tests.page import drawn
from tests.test_loop import loop

FAULTS = {"jobs": 16, "senders": 4, "operation_ns": 1500.0}


def same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(found[name], wanted[name], equal_nan=True) for name in METRICS)


@pytest.mark.parametrize("engine", ["vectorized", "compiled"])
def test_a_pool_of_one_page_is_a_full_flush_for_every_page(engine):
    faults = loop(**FAULTS, engine=engine)
    pool = simulate(policy="xpfo_unmapped_pool", **faults, pool_pages=1)
    assert same(pool, simulate(policy="xpfo", **faults | {"ceiling": 0}))


def test_pages_as_large_as_the_pool_gain_nothing_by_it():
    large = loop(**FAULTS, range_pages={512: 1})
    wanted = simulate(policy="xpfo", **large)
    assert same(simulate(policy="xpfo_unmapped_pool", **large), wanted)
    assert same(simulate(policy="xpfo_hugepage", **large), wanted)
    assert same(simulate(policy="xpfo_unmapped_pool", **loop(**FAULTS, range_pages={4096: 1})), wanted)


def test_small_pages_of_one_leaf_or_one_pool_are_one_full_flush():
    small = loop(**FAULTS)
    leaf, pool = (simulate(policy=policy, **small) for policy in ("xpfo_hugepage", "xpfo_unmapped_pool"))
    assert same(leaf, pool)
    once = simulate(policy="xpfo", **loop(**FAULTS | {"operation_ns": 512 * 1500.0}, range_pages={512: 1}))
    for name in ("flush_wait_ns", "overhead_share", "elongation", "stale_window_ns"):
        assert np.array_equal(leaf[name], once[name]), name
    assert leaf["operation_ns_total"] == pytest.approx(once["operation_ns_total"] / 512)


def test_a_larger_pool_is_never_dearer():
    share = [
        simulate(policy="xpfo_unmapped_pool", **loop(**FAULTS, pool_pages=n))["overhead_share"] for n in (1, 8, 64)
    ]
    assert share[0] > share[1] > share[2] > 0.0


def test_the_senders_lose_more_than_the_machine_and_the_same_where_all_send():
    some = simulate(policy="xpfo", **loop(**FAULTS))
    assert some["sender_overhead_share"] > some["overhead_share"]
    assert some["sender_overhead_share"] == pytest.approx(1.0 - 1.0 / some["elongation"])
    every = simulate(policy="xpfo", **loop(jobs=16, operation_ns=1500.0))
    assert np.array_equal(every["sender_overhead_share"], every["overhead_share"])
    assert (simulate(policy="vanilla", **loop(**FAULTS))["sender_overhead_share"] == 0.0).all()


def test_shares_of_time_cross_by_cores(sweep_in):
    run = sweep_in("+grid=point", "workload=unmapped_alloc", "policy=xpfo", "cores=[4,16,64]", "jobs='1 x cores'",
                   "sockets=1", "senders=1", "rate_per_s=20000", "replicas=1",
                   "report=true")  # fmt: skip
    crossing = pd.read_csv(run / "tables" / "crossover.csv").set_index(["metric", "passes"])["cores"]
    results = pd.read_parquet(run / "results.parquet").set_index("cores")["sender_overhead_share"]
    at = crossing["sender_overhead_share", 0.1]
    assert results[results < 0.1].index.max() < at <= results[results >= 0.1].index.min()
    lines = next(plot for plot in json.loads(drawn(run))["plots"] if plot["name"] == "lines")
    assert (lines["y"], lines["x"]) == ("overhead_ns_per_operation", "cores")
