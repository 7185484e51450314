"""Draws of the uncertain costs: their distribution, whose they are, and the costs that are kept by name."""

import numpy as np
import pytest
import yaml
from scipy.stats import kstest, norm

from sweep.errors import BadInput
from sweep.inputs.catalog import Quantity, catalog
from sweep.inputs.conf import conf_dir
from sweep.inputs.costs import LITERATURE, literature, posterior, priors, read, stored
from sweep.inputs.measured import published
from sweep.inputs.prior import quantile, sobol
from sweep.plan.composition import Composition
from sweep.plan.open import open_plan

ENTRIES = catalog([conf_dir()])
DEFAULTS = {"policy": "xpfo", "machine": "xeon_8160", "workload": "kernel_build", "jobs": 4, "window_events": 64}


def known(*machines, workload="kernel_build"):
    return priors([ENTRIES["machine"][each] for each in machines], [ENTRIES["workload"][workload]])


def plan_of(**content):
    defaults = DEFAULTS | {"seed": 0, "replicas": 1, "precision": 0.0}
    kept = stored([conf_dir()])
    return open_plan(Composition("t", "", content, {}, defaults, ENTRIES["machine"], ENTRIES["workload"], kept))


def test_low_central_and_high_are_the_5th_50th_and_95th_percentile():
    quantity = Quantity(central=150.0, low=60.0, high=300.0)
    at = quantile("m/ipi_send_ns", quantity, np.array([0.05, 0.5, 0.95]))
    assert at.tolist() == pytest.approx([60.0, 150.0, 300.0])
    below = quantile("m/ipi_send_ns", quantity, np.array([0.2, 0.3])) / 150.0
    assert np.log(below[0]) / np.log(below[1]) == pytest.approx(0.8416 / 0.5244, rel=1e-3)  # normal in the logarithm


def test_a_hard_bound_cuts_the_distribution_off_and_piles_nothing_up():
    events = known("xeon_8160")["kernel_build/kunmap_events"]
    drawn = quantile("kernel_build/kunmap_events", events, np.linspace(1e-6, 1 - 1e-6, 100_001))
    assert drawn.max() <= 480.1e6
    assert (drawn > 480.0e6).mean() < 0.002
    assert (np.diff(drawn) > 0).all()


def test_zero_as_an_end_is_linear_and_two_names_keep_their_share():
    page = Quantity(central=10.0, low=0.0, high=50.0)
    low, quarter, most = quantile("m/broadcast_page_ns", page, np.array([1e-9, 0.25, 1 - 1e-9]))
    assert low == pytest.approx(0.0, abs=1e-6)  # its 5th percentile is its hard bound: what lies below is cut off
    assert quarter == pytest.approx(10 * (1 + norm.ppf(0.05 + 0.95 * 0.25) / norm.ppf(0.95)))
    assert most > 50
    drawn = literature(known("xeon_8160"), 4096, 0).column("any/accounting")[1:]
    assert (drawn == 0).mean() == pytest.approx(0.6, abs=0.002)


def test_machines_are_independent_and_share_the_workload():
    plan = plan_of(machine=["xeon_8160", "i5_3550"], costs=LITERATURE, draws=1000)
    columns = plan.columns(0, len(plan))
    xeon, desktop = (columns["machine"] == name for name in ("xeon_8160", "i5_3550"))
    for name in ("kunmap_events", "serial_share", "tick_hz"):
        assert columns[name][xeon].tolist() == columns[name][desktop].tolist()
    drawn = columns["draw"][xeon] > 0
    for name in ("handler_fixed_ns", "refill_ns"):
        together = np.corrcoef(np.log(columns[name][xeon][drawn]), np.log(columns[name][desktop][drawn]))[0, 1]
        assert abs(together) < 0.1
    assert set(columns["accounting"]) == {"tick", "irq_time"}


def test_the_first_draw_of_literature_is_the_central_values():
    drawn, plain = plan_of(costs=LITERATURE, draws=3), plan_of(costs=LITERATURE)
    columns, central = drawn.columns(0, 4), plain.columns(0, 1)
    assert columns["draw"].tolist() == [0, 1, 2, 3]
    for name, column in central.items():
        assert columns[name][0] == column[0] or (column[0] != column[0] and columns[name][0] != columns[name][0])
    assert len(set(columns["invlpg_ns"])) == 4


def test_what_a_machine_takes_over_is_drawn_together_with_where_it_comes_from():
    keys = set(known("xeon_8s"))
    assert "skylake core/handler_fixed_ns" in keys
    assert "xeon_8s/line_cross_ns" in keys
    plan = plan_of(machine=["xeon_8160", "xeon_8s"], costs="calibrated", draws=8)
    columns = plan.columns(0, len(plan))
    old, new = (columns["machine"] == name for name in ("xeon_8160", "xeon_8s"))
    assert columns["handler_fixed_ns"][old].tolist() == columns["handler_fixed_ns"][new].tolist()
    assert columns["line_cross_ns"][old].tolist() != columns["line_cross_ns"][new].tolist()


def test_a_value_that_is_given_is_not_drawn():
    plan = plan_of(costs=LITERATURE, draws=8, ipi_latency_ns=[100, 200])
    columns = plan.columns(0, len(plan))
    assert set(columns["ipi_latency_ns"]) == {100.0, 200.0}
    assert len(set(columns["refill_ns"])) == 9


def test_draws_change_the_hash_and_more_than_there_are_is_refused():
    assert plan_of(costs="calibrated").hash != plan_of(costs=LITERATURE).hash
    assert plan_of(costs="calibrated", draws=2).hash != plan_of(costs="calibrated").hash
    with pytest.raises(BadInput, match="draws=600: must be at most 512 with costs=calibrated"):
        plan_of(costs="calibrated", draws=600)
    with pytest.raises(BadInput, match="draws=-1: must be a whole number from 0"):
        plan_of(draws=-1)
    with pytest.raises(BadInput, match="costs='calibratd': no such costs; did you mean 'calibrated'"):
        plan_of(costs="calibratd")


def test_the_sequence_fills_every_dimension_evenly():
    points = sobol(61, 1024, 3)
    for column in points.T:
        counts = np.histogram(column, bins=64, range=(0, 1))[0]
        assert set(counts) == {16}
    assert kstest(points[:, 0], "uniform").pvalue > 0.05
    assert not np.isin(points[:, 0], sobol(61, 1024, 4)[:, 0]).any()  # another seed, other points
    assert (points[:100] == sobol(61, 100, 3)).all()  # more draws begin with the same ones


def test_the_committed_costs_are_whole_and_fitted_to_the_marked_rows(tmp_path):
    path = conf_dir() / "costs" / "calibrated.yaml"
    costs = read(path.stem, path)
    assert len(costs.values) == 1 + costs.stamp["draws"]
    builds = published().builds.query("fitted == 'yes'")
    calls = [row for table in published().tables for row in table.rows if row.role == "fitted"]
    assert len(costs.stamp["fitted_on"]) == len(builds) + len(calls)
    for said, (_, row) in zip(costs.stamp["fitted_on"], builds.iterrows(), strict=False):
        assert f"{row['policy']} on {row['machine']}" in said
        assert f"{row['measured_s']} s on {row['vanilla_s']} s" in said
    for said, call in zip(costs.stamp["fitted_on"][len(builds) :], calls, strict=True):
        assert f"{call.point['policy']} on {call.point['machine']}" in said
        assert said.endswith(f" {call.measured:g} ns")
    guest, call = ENTRIES["machine"]["skylake_guest_80"], ENTRIES["workload"]["one_shooter"]
    of_calls = priors([guest], [call], ["exit_ns", "deliver_ns", "wake_send_ns", "wake_ns"])
    checks = priors([ENTRIES["machine"]["xeon_8160"]], [call], ["isolated_switches_per_s"])  # what deferrals read, too
    assert set(costs.keys) == {*known("xeon_8160", "i5_3550"), *of_calls, *checks}
    owner, name = "skylake core", "handler_fixed_ns"
    assert costs.column(f"{owner}/{name}")[0] == pytest.approx(costs.stamp["representative"][owner][name], rel=1e-3)
    content = yaml.safe_load(path.read_text()) | {"digest": "0"}
    (tmp_path / "calibrated.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "calibrated.parquet").write_bytes(path.with_suffix(".parquet").read_bytes())
    with pytest.raises(BadInput, match=r"calibrated\.parquet must have the digest in calibrated\.yaml"):
        read("calibrated", tmp_path / "calibrated.yaml")


def test_what_a_posterior_does_not_speak_of_keeps_its_prior():
    kept = stored([conf_dir()])["calibrated"]
    wanted = known("epyc_milan_2s")
    costs = posterior(kept, wanted, 64, 0)
    fresh = costs.column("zen3 core/broadcast_ns")
    assert fresh[0] == wanted["zen3 core/broadcast_ns"].central
    assert np.median(fresh[1:]) == pytest.approx(600.0, rel=0.05)
    key = "any/queue_lines"  # the kernel's, which was fitted on other machines
    assert costs.column(key).tolist() == kept.column(key)[:65].tolist()


def test_a_cost_that_few_policies_read_moves_no_draw_of_a_sweep_that_does_not():
    machines, workloads = [ENTRIES["machine"]["xeon_8160"]], [ENTRIES["workload"]["kernel_build"]]
    without, among = priors(machines, workloads), priors(machines, workloads, {"flush_mm_ns"})
    assert set(among) - set(without) == {"skylake core/flush_mm_ns"}
    guest = [ENTRIES["machine"]["kvm_guest"]]
    without, among = priors(guest, workloads), priors(guest, workloads, {"exit_ns", "wake_ns", "preempted_ns"})
    assert set(without) == set(priors(machines, workloads))
    assert set(among) - set(without) == {"skylake_guest_80/exit_ns", "skylake_guest_80/wake_ns"}


@pytest.mark.parametrize("more", [{}, {"draws": 4}])
def test_a_machine_applies_its_clock_to_a_cost_once_and_not_to_one_that_is_given(more):
    """invlpg_ns is 85 ns of the core of a machine whose clock_scale is 1.16."""
    asked = {"policy": "xpfo", "machine": "e5_2697_v2", "costs": "literature", "workload": "kernel_build", **more}
    assert plan_of(**asked).columns(0, 1)["invlpg_ns"][0] == pytest.approx(98.6)
    assert plan_of(**asked, invlpg_ns=100.0).columns(0, 1)["invlpg_ns"][0] == 100.0
    assert plan_of(**asked, clock_scale=0.5).columns(0, 1)["invlpg_ns"][0] == pytest.approx(42.5)
