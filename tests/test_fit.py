"""The fit: costs that made a curve are recovered from it, and half of a real curve predicts the other half."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from sim import simulate
from sweep.__main__ import main
from sweep.errors import BadInput
from sweep.inputs.catalog import catalog
from sweep.inputs.conf import conf_dir
from sweep.inputs.costs import read
from sweep.inputs.door import admit
from sweep.inputs.measured import FITTED_HERE
from sweep.measure.experiment import FitSettings
from sweep.measure.fit import DRAWS, FIXED, HARDLY, fit, held_out, priors
from sweep.measure.machine import Facts
from sweep.measure.outcome import fit_and_write, of_guest
from sweep.measure.simulate import CROSS, OF_GUEST, experiments, policies
from sweep.measure.topology import topology_here
from tests.conftest import one_request

DATA = Path(__file__).parent / "data"
CONTENT = yaml.safe_load((conf_dir() / "measure" / "default.yaml").read_text())["fit"] | {"window_events": 128}
MACHINE = Facts("a processor", topology_here((0, 1), Path("none")), "Linux 6.1.0 x86_64", None, {}, "tick", 250)
CALLS = ["membarrier", "dontneed"]


def settings(**changes):
    return admit(FitSettings, CONTENT | changes, "fit")


def curves(calls=CALLS):
    """Points as they are measured, without what is measured."""
    rows = [("membarrier", 1, 0, 1000.0, 0)] if "membarrier" in calls else []
    for call in calls:
        for callers, spinners in ((1, 1), (2, 0)) if call == "membarrier" else ((1, 0), (1, 1)):
            for each in (300.0, 1000.0, 3000.0, 30000.0) if call == "membarrier" else (1, 4, 16, 33, 34, 64):
                think, pages = (each, 0) if call == "membarrier" else (20000.0, each)
                rows.append((call, callers, spinners, think, pages))
    points = pd.DataFrame(rows, columns=["call", "callers", "spinners", "think_ns", "pages"])
    return points.assign(asked_think_ns=points["think_ns"])


def measured_of(points, costs, machine=MACHINE):
    """What this machine would have measured, had it these costs."""
    found = experiments(points, [costs], machine, 512)
    return points.assign(
        measured_p50_ns=found["flush_wait_p50_ns"][0],
        measured_p99_ns=found["flush_wait_p99_ns"][0],
        calls_per_s=1e9 / found["flush_interval_ns"][0],
        cal_per_call=found["interrupts_per_flush"][0],
        away_p50_ns=found["away_ns"][0],
        call_count=1000.0,
        away_count=np.where(points["spinners"] > 0, 1000.0, 0.0),
    )


def truth(**changes):
    known = settings()
    costs = {name: float(np.exp(mean)) for name, (mean, _) in priors(known, MACHINE, set(CALLS)).items()}
    costs |= {name: float(known.prior_of(MACHINE).quantities[name].central) for name in FIXED} | changes
    return costs | {name: costs[near] for name, near in CROSS.items()}


def test_costs_that_made_a_curve_are_recovered_from_it():
    changes = {
        "invlpg_ns": 290.0,
        "flush_all_ns": 560.0,
        "irq_entry_ns": 300.0,
        "handler_fixed_ns": 380.0,
        "ipi_latency_ns": 550.0,
    }
    true = truth(**changes | {"dontneed.call_ns": 1500.0, "membarrier.call_ns": 300.0})
    found = fit(measured_of(curves(), true), settings(noise=0.01), MACHINE)
    assert found.table["error_pct"].abs().max() < 10
    assert found.costs["invlpg_ns"].central == pytest.approx(true["invlpg_ns"], rel=0.1)
    assert found.costs["dontneed.call_ns"].central == pytest.approx(true["dontneed.call_ns"], rel=0.2)
    assert found.costs["invlpg_ns"].source == FITTED_HERE
    run = ("irq_entry_ns", "handler_fixed_ns", "irq_exit_ns")  # only their sum shows
    assert sum(found.costs[name].central for name in run) == pytest.approx(sum(true[name] for name in run), rel=0.1)
    inside = [cost.low <= true[name] <= cost.high for name, cost in found.costs.items()]
    assert np.mean(inside) > 0.7  # of intervals that hold 90 % each


def guest(cpus, delivery="exit"):
    return replace(MACHINE, host=topology_here(range(cpus), Path("none")), hypervisor="kvm", delivery=delivery)


def measured_in_a_guest(machine, numbers):
    """Calls to different numbers of targets, in a guest whose hypervisor costs more than its prior says."""
    rows = [("membarrier", 1, machine.host.cpus - 1, think, 0) for think in (5000.0, 50_000.0)]
    rows += [("membarrier", callers, 0, 300_000.0, 0) for callers in numbers]
    points = pd.DataFrame(rows, columns=["call", "callers", "spinners", "think_ns", "pages"])
    known = priors(settings(), machine, {"membarrier"})
    true = {name: float(np.exp(mean)) for name, (mean, _) in known.items()} | {"exit_ns": 2400.0, "deliver_ns": 350.0}
    true |= {name: float(settings().prior_of(machine).quantities[name].central) for name in FIXED}
    true |= {name: true[near] for name, near in CROSS.items()}
    return measured_of(points.assign(asked_think_ns=points["think_ns"]), true, machine)


def test_what_an_exit_costs_is_told_from_the_work_per_target_where_the_number_of_targets_varies():
    machine = guest(48)
    found = fit(measured_in_a_guest(machine, [4, 8, 16, 32]), settings(noise=0.02), machine)
    write = found.costs["exit_ns"].central + found.costs["ipi_send_ns"].central  # only their sum shows
    assert write == pytest.approx(2400.0 + 150.0, rel=0.15)
    assert found.costs["deliver_ns"].source == FITTED_HERE
    assert found.costs["deliver_ns"].central == pytest.approx(350.0, rel=0.1)
    assert [line.partition(":")[0] for line in of_guest(found)] == ["exit_ns", "deliver_ns"]


def test_with_one_target_the_costs_of_the_hypervisor_keep_their_prior_and_the_outcome_says_so():
    machine = guest(2)
    found = fit(measured_in_a_guest(machine, [2]), settings(noise=0.02), machine)
    assert found.table["error_pct"].abs().max() < 10  # the sum is met
    for name in ("exit_ns", "deliver_ns"):
        prior = settings().prior_of(machine).quantities[name]
        assert found.costs[name].source == HARDLY
        assert found.costs[name].central == pytest.approx(prior.central, rel=0.3)
    assert all("still its prior" in line for line in of_guest(found))


def test_only_where_interrupts_leave_the_guest_its_costs_are_fitted():
    for delivery, more in (("apic", set()), (None, set()), ("exit", set(OF_GUEST)), ("hypercall", set(OF_GUEST))):
        known = priors(settings(), guest(2, delivery), set(CALLS))
        assert set(known) - set(priors(settings(), MACHINE, set(CALLS))) == more


def test_what_the_curves_do_not_show_keeps_its_prior():
    found = fit(measured_of(curves(), truth()), settings(), MACHINE)
    scan = settings().prior_of(MACHINE).quantities["mask_scan_ns"]  # small beside the rest of a flush event
    cost = found.costs["mask_scan_ns"]
    assert cost.source == HARDLY
    assert cost.central == pytest.approx(scan.central, rel=0.1)


def test_half_of_a_real_curve_predicts_the_other_half():
    measured = pd.read_csv(DATA / "measured.csv")  # two CPUs of a virtual machine, others busy beside it
    machine = Facts("recorded", topology_here((0, 1), Path("none")), "Linux 6.18.44 x86_64", "kvm", {}, "tick", 250)
    found = fit(measured, settings(), machine)
    predicted = found.table[found.table["used"] == "predicted"]
    assert len(predicted) >= len(found.table) // 2 - 5
    assert predicted["within"].eq("yes").mean() >= 0.9
    assert predicted["error_pct"].abs().median() < 12


def test_every_second_point_of_each_curve_is_held_out():
    points = curves().sample(frac=1.0, random_state=1)
    apart = pd.Series(held_out(points, 2), index=points.index)
    for _, curve in points.groupby(["call", "callers", "spinners"]):
        assert apart[curve.index].sum() == len(curve) // 2
    assert not apart[points["callers"].eq(1) & points["spinners"].eq(0) & points["call"].eq("membarrier")].any()


def test_under_a_hypervisor_interrupts_may_cost_far_more():
    virtual = Facts(**vars(MACHINE) | {"hypervisor": "kvm"})
    bare, wide = (priors(settings(), machine, set(CALLS)) for machine in (MACHINE, virtual))
    assert wide["ipi_latency_ns"][1] == pytest.approx(CONTENT["virtual"] * bare["ipi_latency_ns"][1])
    assert wide["invlpg_ns"] == bare["invlpg_ns"]


def test_the_kernels_release_decides_when_a_shootdown_flushes_here():
    assert policies("5.4.0-150-generic")["munmap"] == "mm_shootdown"
    assert policies("5.13.0-52-generic")["munmap"] == "mm_shootdown_reading"
    assert policies("6.1.0")["munmap"] == "mm_shootdown_concurrent"


def test_the_files_that_are_written_are_swept(tmp_path, capsys):
    measured = measured_of(curves(["membarrier", "dontneed"]), truth())
    virtual = replace(guest(2, "hypercall"), mitigations={"meltdown": "Mitigation: PTI"})
    assert fit_and_write(measured, settings(), virtual, _folder(tmp_path)).table is not None
    assert "points left out of the fit" in capsys.readouterr().out
    text = (tmp_path / "machine" / "this_machine.yaml").read_text()
    for fact in ("a processor", "Linux 6.1.0", "hypervisor: kvm", "about ten times", "meltdown: Mitigation: PTI"):
        assert fact in text
    entry = catalog([tmp_path, conf_dir()])["machine"]["this_machine"]
    assert entry.quantities["cores"].central == 2
    assert entry.quantities["invlpg_ns"].uncertain
    assert entry.quantities["delivery"].central == "hypercall"
    assert entry.quantities["exit_ns"].uncertain
    assert entry.quantities["wake_ns"].source.startswith("prior: ")
    assert {"measured_vs_simulated.csv"} <= {p.name for p in (tmp_path / "measure").iterdir()}
    short = ["runner=serial", "window_events=64", "replicas=1", "quiet=true"]
    for grid in (["+grid=this_machine"], ["+grid=patch", "machine=this_machine"]):
        run = ["--config-dir", str(tmp_path), *grid, *short, f"out={tmp_path / grid[0][6:]}"]
        assert main(run) == 0


def test_the_answer_begins_with_one_broadcast_and_its_parts(tmp_path, capsys):
    fitted = fit_and_write(measured_of(curves(), truth()), settings(), MACHINE, _folder(tmp_path))
    first = capsys.readouterr().out.splitlines()[0]
    calm = fitted.table[(fitted.table["call"] == "membarrier") & (fitted.table["callers"] == 1)]
    calm = calm[calm["spinners"] >= 1].sort_values(["spinners", "think_ns"], ascending=[True, False]).iloc[0]
    assert first.startswith(f"One broadcast to {calm.spinners} other CPU")
    scale = {"ns": 1.0, "us": 1e3}
    measured, simulated, *parts = (float(n) * scale[unit] for n, unit in re.findall(r"([\d.]+) (ns|us)\b", first))
    assert measured == pytest.approx(calm["measured_p50_ns"], rel=0.01)
    assert simulated == pytest.approx(calm["simulated_p50_ns"], rel=0.01)
    assert len(parts) == 4
    assert sum(parts) == pytest.approx(simulated, rel=0.3)  # lines travel besides


def test_draws_of_measured_costs_repeat_the_broadcast_that_was_measured(tmp_path, capsys):
    machine = guest(2, None)  # interrupts may cost far more than their priors say
    true = truth(ipi_send_ns=1500.0, ipi_latency_ns=2500.0, irq_entry_ns=600.0, irq_exit_ns=700.0)
    fitted = fit_and_write(measured_of(curves(), true), settings(), machine, _folder(tmp_path))
    costs = read("this_machine", tmp_path / "costs" / "this_machine.yaml")
    assert len(costs.values) == 1 + DRAWS
    assert costs.stamp["measured_on"] == "this_machine"
    central = fitted.costs["irq_entry_ns"].central
    assert costs.column("this_machine/irq_entry_ns")[0] == pytest.approx(central)
    assert np.std(costs.column("any/request_lines")) == 0  # what the fit took as known
    spread = {}
    for name in ("this_machine", "literature"):  # the same intervals, each cost by itself
        words = ["--config-dir", str(tmp_path), "+grid=this_machine", "policy=smp_call_function_many"]
        words += ["workload=one_shooter", f"costs={name}", "draws=32", "window_events=64", "replicas=1"]
        assert main([*words, "runner=serial", "quiet=true", f"out={tmp_path / name}"]) == 0
        results = pd.read_parquet(tmp_path / name / "results.parquet")
        low, high = results.loc[results["draw"] > 0, "flush_wait_p50_ns"].quantile([0.05, 0.95])
        spread[name] = high / low
        assert main(["tables", str(tmp_path / name)]) == 0
        said = capsys.readouterr().out
        assert "smp_call_function_many" in said
        assert "was fitted: " not in said  # the machine was measured, whichever costs are used
    assert main(["report", str(tmp_path / "this_machine"), "--no-plots"]) == 0
    assert "fitted to measurements of `sweep measure`" in (tmp_path / "this_machine" / "report.html").read_text()
    assert spread["this_machine"] < 1.5
    assert np.log(spread["literature"]) > 2 * np.log(spread["this_machine"])


def _folder(own):
    (own / "measure").mkdir()
    return own


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": "xeon_8610"}, "prior='xeon_8610': no such machine; did you mean 'xeon_8160'?"),
        ({"guest_prior": "xeon_8160"}, "guest_prior='xeon_8160': has no interval of exit_ns; give a guest's machine"),
        ({"held_out": 1}, "held_out=1: must be a whole number from 2 to 100"),
        ({"nosie": 1}, "unknown key 'nosie'; did you mean 'noise'?"),
        ({"calls": {"mlock": {}}}, "calls.mlock='mlock': must be membarrier, dontneed"),
        ({"calls": {"membarrier": {"call_ns": {"low": 9, "central": 5, "high": 7}}}}, "needs low < central < high"),
    ],
)
def test_wrong_settings_are_named(changes, message):
    with pytest.raises(BadInput) as raised:
        settings(**changes)
    assert message in str(raised.value)


def test_under_a_mutex_two_callers_without_think_time_take_turns(parameters):
    p = parameters("i5_3550", cores=2, jobs=2, senders=2, alloc_events=0.0, think_ns=1.0, window_events=320)
    alone = simulate(policy="membarrier", **p | {"senders": 1})["flush_wait_p50_ns"]
    both = simulate(policy="membarrier", **p)["flush_wait_p50_ns"]
    own = p["kunmap_bookkeeping_ns"]  # made while the other holds the mutex
    assert both == pytest.approx(2 * alone - own, rel=0.1)


def test_an_own_flush_first_costs_its_length_and_a_concurrent_one_nothing(parameters):
    p = parameters("i5_3550", cores=2, jobs=2, senders=1, kunmap_events=0.0, range_pages={8: 1}, window_events=320)
    p["think_ns"] = 1e6
    first, meanwhile = (
        simulate(policy=name, **p)["flush_wait_p50_ns"] for name in ("mm_shootdown", "mm_shootdown_concurrent")
    )
    local = p["flush_fixed_ns"] + 8 * p["invlpg_ns"]
    each = one_request(p)
    handler = p["irq_entry_ns"] + each.take + each.handle + p["line_socket_ns"] + local  # it reads the generation
    told = (
        p["alloc_bookkeeping_ns"]
        + p["line_hit_ns"]
        + p["mask_scan_ns"]
        + each.enqueue
        + p["ipi_send_ns"]
        + p["ipi_latency_ns"]
        + each.ack
    )
    # both count the generation up; the own flush reads it, as the handler does from afar
    assert first == pytest.approx(told + handler + local + p["line_hit_ns"], rel=1e-6)
    # the handler ends after the own flush, which costs nothing then
    assert meanwhile == pytest.approx(told + handler, rel=1e-6)
