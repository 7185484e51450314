"""The index space: points by index, axes, zips, blocks, and what is refused."""

import itertools
import sys
import time
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from sim.policies import Policies
from sweep.command.compose import compose
from sweep.errors import BadInput
from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir
from sweep.plan.composition import Composition
from sweep.plan.grid import Span
from sweep.plan.open import open_plan
from sweep.plan.plan import ENTRY_STEPS, _cost

ENTRIES = catalog([conf_dir()])
DEFAULTS = {
    "policy": "xpfo", "machine": "i5_3550", "workload": "kernel_build", "jobs": 4,
    "seed": 0, "replicas": 2, "window_events": 512, "precision": 0.0,
}  # fmt: skip


def plan_of(content, pinned=None, chunk_s=4.0, max_points=1e15, **changes):
    entries = ENTRIES["machine"], ENTRIES["workload"]
    defaults = DEFAULTS | changes
    asked = Composition("test", "?", content, pinned or {}, defaults, *entries, chunk_s=chunk_s, max_points=max_points)
    return open_plan(asked)


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


def test_a_relative_axis_follows_its_key():
    plan = plan_of({"cores": [2, 4], "jobs": ["0.625 x cores", "2 x cores"]})
    assert list(plan.columns(0, 4)["jobs"]) == [1.25, 4.0, 2.5, 8.0]
    shares = plan_of({"policy": "xpfo_deferred", "jobs": 4, "serial_share": "0.125 x cores", "cores": 4})
    assert shares.columns(0, 1)["serial_share"].tolist() == [0.5]  # not raised to 1


def test_values_made_from_values_are_made_in_order():
    plan = plan_of({"sockets": 4, "threads_per_core": 1, "cores": "2 x sockets", "jobs": "1 x cores"})
    columns = plan.columns(0, 1)
    assert (columns["cores"][0], columns["jobs"][0]) == (8, 8)
    plan = plan_of({"jobs": "1 x cores", "cores": "2 x sockets", "sockets": [1, 2, 4], "threads_per_core": 1})
    assert plan.columns(0, 3)["jobs"].tolist() == [2, 4, 8]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"jobs": "0.5 x sockets"}, "point 0: jobs=0.5: must be at least 1"),
        ({"jobs": "1 x cores", "cores": "1 x jobs"}, "relative to each other"),
        ({"jobs": "1 x jobs"}, "relative to each other"),
        ({"jobs": "1 x apic"}, "apic must be a number of a point"),
        ({"jobs": "1 x seed"}, "seed must be a number of a point"),
        ({"jobs": "1 x range_pages"}, "range_pages must be a number of a point"),
        ({"jobs": "1 x warmup_events"}, "needs warmup_events, which is not given"),
        ({"policy": "xpfo_deferred", "serial_share": "2 x cores", "jobs": 4}, "serial_share=8.0: must be from 0 to 1"),
        (
            {"refill_ns": "1 x invlpg_ns", "invlpg_ns": [1, 1e15], "handler_fixed_ns": "2 x refill_ns"},
            "must be at most 1e",
        ),
        ({"cores": "0.3 x jobs", "jobs": 10.0, "sockets": 1}, "cores=3"),
    ],
)
def test_values_made_from_values_are_held_to_their_own_range_before_anything_starts(content, said):
    if said == "cores=3":
        assert plan_of(content | {"threads_per_core": 1}).columns(0, 1)["cores"].tolist() == [3.0]
        return
    with pytest.raises(BadInput, match=said):
        plan_of({"jobs": 4, **content})


def test_a_range_is_computed_not_stored():
    plan = plan_of({"refill_ns": {"from": 1, "to": 10000, "steps": 5, "log": True}})
    assert plan.columns(0, 5)["refill_ns"] == pytest.approx([1, 10, 100, 1000, 10000])


def test_a_billion_points_open_at_once():
    begin = time.perf_counter()
    span = {"from": 1, "to": 1000, "steps": 1000}
    plan = plan_of({"refill_ns": span, "handler_fixed_ns": span, "invlpg_ns": span})
    assert len(plan) == 10**9
    last = plan.columns(10**9 - 2, 10**9)
    assert list(last["refill_ns"]) == [1000, 1000]
    assert time.perf_counter() - begin < 5.0


def test_chunks_cover_every_point_once_and_are_bounded():
    policies = ["vanilla", "xpfo", "xpfo_deferred"]
    plan = plan_of({"policy": policies, "cores": [1, 2, 4], "ceiling": list(range(500))}, chunk_s=0.1)
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


@pytest.mark.parametrize("chunk_s", [1e-9, 0.02])
def test_a_chunk_costs_what_a_sweep_of_its_points_would(chunk_s):
    ceilings = list(range(40))
    plan = plan_of(
        {"policy": ["xpfo_concurrent", "xpfo"], "cores": [4, 64], "jobs": 4, "ceiling": ceilings}, chunk_s=chunk_s
    )
    assert len(plan.chunks) > 3
    columns = plan.columns(0, len(plan))
    for begin, end, cost_s in zip(plan.chunks, plan.chunks[1:], plan.chunk_cost_s(), strict=False):
        shapes = dict.fromkeys(zip(columns["policy"][begin:end], columns["cores"][begin:end], strict=True))
        alone = []
        for policy, cores in shapes:
            mine = (columns["policy"][begin:end] == policy) & (columns["cores"][begin:end] == cores)
            some = columns["ceiling"][begin:end][mine].tolist()
            alone.append(plan_of({"policy": policy, "cores": int(cores), "jobs": 4, "ceiling": some}).estimate_s)
        assert cost_s == pytest.approx(sum(alone))


def test_interrupting_every_cpu_is_estimated_dearer_than_marking_it_and_the_more_the_more_cpus():
    def estimate_s(policy, cores):
        return plan_of({"policy": policy, "cores": cores, "jobs": 4, "kunmap_events": list(range(1, 500))}).estimate_s

    assert estimate_s("xpfo", 64) > 5 * estimate_s("xpfo_deferred", 64)
    assert estimate_s("xpfo", 64) > 10 * estimate_s("xpfo", 4)
    assert estimate_s("vanilla", 64) < 0.1 * estimate_s("xpfo_deferred", 64)


@pytest.mark.parametrize(("cores", "sockets", "threads"), [(3, 1, 2), (7, 2, 1), (8, 1, 3), (9, 1, 2)])
def test_cpus_that_do_not_fill_their_cores_or_sockets_are_refused(cores, sockets, threads):
    with pytest.raises(BadInput, match=r"cores=\d"):
        plan_of({"cores": [4, cores], "sockets": sockets, "threads_per_core": threads, "jobs": 4})


def test_the_last_point_of_the_largest_grid_can_be_cut_out():
    words = ["+grid=point", "policy=xpfo", "handler_fixed_ns={from:1,to:2,steps:1000000000000000}", "max_points=1e16"]
    plan = open_plan(compose([*words, "points=999999999999999:1000000000000000"], [conf_dir()]).composition)
    assert plan.columns(plan.begin, plan.end)["handler_fixed_ns"].tolist() == [2.0]


def test_policies_beside_one_another_are_estimated_as_each_alone():
    def estimate_s(*policies):
        words = ["+grid=cores", f"policy=[{','.join(policies)}]", "engine=compiled"]
        return open_plan(compose(words, [conf_dir()]).composition).estimate_s

    names = ("xpfo", "xpfo_deferred", "xpfo_kernel_entry")
    assert estimate_s(*names) == pytest.approx(sum(map(estimate_s, names)))
    assert estimate_s("xpfo_kernel_entry") > 1.5 * estimate_s("xpfo_deferred")  # entries are served one by one


def test_the_hash_is_of_the_points_not_of_the_chunks():
    content = {"ceiling": [0, 33]}
    plan = plan_of(content)
    assert plan.hash == plan_of(content, chunk_s=0.001).hash
    assert plan.hash != plan_of({"ceiling": [0, 34]}).hash
    assert plan.hash != plan_of(content, seed=1).hash


def test_the_command_line_chooses_rows_of_a_zip():
    tied = {"zip": {"cores": [4, 8, 16], "sockets": [1, 2, 2]}, "ceiling": [0, 1]}
    plan = plan_of(tied, {"sockets": 2, "ceiling": [5]})
    columns = plan.columns(0, len(plan))
    assert list(columns["cores"]) == [8, 16]
    assert set(columns["sockets"]) == {2}
    assert set(columns["ceiling"]) == {5}
    assert len(plan_of(tied, {"cores": [4, 16]})) == 4
    both = plan_of(tied, {"cores": [32, 64], "sockets": [4, 8]})
    assert list(zip(both.columns(0, 4)["cores"], both.columns(0, 4)["sockets"], strict=True))[::2] == [(32, 4), (64, 8)]
    same = plan_of(tied, {"cores": [32, 64], "sockets": 4})  # one value goes with all
    assert set(same.columns(0, 4)["sockets"]) == {4}
    for pinned in ({"cores": [4, 48]}, {"sockets": 4}):
        with pytest.raises(BadInput, match=r"tied to \w+ by zip, .* like `cores=\[4\] sockets=\[1\]`"):
            plan_of(tied, pinned)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"zip": [{"cores": [2, 4], "sockets": [1, 2]}, {"cores": [8, 4], "jobs": [1, 2]}]}, "'cores' must be in"),
        ({"zip": {"cores": [2, 4]}, "blocks": [{"zip": {"cores": [8, 4]}}]}, "must be in one zip, and is in two"),
        ({"zip": {"cores": [2, 4, 2], "sockets": [1, 2, 1]}}, "cores=2, sockets=1: given twice"),
        ({"ceiling": [33, 1, 33.0]}, "ceiling=33: given twice"),
        ({"refill_ns": {"from": 1, "to": 9, "steps": 1}}, "must have two steps or more"),
        ({"refill_ns": {"from": 3, "to": 3, "steps": 4}}, "must have different ends"),
        ({"ceiling": {"from": 0, "to": 10, "steps": 4001}}, "must have whole numbers"),
        ({"zip": [1]}, "zip=1: must be a mapping"),
        ({"blocks": []}, "must be a list of mappings"),
        ({"blocks": "x"}, "must be a list of mappings"),
        ({"refill_ns": {"from": "a", "to": 2, "steps": 3}}, "refill_ns='a': must be a number"),
        ({"refill_ns": {"from": 1, "to": 2, "steps": True}}, "steps=True"),
        ({"refill_ns": {"from": 1, "to": 2, "steps": 10**18}}, "from 1 to 1e15"),
        ({"refill_ns": {"from": 1, "to": 2, "steps": 3, "log": 1}}, "log=1: must be true or false"),
        (
            {"kunmap_events": 0},
            r"has no flush events; give alloc_events \(default: alloc_per_kunmap x kunmap",
        ),
        ({"policy": "mm_shootdown"}, "needs a closed loop, since its flush events are system calls"),
        ({"policy": "membarrier"}, "needs a closed loop, since its flush events are system calls"),
    ],
)
def test_what_would_be_another_sweep_than_it_says_is_refused(content, said):
    with pytest.raises(BadInput, match=said):
        plan_of({"jobs": 4, **content} if "zip" not in content else content)


def test_one_spelling_is_one_plan():
    plan = plan_of({"ceiling": [0, 33], "jobs": 4})
    for content, pinned in (
        ({"ceiling": [0.0, 33.0], "jobs": 4.0}, {}),
        ({"ceiling": [0, 33], "jobs": 4, "window_events": 512}, {}),
        ({"ceiling": [0, 33], "jobs": 4}, {"policy": DEFAULTS["policy"], "precision": 0.0, "window_events": 512.0}),
        ({"ceiling": [0, 33]}, {"jobs": 4, "replicas": 2, "seed": 0, "draws": None}),
    ):
        assert plan_of(content, pinned).hash == plan.hash, (content, pinned)
    assert plan_of({"ceiling": [0, 33], "jobs": 4}, {"window_events": 513}).hash != plan.hash


def test_a_plan_of_a_billion_shapes_opens_at_once():
    begin = time.perf_counter()
    content = {"policy": "xpfo", "jobs": {"from": 1, "to": 1000, "steps": 10**9}}
    plan = open_plan(Composition("t", "", content, {}, DEFAULTS, ENTRIES["machine"], ENTRIES["workload"], points="0:5"))
    assert len(plan) == 5
    assert len(plan.chunks) >= 2
    with pytest.raises(BadInput, match="1000000000 points: must be at most max_points=1e"):
        plan_of(content | {"sockets": 1}, max_points=1e7)
    many = {"refill_ns": {"from": 1, "to": 1000, "steps": 10**9}, "invlpg_ns": {"from": 1, "to": 2, "steps": 10**9}}
    with pytest.raises(BadInput, match=r"1e\+18 points: must be at most 1e\+15"):
        plan_of({"policy": "xpfo", "jobs": 4, **many})
    plan_of({"policy": "xpfo", "jobs": {"from": 1, "to": 1000, "steps": 200_000}}).chunks.size  # noqa: B018
    assert time.perf_counter() - begin < 20.0


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
        ({"ceiling": []}, "ceiling: must have at least one value"),
        ({"corse": 4}, "unknown key 'corse'; did you mean 'cores'"),
        ({"policy": "xpof"}, "did you mean 'xpfo'"),
        ({"machine": "xeon"}, "machine='xeon': no such machine"),
        ({"workload": "kernel"}, "did you mean 'kernel_build'"),
        ({"cores": [4, 0]}, "cores=0"),
        ({"cores": True}, "cores=True"),
        ({"jobs": 0.5}, "jobs=0.5: must be at least 1"),
        ({"jobs": "0.5 x corse"}, "`x corse`: no such parameter"),
        ({"jobs": "-1 x cores"}, "positive"),
        ({"zip": {"cores": [1, 2], "sockets": [1]}}, "must have equal length: cores 2, sockets 1"),
        ({"zip": {"cores": [1, 2]}, "cores": 4}, "must be inside or outside of zip"),
        ({"blocks": [{"cores": 2}], "cores": 4}, "must be in the block or outside"),
        ({"blocks": ["cores"]}, "must be a mapping"),
        ({"refill_ns": {"from": 1, "to": 2}}, "must be {from: A, to: B, steps: N}"),
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


def test_the_estimate_knows_that_kernel_entries_are_served_one_by_one(parameters):
    p = parameters("xeon_8160", cores=16, jobs=16, think_ns=1e6, window_events=160, warmup_events=16)
    estimate_s = []
    for rate in (0.0, 12_000.0):
        given = p | {"kernel_entries_per_s": rate}
        columns = {
            name: np.array([value], dtype=object if name == "range_pages" else None) for name, value in given.items()
        }
        estimate_s.append(
            sum(_cost(columns | {"policy": np.array(["xpfo_kernel_entry"])}, Policies(), 1, "vectorized"))[0]
        )
    entries_per_event = 12_000 * 1e-3  # in a CPU's think time of 1 ms, and all 16 CPUs flush
    assert estimate_s[1] / estimate_s[0] == pytest.approx(1.0 + ENTRY_STEPS * entries_per_event)


def test_a_build_without_cpu_time_is_refused():
    with pytest.raises(BadInput, match="a build takes CPU time"):
        plan_of({"jobs": [2], "user_s": 0.0, "base_system_s": 0.0})


@pytest.mark.parametrize(
    ("overrides", "engine"),
    [
        (["+grid=point"], "vectorized"),  # done before numba is imported
        (["+grid=point", "policy=xpfo"], "compiled"),  # broadcasts
        (["+grid=point", "engine=compiled"], "compiled"),
        (["+grid=jobs"], "compiled"),
    ],
)
def test_loops_that_are_compiled_are_loaded_where_the_work_takes_longer(monkeypatch, overrides, engine):
    monkeypatch.setattr("sweep.plan.engine.has_compiler", lambda: True)
    monkeypatch.setattr("sweep.plan.engine.is_compiled", lambda loop: True)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    plan = open_plan(compose(overrides, [conf_dir()]).composition)
    assert (plan.engine, plan.engine_because) == (engine, "")


@pytest.mark.parametrize(
    ("policy", "loop"),
    [
        ("xpfo", "serve_broadcast"),
        ("xpfo_deferred", "serve_server"),
        ("xpfo_deferred_node", "serve_server"),  # reads its line first
    ],
)
def test_the_loop_of_the_policy_is_the_one_that_is_looked_for(policy, loop, monkeypatch):
    looked_for = []
    monkeypatch.setattr("sweep.plan.engine.has_compiler", lambda: True)
    monkeypatch.setattr("sweep.plan.engine.is_compiled", lambda name: not looked_for.append(name))
    open_plan(compose(["+grid=point", f"policy={policy}", "engine=compiled"], [conf_dir()]).composition)
    assert looked_for == [loop]


@pytest.mark.parametrize(
    ("compiled", "loaded", "again", "engine"),
    [
        (True, False, True, "compiled"),
        (False, True, False, "vectorized"),  # compiling takes longer than the work
        (False, True, True, "compiled"),  # and is done once for all that follow
    ],
)
def test_loops_are_compiled_where_other_plans_follow(monkeypatch, compiled, loaded, again, engine):
    monkeypatch.setattr("sweep.plan.engine.has_compiler", lambda: True)
    monkeypatch.setattr("sweep.plan.engine.is_compiled", lambda loop: compiled)
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    if loaded:
        monkeypatch.setitem(sys.modules, "numba", ModuleType("numba"))
    asked = compose(["+grid=jobs", 'policy=["xpfo_deferred*"]'], [conf_dir()]).composition
    assert open_plan(replace(asked, again=again)).engine == engine


def test_a_loop_that_is_loaded_does_the_smallest_work_too(monkeypatch):
    monkeypatch.setattr("sweep.plan.engine.has_compiler", lambda: True)
    monkeypatch.setattr("sweep.plan.engine.is_compiled", lambda loop: True)
    monkeypatch.setitem(sys.modules, "numba", ModuleType("numba"))
    assert open_plan(compose(["+grid=point"], [conf_dir()]).composition).engine == "compiled"
