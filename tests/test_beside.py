"""Laws of what stands beside a flush: locks, wake-ups, a fabric under load, isolated CPUs, and a deadline for marks."""

from math import inf

import numpy as np
import pytest

from sim import METRICS, simulate
from sim.policies import Policies
from sim.policy import Check, Line, Local, Mark, Policy, Targets, Write

SHORT = {"window_events": 2048, "replicas": 1}
ON_A_LINE = {"local": Local.FIRST, "switch_to_user": Check(Line.GLOBAL)}


def same_bits(one, other):
    return all(one[name].tobytes() == other[name].tobytes() for name in METRICS)


def locked(parameters, **changes):
    """Threads that take a lock and do nothing else, on 16 cores of one socket."""
    p = parameters("xeon_8160", "lock2", cores=16, sockets=1, threads_per_core=1, **SHORT)
    return (
        p
        | {"line_socket_ns": 50.0, "lock_lines": 3.0, "lock_hold_ns": 200.0}
        | {"operation_ns": 100.0, "one_thread_ops_per_s": None}
        | changes
    )


def late(deadline_ns):
    return Policy(mark=Mark(Line.GLOBAL, Write.PLAIN, deadline_ns=deadline_ns), **ON_A_LINE)


def isolating(parameters, machine="xeon_8160", **changes):
    """Four housekeeping CPUs that flush a thousand times a second, and twelve isolated ones."""
    p = parameters(machine, "unmapped_alloc", cores=16, sockets=1, threads_per_core=1, jobs=16, **SHORT)
    return p | {"senders": 4, "isolated": 12, "rate_per_s": 1000.0, "receive_exit_ns": 0.0} | changes


# Locks


def test_without_locks_nothing_of_them_changes_a_bit(parameters):
    p = parameters("i5_3550", "shootdown_loop", jobs=4, **SHORT)
    without = simulate(policy="mm_shootdown_concurrent", **p)
    given = {"lock_hold_ns": 1e5, "lock_per": "socket", "lock_irqs": "on", "lock_lines": 5.0}
    assert same_bits(simulate(policy="mm_shootdown_concurrent", **p | given), without)
    assert np.isnan(without["lock_wait_ns"]).all()
    assert (without["lock_share"] == 0.0).all()


def test_one_cpu_waits_for_no_lock(parameters):
    found = simulate(policy="vanilla", **locked(parameters, jobs=1))
    assert (found["lock_wait_ns"] == 0.0).all()
    assert found["operations_per_s"] == pytest.approx(1e9 / 300.0)


@pytest.mark.parametrize("jobs", [4, 16])
def test_a_saturated_lock_does_an_operation_a_hold_and_a_handover(jobs, parameters):
    found = simulate(policy="vanilla", **locked(parameters, jobs=jobs))
    assert found["operations_per_s"] == pytest.approx(1e9 / (200.0 + 3.0 * 50.0), rel=1e-9)


def test_two_sockets_with_a_lock_each_do_twice_as_much(parameters):
    p = locked(parameters, jobs=16, sockets=2)
    near = simulate(policy="vanilla", **p | {"lock_per": "socket"})
    assert near["operations_per_s"] == pytest.approx(2e9 / 350.0, rel=1e-3)
    far = simulate(policy="vanilla", **p | {"line_cross_ns": 150.0})
    assert (far["operations_per_s"] < 1e9 / 350.0).all()


@pytest.mark.parametrize(("locks", "events"), [(2.0, 1.0), (1.0, 2.0), (0.5, 0.25), (3.0, 2.0)])
def test_an_operation_has_its_sections_whatever_its_events(locks, events, parameters):
    """One thread alone: an operation takes its work, its holds, and its flush events."""
    p = parameters("i5_3550", "shootdown_loop", jobs=1, **SHORT) | {"operation_ns": 4000.0, "lock_hold_ns": 500.0}
    p |= {"events_per_operation": events}
    without, found = (simulate(policy="xpfo", **p | {"locks_per_operation": n}) for n in (0.0, locks))
    added = found["operation_ns_total"] - without["operation_ns_total"]
    assert added == pytest.approx(locks * 500.0, rel=0.01)


def test_with_interrupts_off_no_target_runs_its_handler_while_it_waits_for_the_lock(parameters):
    """A sender waits for the targets in line for the lock; where interrupts are on they answer from there."""
    p = parameters("i5_3550", "shootdown_loop", jobs=4, **SHORT)
    p |= {"locks_per_operation": 1.0, "lock_hold_ns": 20_000.0, "operation_ns": 1000.0}
    off, on = (simulate(policy="xpfo", **p | {"lock_irqs": irqs}) for irqs in ("off", "on"))
    assert (off["flush_wait_ns"] > 20_000.0).all()
    assert (on["flush_wait_ns"] < 10_000.0).all()


def test_own_work_of_one_thread_is_what_its_locks_leave(parameters):
    p = locked(parameters, jobs=1) | {"operation_ns": None, "one_thread_ops_per_s": 2e6}
    assert simulate(policy="vanilla", **p)["operations_per_s"] == pytest.approx(2e6)


def test_locks_beside_a_deferral_are_refused(parameters):
    p = parameters("i5_3550", "shootdown_loop", **SHORT) | {"locks_per_operation": 1.0, "jobs": 4}
    with pytest.raises(ValueError, match=r"locks_per_operation: no engine models locks beside Targets\.NOBODY"):
        simulate(policy="xpfo_deferred_percpu", **p | {"user_switches_per_s": 100.0, "switch_cv2": 1.0})
    with pytest.raises(ValueError, match="engine=vectorized: does not model locks_per_operation above 0"):
        simulate(policy="xpfo", engine="vectorized", **p)


# Wake-ups, and running vCPUs


def test_by_hand_the_sender_pays_for_each_target_that_it_wakes(parameters):
    p = parameters("skylake_guest_80", "one_shooter", cores=8, jobs=1, **SHORT) | {"deliver_ns": 100.0}
    waits = [
        simulate(policy="xpfo_concurrent", **p | {"wake_send_ns": send_ns})["flush_wait_ns"]
        for send_ns in (100.0, 1100.0)
    ]
    assert waits[1] - waits[0] == pytest.approx(7 * 1000.0, rel=1e-9)
    with_default = simulate(policy="xpfo_concurrent", **p | {"wake_send_ns": None})
    assert with_default["flush_wait_ns"] == pytest.approx(waits[0])  # null: as deliver_ns


def test_where_no_target_is_idle_only_deliver_ns_counts(parameters):
    p = parameters("skylake_guest_80", "shootdown_loop", cores=8, jobs=8, **SHORT)
    first, second = (simulate(policy="xpfo", **p | {"wake_send_ns": send_ns}) for send_ns in (400.0, 9000.0))
    assert same_bits(first, second)


def test_by_hand_an_interrupt_takes_a_cpu_that_computes_out_of_its_guest(parameters):
    p = isolating(parameters, isolated=0, rate_per_s=100.0)
    lost_ns = []
    for exit_ns in (0.0, 1000.0):
        found = simulate(policy="xpfo_concurrent", **p | {"receive_exit_ns": exit_ns})
        lost_ns.append(found["handler_share"] * 16 * found["flush_interval_ns"] / 15)  # of each interrupt
    assert lost_ns[1] - lost_ns[0] == pytest.approx(1000.0, rel=0.01)


# A fabric under load


@pytest.mark.parametrize("engine", ["compiled", "vectorized"])
def test_by_hand_a_broadcast_takes_longer_for_each_that_waits_behind_it(engine, parameters):
    p = parameters("arm64_server", "shootdown_loop", cores=8, jobs=8, engine=engine, **SHORT)
    p |= {"operation_ns": 0.0, "broadcast_ns": 900.0, "broadcast_page_ns": 100.0}
    for repeats, per_waiter in ((1, 0.0), (1, 0.1), (2, 0.1)):
        found = simulate(
            policy="xpfo_broadcast", **p | {"broadcast_repeats": repeats, "broadcast_per_waiter": per_waiter}
        )
        once = 1000.0 * repeats * (1.0 + per_waiter * 7)  # the seven others always wait
        assert found["operations_per_s"] == pytest.approx(1e9 / once, rel=1e-6)


def test_by_hand_a_guest_leaves_for_each_broadcast(parameters):
    p = parameters("arm64_server", "shootdown_loop", cores=2, jobs=1, **SHORT)
    metal, guest = (
        simulate(policy="xpfo_broadcast", **p | {"exit_ns": 1500.0, "delivery": delivery})["flush_wait_ns"]
        for delivery in ("apic", "exit")
    )
    assert guest - metal == pytest.approx(1500.0)


# Isolated CPUs, and CPUs in user mode


def test_where_no_cpu_is_isolated_nothing_is_said_of_any(parameters):
    found = simulate(policy="xpfo", **isolating(parameters, isolated=0))
    assert all(np.isnan(found[name]).all() for name, metric in METRICS.items() if metric.of_isolated)


def test_every_broadcast_interrupts_every_isolated_cpu(parameters):
    found = simulate(policy="xpfo", **isolating(parameters))
    assert found["interrupts_per_cpu_s_isolated"] == pytest.approx(1e9 / found["flush_interval_ns"], rel=1e-3)
    assert found["stale_window_p99_ns_isolated"] == pytest.approx(found["stale_window_p99_ns"], rel=0.1)
    lost = found["disturbance_max_ns_isolated"] * 1000.0 * 1e-9
    assert found["disturbed_share_isolated"] == pytest.approx(lost, rel=0.1)


@pytest.mark.parametrize("policy", ["xpfo_in_kernel", "xpfo_isolated"])
def test_an_isolated_cpu_in_user_mode_is_not_interrupted(policy, parameters):
    found = simulate(policy=policy, **isolating(parameters, isolated_kernel_share=0.0, isolated_entries_per_s=1.0))
    assert (found["interrupts_per_cpu_s_isolated"] == 0.0).all()
    assert (found["disturbed_share_isolated"] < 1e-5).all()  # a flush at each of its entries, one a second
    assert (found["stale_window_p99_ns_isolated"] > 1e9).all()


def test_where_no_cpu_is_in_the_kernel_no_interrupt_is_sent(parameters):
    p = isolating(parameters, isolated=0, senders=1, kernel_share=0.0)
    assert (simulate(policy="xpfo_in_kernel", **p)["interrupts_per_flush"] == 0.0).all()


def test_where_every_cpu_is_in_the_kernel_all_are_interrupted(parameters):
    p = isolating(parameters, kernel_share=1.0, isolated_kernel_share=1.0)
    plain = simulate(policy="xpfo_concurrent", **p)
    for policy in ("xpfo_in_kernel", "xpfo_isolated"):
        found = simulate(policy=policy, **p)
        assert found["interrupts_per_flush"] == pytest.approx(plain["interrupts_per_flush"])
        assert found["flush_wait_ns"] == pytest.approx(plain["flush_wait_ns"])


def test_housekeeping_cpus_are_interrupted_wherever_they_are(parameters):
    p = isolating(parameters, isolated_kernel_share=0.0)
    found = simulate(policy="xpfo_isolated", **p)
    assert found["interrupts_per_flush"] == pytest.approx(3.0, rel=0.01)  # the three other housekeeping CPUs


@pytest.mark.parametrize("policy", ["xpfo_deferred", "xpfo_deferred_bounded", "xpfo_kernel_entry"])
def test_an_isolated_cpu_stays_stale_until_its_own_next_check(policy, parameters):
    p = isolating(parameters, isolated_switches_per_s=0.1, isolated_entries_per_s=2.0, switch_cv2=1.0)
    found = simulate(policy=policy, **p | {"replicas": 8})
    mean_s = 0.5 if policy == "xpfo_kernel_entry" else 10.0  # Poisson, so the rest of an interval is a whole one
    expected = -np.log(0.01) * mean_s * 1e9
    if policy == "xpfo_kernel_entry":
        expected = -np.log(0.01) / 2.0 * 1e9
    assert found["stale_window_p99_ns_isolated"].mean() == pytest.approx(expected, rel=0.1)
    assert (found["interrupts_per_cpu_s_isolated"] == 0.0).all()


def test_more_isolated_cpus_than_there_are_are_refused(parameters):
    with pytest.raises(ValueError, match="isolated=13: must be at most 12"):
        simulate(policy="xpfo", **isolating(parameters, isolated=13))
    with pytest.raises(ValueError, match="engine=vectorized: does not model isolated above 0"):
        simulate(policy="xpfo_deferred", engine="vectorized", **isolating(parameters))


# A deadline


def test_a_deadline_that_never_comes_is_none_bit_by_bit(parameters):
    p = parameters("xeon_8160", jobs=60, **SHORT)
    policies = {**Policies(), "late": late(inf)}
    found = simulate(policy="late", policies=policies, **p)
    assert same_bits(found, simulate(policy="xpfo_deferred", **p))


def test_with_a_deadline_of_0_no_cpu_is_stale_longer_than_an_interrupt_takes(parameters):
    p = isolating(parameters)
    found = simulate(policy="late", policies={"late": late(0.0)}, **p)
    interrupt = sum(p[f"{name}_ns"] for name in ("ipi_send", "ipi_latency", "irq_entry", "handler_fixed", "irq_exit"))
    assert found["stale_window_p99_ns"] == pytest.approx(interrupt + p["flush_all_ns"], rel=1e-9)
    assert found["interrupts_per_flush"] == pytest.approx(15.0, rel=0.02)


def test_a_deadline_bounds_the_window_and_costs_interrupts(parameters):
    p = isolating(parameters, switch_cv2=1.0)
    plain, found = (simulate(policy="late", policies={"late": late(deadline)}, **p) for deadline in (inf, 2e6))
    assert (found["stale_window_p99_ns"] < 2.01e6).all()
    assert (plain["stale_window_p99_ns"] > 1e9).all()
    # An isolated CPU is interrupted each time that a mark is 2 ms old: every 2 ms and the time until the next mark
    assert found["interrupts_per_cpu_s_isolated"] == pytest.approx(1.0 / (2e-3 + 1e-3), rel=0.05)
    assert (found["overhead_share"] > plain["overhead_share"]).all()


def test_a_deadline_that_checks_come_before_changes_little(parameters):
    p = parameters("xeon_8160", jobs=60, switch_cv2=1.0, user_switches_per_s=1000.0, **SHORT)
    found = simulate(policy="late", policies={"late": late(1e9)}, **p)
    plain = simulate(policy="xpfo_deferred", **p)
    for name in ("system_time_s", "stale_window_ns", "stale_window_p99_ns", "pending_share"):
        assert found[name] == pytest.approx(plain[name], rel=0.02), name


@pytest.mark.parametrize("target", [Targets.OTHER_IN_KERNEL, Targets.OTHER_HOUSEKEEPING])
def test_cpus_that_never_enter_the_kernel_are_refused(target, parameters):
    policies = {"own": Policy(targets=target, local=Local.FIRST)}
    p = isolating(parameters, isolated_entries_per_s=0.0)
    with pytest.raises(ValueError, match="isolated_entries_per_s=0: must be above 0"):
        simulate(policy="own", policies=policies, **p)


def test_by_hand_an_interrupt_for_a_late_mark_is_a_run_that_is_counted(parameters):
    p = parameters("xeon_8160", jobs=60, **SHORT)
    found = simulate(policy="late", policies={"late": late(0.0)}, **p)
    run_ns = p["irq_entry_ns"] + p["handler_fixed_ns"] + p["flush_all_ns"] + p["irq_exit_ns"]
    runs_ns = found["handler_share"] * 60 * found["flush_interval_ns"]  # of all CPUs, for each flush event
    assert runs_ns == pytest.approx(found["interrupts_per_flush"] * run_ns, rel=1e-9)
    events = p["kunmap_events"] + p["alloc_events"]
    assert found["switch_s"] >= events * found["interrupts_per_flush"] * (run_ns + p["ipi_send_ns"]) * 1e-9
    assert found["nr_tlb_remote_flush_received"] == pytest.approx(events * found["interrupts_per_flush"], rel=0.05)


def test_by_hand_a_window_is_of_housekeeping_and_isolated_cpus_as_many_as_there_are(parameters):
    """Poisson checks: a window is as long as the mean time between checks of the CPU that it is of."""
    p = isolating(parameters, isolated_switches_per_s=1.0, user_switches_per_s=100.0, switch_cv2=1.0, replicas=16)
    found = simulate(policy="xpfo_deferred", **p)
    others_s = (3 * 0.01 + 12 * 1.0) / 15  # three of housekeeping and twelve isolated, beside the sender
    assert found["stale_window_ns"].mean() == pytest.approx(others_s * 1e9, rel=0.03)
