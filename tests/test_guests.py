"""Interrupts from a guest, and CPUs that cannot take them: laws that hold by reasoning, by every request."""

from itertools import pairwise

import numpy as np
import pytest

from sim import METRICS, simulate
from sim.draws import HELD, HOLD, stream
from sim.machine.compiled.cache import has_compiler
from sim.policies import Policies
from tests.conftest import one_request

TOLD = [name for name in Policies() if Policies()[name].targets.interrupts]
SHORT = {"window_events": 320, "warmup_events": 128, "replicas": 2}
GUEST = {"exit_ns": 1500.0, "deliver_ns": 120.0, "receive_exit_ns": 900.0, "wake_ns": 4000.0}
CORES = 24 if has_compiler() else 6


def busy_guest(parameters, **changes):
    """Three quarters of the CPUs flush, often enough to be in each other's way."""
    return parameters("xeon_8160", cores=CORES, jobs=CORES * 3 // 4, think_ns=20_000.0) | SHORT | changes


def assert_same_bits(one, other):
    for metric in METRICS:
        assert one[metric].tobytes() == other[metric].tobytes(), metric


@pytest.mark.parametrize("policy", TOLD)
def test_without_exit_costs_a_guest_is_bare_metal_bit_by_bit(policy, parameters):
    p = busy_guest(parameters)
    metal = simulate(policy=policy, **p)
    assert_same_bits(simulate(policy=policy, **p | {"delivery": "exit"}), metal)
    assert_same_bits(simulate(policy=policy, **p | {"delivery": "exit"} | dict.fromkeys(GUEST, 0.0)), metal)
    posted = GUEST | {"receive_exit_ns": 0.0}
    assert_same_bits(simulate(policy=policy, **p | posted), metal)  # delivery=apic: nothing leaves the guest


def test_a_hypercall_reaches_as_many_as_one_write_that_reaches_all(parameters):
    p = busy_guest(parameters, cores=8, jobs=6)
    flat = simulate(policy="xpfo", **p | GUEST | {"apic": "flat", "delivery": "exit"})
    hypercall = simulate(policy="xpfo", **p | GUEST | {"delivery": "hypercall"})
    assert_same_bits(hypercall, flat)
    one_by_one = simulate(policy="xpfo", **p | GUEST | {"apic": "physical", "delivery": "exit"})
    assert (one_by_one["flush_wait_ns"] > flat["flush_wait_ns"] + 3 * GUEST["exit_ns"]).all()


def test_by_hand_a_flush_event_alone_waits_for_the_last_target_of_its_hypercall(parameters):
    p = parameters("i5_3550", cores=4, jobs=1, range_pages={1: 1}, alloc_events=0.0, think_ns=1e9)
    p |= GUEST | {"delivery": "hypercall", "window_events": 64, "warmup_events": 8}
    local = p["flush_fixed_ns"] + p["invlpg_ns"]
    each = one_request(p)
    sent = p["kunmap_bookkeeping_ns"] + p["mask_scan_ns"] + 3 * each.enqueue + p["ipi_send_ns"] + p["exit_ns"]
    taken = sent + 3 * p["deliver_ns"] + p["ipi_latency_ns"] + p["wake_ns"] + p["receive_exit_ns"] + p["irq_entry_ns"]
    done = taken + each.take + each.handle + local + each.ack
    assert simulate(policy="xpfo", **p)["flush_wait_ns"] == pytest.approx(done + local, rel=1e-6)
    with_idle_exit = simulate(policy="xpfo", **p | {"wake_ns": 0.0})["flush_wait_ns"]  # none has left
    assert with_idle_exit == pytest.approx(done + local - p["wake_ns"] + p["idle_exit_ns"], rel=1e-6)


def test_a_call_to_all_others_is_the_broadcast_of_xpfo_where_a_flush_costs_nothing(parameters):
    p = busy_guest(parameters, delivery="exit") | GUEST
    free = dict.fromkeys(("flush_fixed_ns", "invlpg_ns", "flush_all_ns", "refill_ns", "user_refill_ns"), 0.0)
    nothing = simulate(policy="xpfo", **p | free)
    call = simulate(policy="smp_call_function_many", **p)
    for metric in ("flush_wait_ns", "flush_wait_p99_ns", "flush_interval_ns", "interrupts_per_flush"):
        assert call[metric] == pytest.approx(nothing[metric], rel=1e-9)


@pytest.mark.parametrize("cost", GUEST)
def test_each_cost_of_a_guest_lengthens_the_wait(cost, parameters):
    p = busy_guest(parameters, delivery="exit")
    lower, higher = (simulate(policy="xpfo", **p | {cost: value}) for value in (1500.0, 15_000.0))
    assert (higher["flush_wait_ns"] > lower["flush_wait_ns"]).all()


@pytest.mark.parametrize("think_ns", [20_000.0, 1e6])
def test_who_does_not_wait_is_never_slower_than_who_does(think_ns, parameters):
    for guest in ({}, GUEST | {"delivery": "exit"}):
        p = busy_guest(parameters, think_ns=think_ns) | guest
        waits, goes_on = (simulate(policy=policy, **p) for policy in ("xpfo_concurrent", "xpfo_no_wait"))
        assert (goes_on["flush_wait_ns"] <= waits["flush_wait_ns"]).all()
        assert (goes_on["flush_interval_ns"] <= waits["flush_interval_ns"] * 1.001).all()


def test_where_nobody_computes_not_waiting_gains_nothing(parameters):
    """The loop waits for a slot before it has sent the interrupts to whom it queued on already."""
    p = busy_guest(parameters, think_ns=0.0)
    waits, goes_on = (simulate(policy=policy, **p) for policy in ("xpfo_concurrent", "xpfo_no_wait"))
    assert (goes_on["flush_wait_ns"] <= waits["flush_wait_ns"] * (1.15)).all()
    assert (goes_on["flush_wait_ns"] >= waits["flush_wait_ns"] * 0.8).all()


def test_by_hand_who_does_not_wait_is_done_when_it_has_sent_and_flushed(parameters):
    p = parameters("i5_3550", cores=4, jobs=1, range_pages={1: 1}, alloc_events=0.0, think_ns=1e9)
    p |= {"window_events": 64, "warmup_events": 8}
    sent = p["kunmap_bookkeeping_ns"] + p["mask_scan_ns"] + 3 * one_request(p).enqueue + p["ipi_send_ns"]
    wait = sent + p["flush_fixed_ns"] + p["invlpg_ns"]
    assert simulate(policy="xpfo_no_wait", **p)["flush_wait_ns"] == pytest.approx(wait, rel=1e-6)


def test_by_hand_the_next_request_waits_until_the_last_one_is_done(parameters):
    """One sender, one idle target and no compute: each flush event waits for the run of the one before."""
    p = parameters("i5_3550", cores=2, jobs=1, range_pages={1: 1}, alloc_events=0.0, think_ns=0.0)
    p |= {"window_events": 64, "warmup_events": 8}
    interval = simulate(policy="xpfo_no_wait", **p)["flush_interval_ns"]
    local, each = p["flush_fixed_ns"] + p["invlpg_ns"], one_request(p)
    run = p["ipi_latency_ns"] + p["idle_exit_ns"] + p["irq_entry_ns"] + each.take + each.handle + local
    assert interval == pytest.approx(p["ipi_send_ns"] + run + each.enqueue, rel=1e-6)


@pytest.mark.parametrize("policy", ["xpfo", "xpfo_no_wait", "xpfo_running_only", "mm_shootdown"])
def test_where_no_cpu_is_held_nothing_changes_also_beside_lanes_where_some_are(policy, parameters):
    p = busy_guest(parameters)
    before = simulate(policy=policy, **p)
    assert_same_bits(simulate(policy=policy, **p | {"preempted_ns": 1e6}), before)
    assert_same_bits(simulate(policy=policy, **p | {"preempted_share": 1.0, "preempted_ns": 0.0}), before)
    beside = simulate(policy=policy, **p | {"preempted_share": [0.02, 0.0], "preempted_ns": 50_000.0})
    assert_same_bits({name: values[1:] for name, values in beside.items()}, before)
    alone = simulate(policy=policy, **p | {"preempted_share": 0.02, "preempted_ns": 50_000.0})
    assert_same_bits({name: values[:1] for name, values in beside.items()}, alone)
    goes_on = policy in ("xpfo_no_wait", "xpfo_running_only")
    assert (alone["flush_wait_max_ns"] > before["flush_wait_max_ns"]).all() or goes_on
    assert (alone["stale_window_p99_ns"] > before["stale_window_p99_ns"]).all()


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_by_hand_interrupts_are_held_as_the_cpus_own_streams_say(share, parameters):
    p = parameters("i5_3550", cores=2, jobs=1, range_pages={1: 1}, alloc_events=0.0, think_ns=1e12)
    p |= {"window_events": 96, "warmup_events": 32, "preempted_ns": 1e5, "replicas": 1}
    free = simulate(policy="xpfo", **p)["flush_wait_ns"]
    found = simulate(policy="xpfo", **p | {"preempted_share": share})
    held, hold = (stream(0, 0, 1, purpose) for purpose in (HELD, HOLD))
    extra = np.where(held.random(200) < share, 1e5 * hold.standard_exponential(200), 0.0)[32 : 32 + 96]
    assert found["flush_wait_ns"] == pytest.approx(free + extra.mean(), rel=1e-6)
    assert found["flush_wait_max_ns"] == pytest.approx(free + extra.max(), rel=1e-6)
    assert found["flush_wait_p999_ns"] == pytest.approx(free + np.quantile(extra, 0.999), rel=1e-6)


def test_where_all_run_telling_those_who_run_is_telling_all_bit_by_bit(parameters):
    for guest in ({}, GUEST | {"delivery": "hypercall"}):
        p = busy_guest(parameters, preempted_ns=1e6) | guest
        assert_same_bits(simulate(policy="xpfo_running_only", **p), simulate(policy="xpfo_concurrent", **p))


def test_nobody_waits_for_a_cpu_that_is_left_a_note(parameters):
    p = busy_guest(parameters)
    held = {"preempted_share": 0.05, "preempted_ns": 1e5}
    waits, notes = (simulate(policy=policy, **p | held) for policy in ("xpfo_concurrent", "xpfo_running_only"))
    all_run = simulate(policy="xpfo_running_only", **p)
    assert (notes["flush_wait_p999_ns"] < 0.1 * waits["flush_wait_p999_ns"]).all()
    assert (notes["flush_wait_max_ns"] < 2.0 * all_run["flush_wait_max_ns"]).all()
    assert (notes["stale_window_ns"] > all_run["stale_window_ns"]).all()
    assert (notes["switch_s"] > 0.0).all()
    assert not waits["switch_s"].any()
    assert not all_run["switch_s"].any()


def test_by_hand_a_note_costs_a_request_and_an_ack_and_sends_nothing(parameters):
    p = parameters("i5_3550", cores=2, jobs=1, range_pages={1: 1}, alloc_events=0.0, think_ns=1e9)
    p |= {"window_events": 64, "warmup_events": 8, "preempted_share": 1.0, "preempted_ns": 1e6}
    found = simulate(policy="xpfo_running_only", **p)
    again = p["queue_lines"] * (p["line_socket_ns"] - p["line_hit_ns"])  # nobody took the line since the last mark
    sent = p["kunmap_bookkeeping_ns"] + p["mask_scan_ns"] + one_request(p).enqueue - again
    local = p["flush_fixed_ns"] + p["invlpg_ns"]
    assert found["flush_wait_ns"] == pytest.approx(sent + local + one_request(p).ack, rel=1e-6)
    assert not found["interrupts_per_flush"].any()
    assert found["nr_tlb_local_flush_one"] == pytest.approx(p["kunmap_events"])  # the sender's own


def test_by_hand_a_held_cpu_flushes_once_when_it_runs_again(parameters):
    """One CPU flushes and one computes, which is held at every flush event."""
    p = parameters("i5_3550", cores=2, jobs=2, senders=1, range_pages={1: 1}, alloc_events=0.0, accounting="tick")
    p |= {"preempted_share": 1.0, "replicas": 1}
    p |= {"think_ns": 1e9, "preempted_ns": 1e5, "window_events": 96, "warmup_events": 32}
    apart = simulate(policy="xpfo_running_only", **p)
    hold = 1e5 * stream(0, 0, 1, HOLD).standard_exponential(128)[32:]
    again = p["queue_lines"] * (p["line_socket_ns"] - p["line_hit_ns"])  # nobody took the line since the last mark
    told = p["mask_scan_ns"] + one_request(p).enqueue - again
    assert apart["stale_window_ns"] == pytest.approx(told + hold.mean() + p["flush_all_ns"], rel=1e-6)
    full_s = p["kunmap_events"] * p["flush_all_ns"] * 1e-9
    assert apart["switch_s"] == pytest.approx(full_s, rel=0.03)  # the last may be still to come
    refill_s = p["kunmap_events"] * p["refill_ns"] * p["refill_system_share"] * 1e-9
    assert apart["refill_s"] == pytest.approx(refill_s, rel=0.03)
    assert not apart["handler_s"].any()
    events = {"think_ns": 1e4, "preempted_ns": 1e5, "window_events": 8192, "warmup_events": 512}
    many = simulate(policy="xpfo_running_only", **p | events)  # notes of one hold
    cycle = 1e5 + many["flush_interval_ns"]  # the hold, and until the next flush event finds the CPU held again
    assert many["switch_s"] == pytest.approx(full_s * many["flush_interval_ns"] / cycle, rel=0.15)


@pytest.mark.parametrize("preempted_ns", [1e3, 1e5])
def test_a_cpu_is_held_for_its_share_of_time_however_often_it_is_looked_at(preempted_ns, parameters):
    p = parameters("i5_3550", cores=4, jobs=4, range_pages={1: 1}, alloc_events=0.0, think_ns=10_000.0)
    p |= {"preempted_share": 0.2, "preempted_ns": preempted_ns, "window_events": 16_384}
    p |= {"replicas": 2, "warmup_events": 512} if has_compiler() else {"replicas": 1, "window_events": 8192}
    found = simulate(policy="xpfo_running_only", **p)
    told = found["nr_tlb_local_flush_one"] / p["kunmap_events"] - 1.0  # of 3
    assert 1.0 - told / 3 == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("policy", ["xpfo", "xpfo_deferred"])
def test_the_tail_is_ordered_and_stands_on_the_events_that_were_simulated(policy, parameters):
    found = simulate(policy=policy, **busy_guest(parameters, preempted_share=0.01, preempted_ns=1e5))
    tail = [found[f"flush_wait_{name}_ns"] for name in ("p50", "p99", "p999", "max")]
    assert all((shorter <= longer).all() for shorter, longer in pairwise(tail))
    assert (found["events_simulated"] == SHORT["window_events"]).all()


@pytest.mark.parametrize("delivery", ["apic", "exit", "hypercall"])
@pytest.mark.parametrize("policy", TOLD)
def test_one_cpu_sends_nothing(policy, delivery, parameters):
    p = parameters("i5_3550", cores=1, jobs=1) | SHORT
    alone = simulate(policy=policy, **p)
    held = {} if Policies()[policy].targets.looks_for_user_mode else {"preempted_share": 1.0, "preempted_ns": 1e6}
    found = simulate(policy=policy, **p | GUEST | {"delivery": delivery} | held)
    assert not np.nan_to_num(found["interrupts_per_flush"]).any()
    assert_same_bits(found, alone)
