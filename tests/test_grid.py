"""The index space: points by index, axes, zips, blocks, and what is refused."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from sweep.command.compose import catalog
from sweep.errors import BadInput
from sweep.inputs.conf import conf_dir
from sweep.plan.grid import Span
from sweep.plan.open import Composition, open_plan

ENTRIES = catalog([conf_dir()])
DEFAULTS = {
    "policy": "xpfo", "machine": "i5_3550", "workload": "kernel_build", "jobs": 4,
    "seed": 0, "replicas": 2, "window_events": 512, "precision": 0.0,
}  # fmt: skip


def plan_of(content, pinned=None, chunk_s=4.0, **changes):
    entries = ENTRIES["machine"], ENTRIES["workload"]
    return open_plan(Composition("test", "?", content, pinned or {}, DEFAULTS | changes, *entries, chunk_s=chunk_s))


def test_a_point_is_decoded_from_its_index():
    policies, ceilings, refills = ["xpfo", "vanilla"], [0, 33, 512], [100, 200]
    plan = plan_of({"refill_ns": refills, "policy": policies, "ceiling": ceilings})
    assert len(plan) == 12
    columns = plan.columns(0, 12)
    found = list(zip(columns["policy"], columns["refill_ns"], columns["ceiling"], strict=True))
    assert found == list(itertools.product(policies, refills, ceilings))  # shape slowest, then as written
    middle = plan.columns(5, 7)
    assert list(zip(middle["policy"], middle["refill_ns"], middle["ceiling"], strict=True)) == found[5:7]


def test_zip_ties_axes_and_blocks_add():
    plan = plan_of(
        {"policy": "xpfo", "blocks": [{"zip": {"cores": [4, 8], "sockets": [1, 2]}, "ceiling": [0, 1]}, {"cores": 2}]}
    )
    columns = plan.columns(0, len(plan))
    assert list(columns["cores"]) == [4, 4, 8, 8, 2]
    assert list(columns["sockets"]) == [1, 1, 2, 2, 1]


def test_a_relative_axis_follows_its_key_and_never_falls_below_one():
    plan = plan_of({"cores": [1, 4], "jobs": ["0.625 x cores", "2 x cores"]})
    assert list(plan.columns(0, 4)["jobs"]) == [1.0, 2.0, 2.5, 8.0]


def test_a_range_is_computed_not_stored():
    plan = plan_of({"refill_ns": {"from": 1, "to": 10000, "steps": 5, "log": True}})
    assert plan.columns(0, 5)["refill_ns"] == pytest.approx([1, 10, 100, 1000, 10000])


def test_a_billion_points_open_at_once():
    begin = time.perf_counter()
    span = {"from": 1, "to": 1000, "steps": 1000}
    plan = plan_of({"refill_ns": span, "handler_ns": span, "invlpg_ns": span})
    assert len(plan) == 10**9
    last = plan.columns(10**9 - 2, 10**9)
    assert list(last["refill_ns"]) == [1000, 1000]
    assert time.perf_counter() - begin < 5.0


def test_chunks_cover_every_point_once_and_are_bounded():
    policies = ["vanilla", "xpfo", "xpfo_deferred"]
    plan = plan_of({"policy": policies, "cores": [1, 2, 4], "ceiling": list(range(500))}, chunk_s=0.5)
    bounds = plan.chunks
    assert bounds[0] == 0
    assert bounds[-1] == len(plan)
    assert (np.diff(bounds) > 0).all()
    assert plan.chunk_cost_s().max() < 4 * plan.chunk_s
    assert len(bounds) > 4


def test_a_chunk_of_several_shapes_is_priced_by_each_of_them():
    plan = plan_of({"policy": ["vanilla", "xpfo"], "cores": [4, 8, 512], "jobs": "1 x cores"}, chunk_s=1000.0)
    assert len(plan.chunks) == 2
    assert plan.chunk_cost_s()[0] == pytest.approx(plan.estimate_s)


def test_the_hash_is_of_the_points_not_of_the_chunks():
    content = {"ceiling": [0, 33]}
    plan = plan_of(content)
    assert plan.hash == plan_of(content, chunk_s=0.001).hash
    assert plan.hash != plan_of({"ceiling": [0, 34]}).hash
    assert plan.hash != plan_of(content, seed=1).hash


def test_the_command_line_replaces_an_axis_also_in_a_zip():
    plan = plan_of({"zip": {"cores": [4, 8], "sockets": [1, 2]}, "ceiling": [0, 1]}, {"sockets": 1, "ceiling": [5]})
    columns = plan.columns(0, len(plan))
    assert list(columns["cores"]) == [4, 8]
    assert set(columns["sockets"]) == {1}
    assert set(columns["ceiling"]) == {5}


def test_derived_quantities_follow_what_they_are_made_from():
    plan = plan_of({"kunmap_events": [1e8, 2e8], "clock_scale": 2.0, "large_range_share": 0.5})
    columns = plan.columns(0, 2)
    assert list(columns["alloc_events"]) == [0.5e8, 1e8]
    assert columns["invlpg_ns"][0] == 2 * 85
    assert columns["refill_ns"][0] == 900  # a miss, not an instruction
    assert dict(columns["range_pages"][0])[512] == pytest.approx(0.5)
    assert columns["user_s"][0] == pytest.approx(20000 * 0.63)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"ceiling": []}, "ceiling: an axis needs at least one value"),
        ({"corse": 4}, "unknown key 'corse'; did you mean 'cores'"),
        ({"policy": "xpof"}, "did you mean 'xpfo'"),
        ({"machine": "xeon"}, "machine='xeon': no such machine"),
        ({"workload": "kernel"}, "did you mean 'kernel_build'"),
        ({"cores": [4, 0]}, "cores=0"),
        ({"cores": True}, "cores=True"),
        ({"jobs": 0.5}, "jobs=0.5: must be at least 1"),
        ({"jobs": "0.5 x corse"}, "'corse' is no parameter"),
        ({"jobs": "-1 x cores"}, "positive"),
        ({"zip": {"cores": [1, 2], "sockets": [1]}}, "different length: cores 2, sockets 1"),
        ({"zip": {"cores": [1, 2]}, "cores": 4}, "inside and outside of zip"),
        ({"blocks": [{"cores": 2}], "cores": 4}, "in the block and outside"),
        ({"blocks": ["cores"]}, "must be a mapping"),
        ({"refill_ns": {"from": 1, "to": 2}}, "a range is"),
        ({"refill_ns": {"from": 0, "to": 2, "steps": 3, "log": True}}, "above 0"),
        ({"refill_ns": {"from": 0, "to": 2, "steps": 0}}, "steps=0"),
        ({"cores": 4, "sockets": 3}, "sockets=3: must divide cores=4"),
        ({"cores": 16, "apic": "flat"}, "apic=flat"),
        ({"range_pages": {1: -1}}, "weights finite and at least 0"),
        ({"range_pages": {1: 0}}, "not all be zero"),
        ({"alloc_per_kunmap": -1}, "alloc_per_kunmap=-1"),
    ],
)
def test_bad_grids_name_key_value_and_what_is_allowed(content, said):
    with pytest.raises(BadInput, match=said):
        plan_of(content)


def test_a_range_of_whole_numbers_stays_whole():
    for last, steps in ((99, 100), (9900, 100), (4096, 65), (7, 8)):
        assert all(isinstance(value, int) for value in Span(0, last, steps)), (last, steps)


def policies(*given):
    return list(plan_of({"policy": list(given), "jobs": 4}).columns(0, 100)["policy"])


def test_policies_are_named_by_patterns_in_order():
    every = policies("vanilla", "xpfo*", "!xpfo_broadcast")
    assert every[0] == "vanilla"
    assert every[1:] == sorted(every[1:])
    assert {"xpfo", "xpfo_deferred", "xpfo_concurrent"} <= set(every)
    assert not {"xpfo_broadcast", "mm_shootdown"} & set(every)
    assert policies("xpfo_deferred*", "!*batched", "vanilla")[-1] == "vanilla"
    assert policies("xpfo_concurren?") == ["xpfo_concurrent"]


@pytest.mark.parametrize("given", ["xpof*", "!xpfo"])
def test_a_pattern_that_matches_nothing_is_refused(given):
    with pytest.raises(BadInput, match="matches no"):
        plan_of({"policy": [given], "jobs": 4})


def test_a_pattern_works_on_the_command_line(sweep_in):
    import pandas as pd

    run = sweep_in("+grid=smoke", 'policy=["xpfo_deferred_b*","!*batched"]', "window_events=32", "replicas=1")
    assert set(pd.read_parquet(run / "results.parquet")["policy"]) == {"xpfo_deferred_bounded"}
