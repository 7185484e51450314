"""Every policy file, found by its name: what holds by reasoning."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sim import policies, simulate
from sim.notes import Rates, pending
from sim.parameters import PARAMETERS
from sim.policies import policy_module, policy_names, reads

NAMES = policy_names()
SHORT = {"window_events": 640, "warmup_events": 256, "replicas": 2}
HARDWARE = {"broadcast_ns": 600.0, "broadcast_page_ns": 10.0, "broadcast_all_ns": 900.0}
DEFERRED = [name for name in NAMES if policy_module(name).flush().post is not None]


def test_the_policies_of_the_model_are_there():
    assert set(NAMES) >= set(
        "vanilla xpfo_no_flush xpfo xpfo_deferred xpfo_deferred_per_task xpfo_deferred_generation xpfo_deferred_percpu "
        "xpfo_deferred_bounded xpfo_kernel_entry xpfo_batched xpfo_deferred_batched xpfo_stay_unmapped xpfo_skip_idle "
        "xpfo_concurrent xpfo_early_ack xpfo_coalesced xpfo_broadcast".split()
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_says_its_source_guarantee_exposure_and_context(name):
    text = policy_module(name).__doc__ or ""
    assert text.splitlines()[0].endswith(".")
    for heading in ("C:", "Return:", "Stale:", "Legal:"):
        assert heading in text, heading
    path = Path(policy_module(name).__file__ or "")
    assert len(path.read_text().splitlines()) <= 45
    imported = [node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    assert set(imported) <= {"sim.abi", "dataclasses"}  # it never queues, prices or draws


@pytest.mark.parametrize("name", NAMES)
def test_with_one_core_no_policy_interrupts(name, parameters):
    result = simulate(policy=name, **parameters("i5_3550", cores=1, jobs=1) | HARDWARE | SHORT)
    assert not np.nan_to_num(result["interrupts_per_flush"]).any()
    assert not result["handler_share"].any()
    assert np.isfinite(result["system_time_s"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_cpu_is_in_one_place_at_a_time(name, parameters):
    for think in (300.0, 3e4):
        p = parameters("xeon_8160", cores=16, jobs=16, think_ns=think) | HARDWARE | SHORT
        r = simulate(policy=name, **p)
        if name == "vanilla":
            continue
        assert (r["flush_wait_ns"] < 16 * r["flush_interval_ns"] * 1.001).all()
        assert (r["handler_share"] < 1.0).all()


@pytest.mark.parametrize("name", NAMES)
def test_reads_are_exactly_what_changes_or_refuses(name, parameters):
    assert set(reads(policy_module(name))) <= set(PARAMETERS)
    everything = parameters("xeon_8160", jobs=60) | HARDWARE
    needed = {key: everything[key] for key in everything if key in reads(policy_module(name))}
    assert np.isfinite(simulate(policy=name, **needed | SHORT)["system_time_s"]).all()


def test_no_flush_deferral_and_broadcast_are_ordered(parameters):
    for machine, cores, jobs in [("i5_3550", 2, 2), ("i5_3550", 4, 4), ("xeon_8160", 96, 60)]:
        p = parameters(machine, cores=cores, jobs=jobs) | SHORT
        for deferred in ("xpfo_deferred", "xpfo_deferred_generation", "xpfo_deferred_per_task"):
            order = [simulate(policy=x, **p)["system_time_s"].mean() for x in ("xpfo_no_flush", deferred, "xpfo")]
            assert order == sorted(order), (deferred, cores)


def test_only_the_plain_global_mask_loses_posts(parameters):
    p = parameters("xeon_8160", jobs=60, think_ns=2000.0) | SHORT
    lost = {name: simulate(policy=name, **p)["lost_posts"].mean() for name in DEFERRED}
    assert lost["xpfo_deferred"] > 0
    assert lost["xpfo_deferred_generation"] == lost["xpfo_deferred_percpu"] == lost["xpfo_deferred_per_task"] == 0
    assert not simulate(policy="xpfo_deferred", **p | {"jobs": 1})["lost_posts"].any()


def test_a_bounded_deferrals_window_never_passes_one_tick(parameters):
    for hz in (100.0, 250.0, 1000.0):
        r = simulate(policy="xpfo_deferred_bounded", **parameters(jobs=60, tick_hz=hz) | SHORT)
        assert (r["stale_window_p99_ns"] <= 1e9 / hz).all()
        assert (r["stale_window_ns"] <= 0.5e9 / hz).all()


def test_a_broadcast_leaves_nothing_stale_for_longer_than_it_takes(parameters):
    p = parameters("xeon_8160", jobs=60) | SHORT
    for name in ("xpfo", "xpfo_concurrent", "xpfo_skip_idle"):
        r = simulate(policy=name, **p)
        assert (r["stale_window_ns"] <= r["flush_wait_ns"]).all()
    early = simulate(policy="xpfo_early_ack", **parameters("i5_3550", jobs=4) | SHORT)
    full = simulate(policy="xpfo", **parameters("i5_3550", jobs=4) | SHORT)
    assert (early["flush_wait_ns"] < full["flush_wait_ns"]).all()


def test_without_any_flush_the_window_is_endless(parameters):
    assert np.isinf(simulate(policy="xpfo_no_flush", **parameters(jobs=60) | SHORT)["stale_window_ns"]).all()


def test_littles_law_ties_posts_window_and_outstanding(parameters):
    for name in ("xpfo_deferred", "xpfo_kernel_entry", "xpfo"):
        r = simulate(policy=name, **parameters("i5_3550", jobs=4) | SHORT)
        rate = (1 - 1 / 4) / r["flush_interval_ns"]
        assert r["outstanding_posts"] == pytest.approx(rate * r["stale_window_ns"])


@pytest.mark.parametrize(
    "rates",
    [
        Rates(switches=130, switch_cv2=1.0, ticks=0, others=0, posts=5e3, own_full=0),
        Rates(switches=130, switch_cv2=4.0, ticks=0, others=0, posts=300.0, own_full=0),
        Rates(switches=130, switch_cv2=4.0, ticks=250, others=0, posts=5e3, own_full=0),
        Rates(switches=60, switch_cv2=1.0, ticks=0, others=0, posts=2e3, own_full=40.0),
    ],
    ids=["exponential", "bursty, rarely posted", "with ticks", "with own full flushes"],
)
def test_the_slow_scale_equals_a_plain_simulation_of_posts_and_looks(rates):
    """Posts, looks and flushes of one CPU, event by event: everything is measured, nothing derived."""
    rng = np.random.default_rng(7)
    horizon = 400.0
    short = 0.5 * (1 + np.sqrt((rates.switch_cv2 - 1) / (rates.switch_cv2 + 1)))
    count = int(rates.switches * horizon * 1.3)
    phase = np.where(rng.random(count) < short, short, 1 - short)
    looks = np.cumsum(rng.exponential(size=count) / (2 * rates.switches * phase))
    looks = np.concatenate([looks, np.arange(0.5 / 250, horizon, 1 / rates.ticks) if rates.ticks else []])
    posts = np.sort(rng.random(rng.poisson(rates.posts * horizon)) * horizon)
    own = rng.random(rng.poisson(rates.own_full * horizon)) * horizon
    looks = np.sort(looks[looks < horizon])
    before = np.searchsorted(posts, looks)  # posts before each look
    found = np.diff(before, prepend=0) > 0
    flushes = np.sort(np.concatenate([looks[found], own]))
    honoured = np.searchsorted(flushes, posts)
    inside = honoured < len(flushes)
    windows = flushes[honoured[inside]] - posts[inside]
    first_after = np.searchsorted(posts, np.concatenate([[0.0], looks[:-1]]))
    unset = np.minimum(posts[np.minimum(first_after, len(posts) - 1)], looks) - np.concatenate([[0.0], looks[:-1]])

    runs = [pending(rates, 3, replica) for replica in range(40)]

    def mean(name):
        return np.mean([getattr(run, name) for run in runs])

    assert mean("window_ns") == pytest.approx(windows.mean() * 1e9, rel=0.06)
    assert mean("window_p50_ns") == pytest.approx(np.quantile(windows, 0.5) * 1e9, rel=0.06)
    assert mean("window_p99_ns") == pytest.approx(np.quantile(windows, 0.99) * 1e9, rel=0.12)
    assert mean("pending_share") == pytest.approx(1 - unset.sum() / horizon, abs=0.01)
    assert mean("flushes_per_s") == pytest.approx(found.sum() / horizon, rel=0.05)
    assert mean("posts_per_flush") == pytest.approx(len(posts) / found.sum(), rel=0.06)
    outstanding = windows.sum() / horizon  # the area under posts not yet honoured, over time
    assert rates.posts * mean("window_ns") * 1e-9 == pytest.approx(outstanding, rel=0.06)


def test_more_jobs_than_cpus_add_time_slice_switches(parameters):
    p = parameters("i5_3550", timeslice_ms=3.0) | SHORT
    fit, over = (simulate(policy="xpfo_deferred", **p | {"jobs": jobs}) for jobs in (4, 8))
    assert (over["switch_s"] > 2 * fit["switch_s"]).all()
    assert (over["stale_window_ns"] < fit["stale_window_ns"]).all()


def test_kernel_entries_saturate_the_line_at_256_cpus(parameters):
    p = parameters("xeon_8160", cores=256, jobs=256, sockets=4) | SHORT
    few, many = (simulate(policy="xpfo_kernel_entry", **p | {"kernel_entries_per_s": r}) for r in (600.0, 60_000.0))
    demand = 256 * 60_000 * 134e-9  # accesses a second times a far line's transfer: more than one line can serve
    assert demand > 1.5
    assert (many["flush_wait_ns"] > 5 * few["flush_wait_ns"]).all()
    assert (many["system_time_s"] > 5 * few["system_time_s"]).all()


def test_counters_are_the_kernels_for_a_broadcast_and_for_a_note(parameters):
    p = parameters("i5_3550", jobs=4, range_pages={1: 1}) | SHORT
    events = p["kunmap_events"] + p["alloc_events"]
    sync = simulate(policy="xpfo", **p)
    assert sync["nr_tlb_local_flush_one"] == pytest.approx(4 * events)  # every CPU flushes the page, sender included
    assert not sync["nr_tlb_remote_flush_received"].any()
    full = simulate(policy="xpfo", **p | {"ceiling": 0})
    assert full["nr_tlb_remote_flush_received"] == pytest.approx(4 * events)
    deferred = simulate(policy="xpfo_deferred", **p)
    assert deferred["nr_tlb_local_flush_one"] == pytest.approx(events)
    busy_s = 4 * events * deferred["flush_interval_ns"] * 1e-9
    assert (deferred["nr_tlb_remote_flush_received"] < 130 * busy_s).all()
    assert (deferred["nr_tlb_remote_flush_received"] > 120 * busy_s).all()


def test_batching_and_staying_unmapped_change_the_events(parameters):
    p = parameters("i5_3550", jobs=4, range_pages={1: 1}, pcp_refill_share=1.0, pcp_batch=31) | SHORT
    plain, batched = (simulate(policy=x, **p) for x in ("xpfo_no_flush", "xpfo_batched"))
    full = batched["nr_tlb_remote_flush_received"] / 4
    assert full == pytest.approx(p["alloc_events"] / 31)
    stay = simulate(policy="xpfo_stay_unmapped", **p | {"ownership_change_share": 0.0})
    assert stay["nr_tlb_local_flush_one"] == pytest.approx(p["kunmap_events"])
    assert plain["bookkeeping_s"].mean() > stay["bookkeeping_s"].mean()


MINE = '''
"""Flush here, tell nobody.

C:       nowhere
Return:  this CPU is clean.
Stale:   everybody else, for ever.
Legal:   anywhere.
"""

from sim.abi import Flush, Own


def flush() -> Flush:
    return Flush(own=Own.BEFORE)
'''


def test_a_users_own_folder_of_policies_works(tmp_path, sweep_in, monkeypatch, capsys):
    from sweep.__main__ import main

    monkeypatch.setattr(policies, "__path__", list(policies.__path__))
    (tmp_path / "xpfo_mine.py").write_text(MINE)
    assert main(["+grid=smoke", "policy=xpfo_mine", f"out={tmp_path}/no"]) == 2
    assert "no such policy" in capsys.readouterr().err
    folder = sweep_in("+grid=smoke", f"policy_path={tmp_path}", "policy=[xpfo_mine,xpfo_deferred]", "window_events=320")
    results = pd.read_parquet(folder / "results.parquet").groupby("policy")["system_time_s"].mean()
    assert results["xpfo_mine"] < results["xpfo_deferred"]
    (tmp_path / "xpfo_broken.py").write_text("def flush(): return 1 / 0\n")
    assert main(["+grid=smoke", f"policy_path={tmp_path}", "policy=xpfo_broken"]) == 2
    assert "its file does not work: ZeroDivisionError" in capsys.readouterr().err
    assert main(["+grid=smoke", f"policy_path={tmp_path}/nowhere"]) == 2
    assert "no such folder" in capsys.readouterr().err
