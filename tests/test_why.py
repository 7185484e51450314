"""What is saturated, and which costs matter: against rates and shares that are known otherwise."""

import numpy as np
import pandas as pd
import pytest

import sweep
from sweep.__main__ import main
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables.why import RESOURCES, influence, saturation

QUICK = {"window_events": 1024, "replicas": 1, "seed": 3}


def used(**point):
    """The row of one point."""
    rows = saturation(sweep.simulate(**{**QUICK, **point}))
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_fabric_is_in_use_all_of_the_time_where_many_send_and_in_proportion_where_few_do():
    many = used(policy="xpfo_broadcast", machine="epyc_milan_2s", workload="guest_memfd", cores=128, jobs=128)
    assert many["fabric"] == pytest.approx(1.0, abs=0.02)
    assert 1.0 - many["sending"] < 0.02
    few = used(policy="xpfo_broadcast", machine="epyc_milan_2s", workload="kernel_ranges", rate_per_s=1000.0, senders=1)
    assert few["fabric"] == pytest.approx(1000.0 * 610e-9, rel=0.1)  # 600 ns and 10 a page
    assert few["sending"] < 0.01


def test_no_resource_has_the_name_of_a_parameter():
    assert set(RESOURCES).isdisjoint(PARAMETER_COLUMNS)  # both are columns of a table


def test_a_lock_that_everybody_takes_is_saturated_and_one_that_few_take_is_not():
    loop = {"policy": "mm_shootdown", "machine": "xeon_8160", "workload": "tlb_flush1", "cores": 96}
    alone, many = (used(**loop, jobs=jobs) for jobs in (1, 48))
    measured = sweep.simulate(**QUICK, **loop, jobs=1)["lock_share"].iloc[0]  # of its time, and nobody else waits
    assert alone["lock"] == pytest.approx(measured, rel=0.05)
    assert alone["lock"] < many["lock"] <= 1.0


def test_time_that_is_not_compute_is_in_flush_events_or_in_handlers():
    loop = {"policy": "mm_shootdown", "machine": "skylake_56", "workload": "shootdown_loop", "cores": 56, "jobs": 8}
    row, rows = used(**loop), sweep.simulate(**QUICK, **loop)
    overhead = float(rows["overhead_share"].iloc[0])
    assert max(row["sending"], row["handlers"]) < overhead < row["sending"] + row["handlers"]  # a sender serves others


def test_the_line_of_the_pending_bits_is_used_in_proportion_to_a_low_rate():
    loop = {"policy": "xpfo_deferred", "machine": "xeon_8160", "workload": "kernel_ranges", "senders": 8, "jobs": 96}
    slow, fast = (used(**loop, rate_per_s=rate) for rate in (0.5, 5.0))  # every CPU switches between two flush events
    assert fast["mask_line"] == pytest.approx(10 * slow["mask_line"], rel=0.1)
    assert "queue_line" not in slow


def test_the_cost_that_a_result_follows_explains_its_variance():
    rng = np.random.default_rng(0)
    draws = 200
    flush, other = rng.lognormal(0, 0.3, draws), rng.lognormal(0, 0.3, draws)
    rows = pd.DataFrame({
        "point": np.arange(draws + 1), "draw": np.arange(draws + 1), "replica": 0, "policy": "xpfo_deferred",
        "machine": "xeon_8160", "workload": "kernel_build", "cores": 96.0, "jobs": 60.0,
        "flush_fixed_ns": np.append(1.0, flush), "invlpg_ns": np.append(1.0, other),
        "broadcast_ns": np.append(1.0, flush),
        "added_s": np.append(1.0, flush**2 * other), "overhead_ns_per_operation": np.nan,
    })  # fmt: skip
    rows = rows.assign(**{name: 1.0 for name in PARAMETER_COLUMNS if name not in rows})
    rows.attrs["coordinates"] = {"names": [], "follows": {}, "relative": {}}
    found = influence(rows).set_index("cost")["share"]
    assert found["flush_fixed_ns"] == pytest.approx(0.8, abs=0.08)  # 2**2 parts of 5
    assert found["invlpg_ns"] == pytest.approx(0.2, abs=0.08)
    assert "broadcast_ns" not in found  # the policy does not read it


def test_a_run_says_what_is_saturated_and_which_costs_matter(sweep_in, capsys):
    folder = sweep_in("+grid=why", "policy=xpfo_deferred", "draws=40", "window_events=128", "precision=0", "cores=16")
    said = (folder / "tables" / "answer.txt").read_text()
    assert "xpfo_deferred mostly uses" in said
    assert "The cost of xpfo_deferred varies most with" in said
    assert main(["why", str(folder)]) == 0
    assert capsys.readouterr().out.startswith(said.splitlines()[0])
    table = pd.read_csv(folder / "tables" / "influence.csv")
    assert (table["share"].diff().dropna() <= 0).all()
    assert table["share"].between(0, 1).all()


def test_a_run_without_draws_says_how_to_learn_which_costs_matter(sweep_in, capsys):
    folder = sweep_in("+grid=point", "policy=xpfo", "window_events=128", "replicas=1", "cores=8")
    capsys.readouterr()
    assert main(["why", str(folder)]) == 0
    assert "A run with 32 draws or more (draws=64) also shows the costs that matter." in capsys.readouterr().out
    assert (folder / "tables" / "saturation.csv").is_file()


def test_a_policy_without_any_use_and_a_run_without_flush_events_have_a_sentence(sweep_in, capsys):
    small = ("window_events=64", "replicas=1", "cores=8", "jobs=8")
    nothing = sweep_in("+grid=point", "policy=vanilla", "draws=32", *small, "machine=i5_3550")
    free = sweep_in(
        "+grid=point", "workload=guest_memfd", "policy=[xpfo_no_flush,xpfo]", "machine=epyc_milan_2s", *small,
        "sockets=2",
    )  # fmt: skip
    capsys.readouterr()
    assert main(["why", str(nothing)]) == 0
    assert "No policy of this run makes flush events" in capsys.readouterr().out
    assert main(["why", str(free)]) == 0
    assert "xpfo_no_flush uses none and xpfo mostly uses" in capsys.readouterr().out
