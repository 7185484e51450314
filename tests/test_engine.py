"""The engine: what holds by reasoning, and what holds bit by bit."""

import numpy as np
import pytest

from sim import METRICS, PARAMETERS, batch_means, elementary, simulate
from sim import simulate as public
from sim.draws import COMPUTE, Draws, stream
from sim.machine.vectorized.state import first_least
from sim.policies import Policies
from sim.reading import reads
from tests.conftest import one_request

SHORT = {"window_events": 320, "warmup_events": 64, "replicas": 2}


def test_a_lane_does_not_notice_its_neighbours(parameters, monkeypatch):
    points = [
        parameters("xeon_8160", jobs=60, ceiling=ceiling, refill_ns=refill, precision=precision)
        for ceiling, refill, precision in [
            (33, 1500, 0.0),
            (0, 900, 0.05),
            (600, 1500, 0.02),
            (33, 0, 0.2),
            (1, 5000, 0),
        ]
    ]
    names = points[0].keys()
    for policy in ("xpfo", "xpfo_deferred", "xpfo_no_flush"):
        together = simulate(policy=policy, **{n: [p[n] for p in points] for n in names} | SHORT)
        monkeypatch.setattr("sim.lanes.MACHINE_WIDTH", 96 * 3)
        narrow = simulate(policy=policy, **{n: [p[n] for p in points] for n in names} | SHORT)
        monkeypatch.undo()
        for at, point in enumerate(points):
            alone = simulate(policy=policy, **point | SHORT)
            for name in METRICS:
                assert alone[name][0].tobytes() == together[name][at].tobytes(), (policy, name)
                assert alone[name][0].tobytes() == narrow[name][at].tobytes(), (policy, name)


def test_a_draw_depends_on_seed_replica_cpu_and_purpose_only():
    wide = Draws(3, np.array([0, 5]), 8, (COMPUTE,))
    wide.reserve(1000)
    narrow = Draws(3, np.array([5]), 2, (COMPUTE,))
    alone = stream(3, 5, 1, COMPUTE).standard_exponential(64)
    assert np.array_equal(wide.tables[0].reshape(2, 8, -1)[1, 1, :64], alone)
    assert np.array_equal(narrow.tables[0].reshape(1, 2, -1)[0, 1, :64], alone)


def test_policies_meet_the_same_luck(parameters):
    point = parameters("i5_3550", jobs=1) | SHORT  # one busy CPU computes the same whatever flushing costs
    sync, deferred = simulate(policy="xpfo", **point), simulate(policy="xpfo_deferred", **point)
    compute = [r["flush_interval_ns"] - r["flush_wait_ns"] for r in (sync, deferred)]
    assert compute[0] == pytest.approx(compute[1], rel=0.02)
    assert not np.allclose(compute[0][0, 0], compute[0][0, 1], rtol=1e-3)  # replicas differ


def test_at_light_load_a_broadcast_costs_the_sum_of_its_parts(parameters):
    p = parameters("i5_3550", jobs=1, range_pages={1: 1}, alloc_events=0.0, think_ns=1e9) | SHORT
    p["idle_exit_ns"] = 0.0
    wait = simulate(policy="xpfo", **p)["flush_wait_ns"]
    local = p["flush_fixed_ns"] + p["invlpg_ns"]
    each = one_request(p)
    handler = p["irq_entry_ns"] + each.take + each.handle + local  # until the request is done
    by_hand = (
        p["kunmap_bookkeeping_ns"] + p["mask_scan_ns"] + 3 * each.enqueue + p["ipi_send_ns"]
        + p["ipi_latency_ns"] + handler + 3 * each.ack + local
    )  # fmt: skip
    assert wait == pytest.approx(by_hand, rel=1e-6)


def test_with_one_core_no_policy_interrupts(parameters):
    for policy in ("xpfo", "xpfo_deferred", "xpfo_no_flush"):
        result = simulate(policy=policy, **parameters("i5_3550", cores=1, jobs=4) | SHORT)
        assert not result["interrupts_per_flush"].any()
        assert not result["handler_share"].any()


def test_a_cpu_is_in_one_place_at_a_time(parameters):
    for think in (100.0, 3e3, 3e4, 1e6):
        p = parameters("xeon_8160", jobs=96, think_ns=think) | SHORT | {"window_events": 4096, "warmup_events": 1536}
        r = simulate(policy="xpfo", **p)
        share_in_events = r["flush_wait_ns"] / (96 * r["flush_interval_ns"])
        assert (share_in_events < 1.0).all()
        assert (r["handler_share"] < 1.0).all()


def test_no_flush_costs_less_than_deferral_and_deferral_less_than_broadcast(parameters):
    for machine, cores, jobs in [("i5_3550", 2, 2), ("i5_3550", 4, 4), ("xeon_8160", 96, 60)]:
        p = parameters(machine, cores=cores, jobs=jobs) | SHORT
        added = [simulate(policy=x, **p)["added_s"].mean() for x in ("xpfo_no_flush", "xpfo_deferred", "xpfo")]
        assert 0 < added[0] < added[1] < added[2]


def test_added_seconds_are_the_sum_of_their_parts(parameters):
    parts = ("sender_s", "handler_s", "switch_s", "refill_s", "bookkeeping_s")
    for accounting in ("tick", "irq_time"):
        r = simulate(policy=["xpfo", "xpfo_deferred"], **parameters(jobs=60, accounting=accounting) | SHORT)
        assert sum(r[name] for name in parts) == pytest.approx(r["added_s"])
        assert r["system_time_s"] == pytest.approx(r["added_s"] + 950.966)
        assert (r["handler_s"] == 0).all() == (accounting == "irq_time")


def test_vanilla_is_the_baseline(parameters):
    r = simulate(policy="vanilla", **parameters(jobs=60) | SHORT)
    assert (r["system_time_s"] == 950.966).all()
    assert (r["ratio"] == 1.0).all()
    assert (r["events_simulated"] == 0).all()
    assert r["wall_time_s"] == pytest.approx((20000 + 950.966) * (0.02 + 0.98 / 60))


def test_stopping_early_does_not_bias_the_mean(parameters):
    p = parameters("i5_3550", jobs=4, window_events=8192, replicas=24)
    full = simulate(policy="xpfo", **p | {"precision": 0.0})
    early = simulate(policy="xpfo", **p | {"precision": 0.01})
    assert early["events_simulated"].mean() < 0.7 * full["events_simulated"].mean()
    difference = (early["system_time_s"] - full["system_time_s"])[0]
    error = difference.std(ddof=1) / np.sqrt(24)
    assert abs(difference.mean()) < 3 * error
    assert (early["system_time_half_s"] <= 0.01 * early["system_time_s"]).all()


def test_the_half_width_covers_the_long_run_mean(parameters):
    p = parameters("i5_3550", jobs=4, replicas=40, window_events=2048)
    long = simulate(policy="xpfo", **p | {"window_events": 40_000, "replicas": 4, "seed": 9})["system_time_s"].mean()
    short = simulate(policy="xpfo", **p)
    inside = np.abs(short["system_time_s"] - long) <= short["system_time_half_s"]
    assert 0.8 <= inside.mean() <= 1.0


def test_student_t_and_quantiles_are_the_textbook_ones():
    for degrees, expected in [(7, 2.3646), (15, 2.1314), (31, 2.0395)]:
        assert batch_means.student_t(degrees) == pytest.approx(expected, abs=0.01)
    values = np.sort(np.random.default_rng(1).random((101, 3)), axis=0)
    for share in (0.0, 0.5, 0.99, 1.0):
        assert elementary.quantile(values, share) == pytest.approx(np.quantile(values, share, axis=0))


@pytest.mark.parametrize(("rows", "lanes"), [(1, 1), (5, 7), (64, 8), (600, 20)])
def test_the_least_of_equal_values_is_the_first_row(rows, lanes):
    values = np.random.default_rng([rows, lanes]).integers(0, max(2, rows // 8), (rows, lanes)).astype(float)
    assert first_least(values).tolist() == values.argmin(axis=0).tolist()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cores": 0}, "cores=0: must be from 1"),
        ({"cores": 2.5}, "whole"),
        ({"ceiling": -1}, "ceiling=-1"),
        ({"refill_ns": float("inf")}, "finite"),
        ({"refill_ns": [1.0, -1.0]}, "refill_ns=-1.0"),
        ({"serial_share": 2}, "from 0 to 1"),
        ({"apic": "flat"}, "at most 8 CPUs"),
        ({"apic": "cube"}, "auto, flat"),
        ({"sockets": 5}, "divide"),
        ({"range_pages": {1: 0}}, "not all be zero"),
        ({"range_pages": {0: 1}}, "at least 1"),
        ({"policy": "nonsense"}, "policy='nonsense': no such policy"),
    ],
)
def test_bad_parameters_are_named(parameters, change, said):
    with pytest.raises(ValueError, match=said):
        simulate(**{"policy": "xpfo"} | parameters(jobs=60) | SHORT | change)


def test_unknown_and_missing_parameters_are_named(parameters):
    with pytest.raises(TypeError, match="no parameter 'corse'"):
        simulate(policy="xpfo", corse=4)
    incomplete = parameters(jobs=60)
    del incomplete["handler_fixed_ns"]
    with pytest.raises(TypeError, match="missing a parameter that policy xpfo reads: handler_fixed_ns"):
        simulate(policy="xpfo", **incomplete)


def test_every_missing_parameter_is_named_as_a_type_error(parameters):
    with pytest.raises(TypeError, match=r"missing \d\d parameters that policy xpfo reads: cores, jobs, ceiling"):
        simulate(policy="xpfo")
    with pytest.raises(TypeError, match="policy vanilla reads: jobs"):
        simulate(policy="vanilla", cores=4)
    p = parameters(jobs=60) | SHORT
    for policy in ("xpfo", "xpfo_kernel_entry", "xpfo_deferred_percpu"):
        for name in reads(Policies()[policy]):
            if PARAMETERS[name].optional or PARAMETERS[name].default is not None:
                continue
            with pytest.raises(TypeError, match=f"policy {policy} reads: {name}:"):
                simulate(policy=policy, **{key: value for key, value in p.items() if key != name})
    with pytest.raises(TypeError, match="policy xpfo reads: invlpg_ns"):
        simulate(policy=["vanilla", "xpfo"], **p | {"invlpg_ns": np.array([90.0, np.nan])})


SAME = [
    ("float32", lambda values: np.array(values, dtype=np.float32)),
    ("float16", lambda values: np.array(values, dtype=np.float16)),
    ("long double", lambda values: np.array(values, dtype=np.longdouble)),
    ("int32", lambda values: np.array(values, dtype=np.int32)),
    ("uint8", lambda values: np.array(values, dtype=np.uint8)),
    ("big-endian", lambda values: np.array(values, dtype=">f8")),
    ("big-endian integers", lambda values: np.array(values, dtype=">i4")),
    ("strided", lambda values: np.repeat(np.array(values, dtype=float), 2)[::2]),
    ("nothing masked", lambda values: np.ma.array(values, mask=[False, False])),
    ("objects", lambda values: np.array(values, dtype=object)),
    ("numpy scalars", lambda values: [np.float32(value) for value in values]),
    ("arrays of no dimension", lambda values: [np.array(value) for value in values]),
    ("long double scalars", lambda values: [np.longdouble(value) for value in values]),
    ("a tuple", lambda values: tuple(values)),
    ("read-only", lambda values: np.broadcast_to(np.array(values, dtype=np.float32), (2,))),
]


@pytest.mark.parametrize(("kind", "made"), SAME, ids=[kind for kind, _ in SAME])
def test_a_column_is_the_same_numbers_whatever_array_it_comes_in(parameters, kind, made):
    values = {"invlpg_ns": [90, 91], "jobs": [1, 2], "kunmap_events": [100, 101], "flush_all_ns": [100, 130]}
    p = parameters("i5_3550", jobs=2, ceiling=0) | {"window_events": 64, "warmup_events": 16}
    for policy in ("xpfo", "xpfo_deferred"):
        for name, each in values.items():
            expected = simulate(policy=policy, **p | {name: [float(value) for value in each]})
            found = simulate(policy=policy, **p | {name: made(each)})
            for metric in METRICS:
                assert found[metric].tobytes() == expected[metric].tobytes(), (policy, name, metric)


def test_one_value_of_any_kind_is_that_value(parameters):
    p = parameters("i5_3550", jobs=2) | {"window_events": 64, "warmup_events": 16}
    expected = simulate(policy="xpfo", **p | {"invlpg_ns": 90.0, "apic": "flat"})["system_time_s"].tobytes()
    for one in (90, np.float32(90), np.array(90), np.array(90, dtype=">f4"), np.ma.array(90), np.longdouble(90)):
        for apic in ("flat", np.str_("flat"), np.array("flat")):
            found = simulate(policy=np.array("xpfo"), **p | {"invlpg_ns": one, "apic": apic})
            assert found["system_time_s"].tobytes() == expected, (repr(one), repr(apic))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.ma.array([90.0, 91.0], mask=[True, False]), "invlpg_ns: an array with masked values; must be numbers"),
        (np.ma.masked, "invlpg_ns is masked: must be a number"),
        ([90.0, np.ma.masked], "invlpg_ns is masked"),
        (np.ones((2, 1)), "invlpg_ns: an array of 2 dimensions; must be one value, or one per point"),
        ([[90.0], [91.0]], r"invlpg_ns=\[90.0\]: must be a number"),
        ([90.0, [91.0]], r"invlpg_ns=\[91.0\]: must be a number"),
        (np.array([90.0, 91.0], dtype=complex), "invlpg_ns: an array of complex128; must be numbers"),
        (90j, "invlpg_ns=90j: must be a number"),
        (np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]"), "invlpg_ns: an array of datetime64"),
        (np.array([1, 2], dtype="m8[ns]"), "invlpg_ns: an array of timedelta64"),
        (np.array(["90", "91"]), "invlpg_ns: an array of <U2; must be numbers"),
        (["90", "91"], "invlpg_ns='90': must be a number"),
        (b"90", "invlpg_ns=b'90': must be a number"),
        (np.array([True, False]), "invlpg_ns: an array of bool"),
        ([True, 91.0], "invlpg_ns=True: must be a number"),
        (np.array([90.0, "x"], dtype=object), "invlpg_ns='x': must be a number"),
        (np.array([90.0, np.inf]), "invlpg_ns=inf: must be finite"),
        (np.array([90.0, -1.0], dtype=np.float32), "invlpg_ns=-1.0"),
        (np.array([2**63, 1], dtype=np.uint64), "must be at most"),
        (np.array([90.0, 2 * np.longdouble(np.finfo(float).max)]), "invlpg_ns=inf: must be finite"),
        (np.zeros(2, dtype=[("a", float)]), "invlpg_ns: an array of"),
        (np.array([]), "invlpg_ns: 0 values for 1 points"),
        ([], "invlpg_ns: 0 values for 1 points"),
        ({90.0}, "must be a number"),
    ],
)
def test_arrays_that_hold_no_numbers_are_refused(parameters, value, said):
    with pytest.raises(ValueError, match=said):
        simulate(policy="xpfo", **parameters("i5_3550", jobs=2) | {"window_events": 64} | {"invlpg_ns": value})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"policy": 3}, "policy=3: must be a name"),
        ({"policy": np.array([1, 2])}, "must be a name"),
        ({"policy": ["xpfo", None]}, "policy=None: must be a name"),
        ({"apic": 8}, "apic=8: must be one of"),
        ({"accounting": ["tick", True]}, "accounting=True: must be one of"),
        ({"seed": [1, 2]}, "seed: 2 values; must be one value for all points of a call"),
        ({"range_pages": [[[1, [2]]]]}, "weights finite"),
        ({"user_s": 0.0, "base_system_s": 0.0}, "a build takes CPU time"),
        ({"user_s": [1.0, 0.0], "base_system_s": 0.0}, "a build takes CPU time"),
    ],
)
def test_names_and_shared_values_are_checked_as_well(parameters, change, said):
    with pytest.raises(ValueError, match=said):
        simulate(**{"policy": "xpfo"} | parameters("i5_3550", jobs=2) | {"window_events": 64} | change)


def test_a_value_that_an_array_does_not_give_is_the_default(parameters):
    p = parameters("i5_3550", jobs=2) | {"window_events": 64, "warmup_events": 16}
    for name, default in (("threads_per_core", 1), ("precision", 0.0), ("sockets", 1)):
        found = simulate(policy="xpfo", **p | {name: np.array([np.nan])})
        assert found["system_time_s"] == simulate(policy="xpfo", **p | {name: default})["system_time_s"]


def test_a_point_without_events_does_not_disturb_the_others(parameters):
    p = parameters("i5_3550", jobs=4) | {"window_events": 64, "warmup_events": 16, "alloc_events": 0.0}
    together = simulate(policy="xpfo", **p | {"kunmap_events": [0.0, 1e6]})
    for at, events in enumerate((0.0, 1e6)):
        alone = simulate(policy="xpfo", **p | {"kunmap_events": events})
        for name in METRICS:
            assert alone[name][0].tobytes() == together[name][at].tobytes(), name


def test_the_public_face_is_one_function_and_two_tables():
    import sim

    assert sorted(sim.__all__) == ["METRICS", "PARAMETERS", "simulate"]
    assert public is sim.simulate
