"""Work that is a loop: its rates, its metrics, where its threads run; and what work takes longer, by conservation."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import distance
from sim import simulate
from sim.metrics import metrics_of
from sim.parameters import PARAMETERS, Kind, defining
from sim.policies import Policies
from sim.reading import reads
from sim.topology import Shape
from sweep import load
from sweep.__main__ import main
from sweep.errors import BadInput
from sweep.inputs.catalog import read_entry
from sweep.inputs.reader import Document

BUILD = [name for name, parameter in PARAMETERS.items() if parameter.kind is Kind.BUILD]
OF_BUILD, BUILD_METRICS = defining(Kind.BUILD), metrics_of(Kind.BUILD)
CONCURRENT = "mm_shootdown_concurrent"


def loop(**more):
    """A machine without a build, whose threads each flush one page an operation."""
    p = {name: value for name, value in distance.known("xeon_8160").items() if name not in BUILD}
    p |= {"cores": 16, "sockets": 2, "jobs": 8, "range_pages": {1: 1}, "flush_mm_ns": 90.0, "refill_ns": 50.0}
    return p | {"window_events": 1024, "engine": "compiled"} | more


def test_one_thread_does_what_it_is_measured_to_do():
    for operation in ("constant", "exponential"):
        p = loop(one_thread_ops_per_s=60000.0, events_per_operation=2.0, operation=operation)
        for policy in (CONCURRENT, "mm_shootdown", "xpfo_concurrent"):  # the last tells all CPUs, whoever runs there
            found = simulate(policy=policy, **p | {"jobs": [1, 8]})
            assert found["operations_per_s"][0] == pytest.approx(60000.0, rel=5e-3), (policy, operation)
            assert 60000.0 < found["operations_per_s"][1] < 8 * 60000.0
    with pytest.raises(
        ValueError, match="one_thread_ops_per_s=5e\\+06: an operation takes 200 ns, but its flush events"
    ):
        simulate(policy=CONCURRENT, **loop(one_thread_ops_per_s=5e6))


def test_a_rate_is_met_where_the_cpus_can_do_it():
    found = simulate(policy="xpfo_concurrent", **loop(rate_per_s=[2e3, 5e4, 1e9]))
    rate = found["operations_per_s"][:, 0]
    assert rate[:2] == pytest.approx([2e3, 5e4], rel=1e-2)
    assert rate[2] < 1e7  # more than they can
    share = found["overhead_share"][:, 0]
    assert share[0] < 0.05 < share[1] < share[2] == pytest.approx(1.0)
    once = simulate(policy="xpfo_concurrent", **loop(rate_per_s=2e3, jobs=[8, 16]))["overhead_share"][:, 0]
    assert 0.5 < once[0] / once[1] < 2.0  # twice the CPUs, each told of all events


def test_operations_are_what_is_left_of_the_time():
    found = simulate(policy=CONCURRENT, **loop(operation_ns=4000.0, events_per_operation=2.0))
    total = found["operation_ns_total"]
    assert found["operations_per_s"] == pytest.approx(8e9 / total)
    assert found["elongation"] == pytest.approx(total / 4000.0)
    assert found["overhead_share"] == pytest.approx(1.0 - 4000.0 / total)
    assert total == pytest.approx(2 * 8 * found["flush_interval_ns"], rel=0.05)  # with the noise of compute
    for name in BUILD_METRICS:
        assert np.isnan(found[name]).all(), name
    alone = simulate(policy="vanilla", **loop(operation_ns=4000.0))
    assert alone["operations_per_s"] == pytest.approx(8e9 / 4000.0)
    assert alone["elongation"] == 1.0


def test_where_only_some_flush_theirs_is_the_time_that_operations_take():
    p = loop(operation_ns=4000.0, jobs=8, senders=2, policy=CONCURRENT)
    found = simulate(**p)
    assert found["operation_ns_total"] == pytest.approx(2 * found["flush_interval_ns"], rel=0.1)  # as above
    assert found["operations_per_s"] == pytest.approx(2e9 / found["operation_ns_total"])
    assert (found["overhead_share"] > 0.0).all()
    assert (found["overhead_share"] < 1.0 - 4000.0 / found["operation_ns_total"]).all()  # the other six lose less


@pytest.mark.parametrize("engine", ["compiled", "vectorized"])
@pytest.mark.parametrize("policy", ["xpfo", "xpfo_deferred", "xpfo_deferred_test_first"])
def test_what_is_drawn_to_compute_is_no_overhead(policy, engine):
    """With constant computes the interval says the same, but for both ends of the window; drawn ones are no noise."""
    p = loop(policy=policy, operation_ns=50_000.0, jobs=8, senders=3, engine=engine, window_events=960)
    constant = simulate(**p, operation="constant")
    interval = 1.0 - 50_000.0 / (3.0 * constant["flush_interval_ns"])
    assert constant["sender_overhead_share"] == pytest.approx(interval, abs=2.0 / 320)
    drawn, again = (simulate(**p | {"seed": seed})["sender_overhead_share"] for seed in (1, 2))
    assert drawn == pytest.approx(again, rel=0.1)
    rare = simulate(**p | {"operation_ns": 1e9})["sender_overhead_share"]
    assert (rare < 1e-3 * drawn.max()).all()


def test_a_point_is_a_loop_or_a_build():
    with pytest.raises(ValueError, match="operation_ns and rate_per_s: a closed loop is given by one of"):
        simulate(policy=CONCURRENT, **loop(operation_ns=1.0, rate_per_s=1.0))
    with pytest.raises(ValueError, match="operation_ns makes the workload a closed loop, but user_s belongs"):
        simulate(policy=CONCURRENT, **loop(operation_ns=1.0, user_s=1.0))
    known = distance.known("xeon_8160")
    of_build = {name: np.array([known[name], np.nan]) for name in OF_BUILD} | {
        name: known[name] for name in BUILD if name not in OF_BUILD
    }
    both = simulate(policy="xpfo", **loop(operation_ns=[None, 5000.0]) | of_build)
    assert np.isnan(both["ratio"][1, 0]) and both["ratio"][0, 0] > 1.0  # noqa: PT018
    assert np.isnan(both["operations_per_s"][0, 0]) and both["operations_per_s"][1, 0] > 0.0  # noqa: PT018


def test_threads_that_fill_one_socket_first_wait_for_no_other():
    p = loop(operation_ns=4000.0, threads_per_core=2)
    sockets = Shape(16, 2, 8, 8, 2, "auto", 0, fill="sockets").socket.tolist()
    assert sockets == [0, 0, 0, 0, 1, 1, 1, 1] * 2  # cores of socket 0, of socket 1, then their siblings
    spread, filled = (simulate(policy=CONCURRENT, **p | {"jobs": 4, "fill": fill}) for fill in ("spread", "sockets"))
    assert (filled["operations_per_s"] > 1.005 * spread["operations_per_s"]).all()
    near = p | {"ipi_latency_cross_ns": p["ipi_latency_ns"], "line_cross_ns": p["line_socket_ns"], "jobs": 4}
    alike = [simulate(policy=CONCURRENT, **near | {"fill": fill})["operations_per_s"] for fill in ("spread", "sockets")]
    assert alike[0] == alike[1]
    marks = [simulate(policy="xpfo_deferred", **p | {"jobs": 4, "fill": fill}) for fill in ("spread", "sockets")]
    assert (marks[1]["flush_wait_ns"] < marks[0]["flush_wait_ns"]).all()  # their line does not cross
    with pytest.raises(ValueError, match="fill=sockets: must have equally many cores on each of sockets=4"):
        simulate(policy=CONCURRENT, **p | {"fill": "sockets", "cores": 12, "sockets": 4})


def test_siblings_slow_own_work_down_under_every_policy():
    """A single thread's rate is without them; a rate of all is met with them."""
    p = loop(operation_ns=None, one_thread_ops_per_s=1e5, cores=8, sockets=1, threads_per_core=2, jobs=8)
    p |= {"smt_slowdown": 1.35, "operation": "constant"}
    for name in ("vanilla", "xpfo_no_flush"):
        assert simulate(policy=name, **p)["operations_per_s"] == pytest.approx(8e5 / 1.35)
        assert simulate(policy=name, **p | {"jobs": 4})["operations_per_s"] == pytest.approx(4e5)  # a core each
        rate = p | {"one_thread_ops_per_s": None, "rate_per_s": 8e5}
        assert simulate(policy=name, **rate)["operations_per_s"] == pytest.approx(8e5)
    one = simulate(policy="xpfo_no_flush", **p | {"jobs": 5, "senders": 1})  # CPU 0's sibling is busy
    assert one["operation_ns_total"] == pytest.approx(1.35e4)
    other = simulate(policy="xpfo_no_flush", **p | {"jobs": 5, "senders": 4})  # one of four
    assert other["operation_ns_total"] == pytest.approx(1e4 * (1 + 0.35 / 4))


def test_a_loop_reads_nothing_of_a_build():
    for name in ("xpfo", "xpfo_deferred", CONCURRENT, "vanilla"):
        assert not {*BUILD} & {*reads(Policies()[name], Kind.LOOP)}
        assert {"user_s", "base_system_s"} <= {*reads(Policies()[name])}


def test_the_noise_of_compute_is_not_in_the_elapsed_time(parameters):
    p = parameters("xeon_8160", jobs=60, window_events=640, replicas=8)
    found = simulate(policy="xpfo_no_flush", **p)
    think_ns = (p["user_s"] + p["base_system_s"]) / (p["kunmap_events"] + p["alloc_events"]) * 1e9
    work_ns = (p["alloc_events"] * p["alloc_bookkeeping_ns"] + p["kunmap_events"] * p["kunmap_bookkeeping_ns"]) / (
        p["alloc_events"] + p["kunmap_events"]
    )
    true = 1.0 + work_ns / think_ns  # 0.75 % overhead, which read from -2 to +4 % by the interval
    assert found["elongation"] == pytest.approx(true, abs=0.001)
    by_interval = 60 * found["flush_interval_ns"] / think_ns
    assert np.abs(by_interval - true).max() > 10 * np.abs(found["elongation"] - true).max()
    inside = np.abs(found["elongation"] / true - 1.0) <= 1.5 * found["wall_time_half_s"] / found["wall_time_s"]
    assert inside.sum() >= 7


@pytest.mark.parametrize(("content", "said"), [
    ({"kind": "loop"}, "kind=loop: needs one of operation_ns, one_thread_ops_per_s, rate_per_s"),
    ({"kind": "loop", "operation_ns": 1.0, "rate_per_s": 1.0}, "kind=loop: needs one of"),
    ({"kind": "loop", "operation_ns": 1.0, "user_s": 1.0}, "user_s needs a build, and the workload is a closed loop"),
    ({"operation_ns": 1.0}, "operation_ns needs a closed loop, and the workload is a build"),
    ({"kind": "hoop"}, "kind='hoop': must be build or loop"),
])  # fmt: skip
def test_a_workload_says_which_it_is(content, said):
    with pytest.raises(BadInput, match=said):
        read_entry("mine", Document("workload/mine", content, {}))


def test_a_workload_without_kunmaps_keeps_its_allocs(sweep_in, tmp_path):
    (tmp_path / "conf" / "workload").mkdir(parents=True)
    text = "defaults: [kernel_build, _self_]\nkunmap_events: 0\nalloc_events: 100000000\n"
    (tmp_path / "conf" / "workload" / "allocs.yaml").write_text(text)
    words = ["+grid=point", "workload=allocs", "window_events=64", "runner=serial", f"out={tmp_path / 'out'}"]
    assert main(["--config-dir", str(tmp_path / "conf"), *words, "quiet=true"]) == 0
    found = load(str(tmp_path / "out"))
    assert (found["ratio"] > 1.02).all()


def test_bands_of_a_loop_are_those_of_its_operations(sweep_in):
    out = sweep_in(
        "+grid=point", "policy=mm_shootdown_concurrent", "workload=shootdown_loop", "jobs=[2,8]", "draws=8",
        "window_events=64", "runner=serial",
    )  # fmt: skip
    table = pd.read_csv(out / "tables" / "summary.csv")
    assert (table["operations_per_s_05"] < table["operations_per_s_50"]).all()
    assert (table["operations_per_s_50"] < table["operations_per_s_95"]).all()
    assert table["operations_half_per_s"].notna().all()


@pytest.mark.parametrize("senders", [None, 2])
def test_overhead_of_an_operation_is_its_share_of_all_busy_cpus_time(senders):
    found = simulate(
        policy="xpfo_concurrent", **loop(jobs=8, senders=senders, operation_ns=5e4, events_per_operation=2.0)
    )
    share = found["overhead_share"] * 8 * 1e9 / found["operations_per_s"]
    assert found["overhead_ns_per_operation"] == pytest.approx(share, rel=1e-9)
