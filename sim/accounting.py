"""The metrics of a build from means per flush event, in the order of the table of metrics in docs/model.md.

An engine simulates a window of flush events. This module scales its means to the `events` of the whole build, and adds
the slow time scale (`sim/deferral.py`). Arrays are [lane] unless noted.
"""

from collections.abc import Mapping
from functools import partial
from math import inf

import numpy as np

from sim.closed_loop import asked_operation_ns
from sim.deferral import (
    Rates,
    checks_by_place,
    flag_writes_ns,
    line_access_ns,
    marks_ahead,
    on_isolated_cpus,
    pending_on_an_equal,
    pending_on_busy_cpus,
    with_isolated,
)
from sim.lanes import numbers_of
from sim.metrics import METRICS, check_metrics, metrics_of
from sim.parameters import Kind
from sim.policy import Local, Run, Targets
from sim.scenario import Scenario, if_read, overhead
from sim.topology import Shape

Columns = Mapping[str, np.ndarray]
WINDOWS = ("window_ns", "window_p50_ns", "window_p99_ns")
PENDING = (  # fields of `Pending`
    *WINDOWS, "pending_share", "sender_pending_share", "marks_per_flush", "flushes_per_s", "overdue_per_s"
)  # fmt: skip
OF_ISOLATED = ("window_p99_ns", "flushes_per_s", "overdue_per_s")  # fields that isolated CPUs have separately


def account(scenario: Scenario, mean: Columns) -> dict[str, np.ndarray]:
    """Every metric by name, from the means per flush event of `batch_means.run`.

    Raises ValueError if no time passes, or a metric is no number.
    """
    if not (mean["interval_ns"] > 0.0).all():
        raise ValueError(
            "no time passes between flush events: think_ns and all costs of the policy are 0, or lost in rounding"
        )
    pending = check_marks(scenario, mean["interval_ns"])
    set_ns = flag_writes_ns(scenario, mean, pending)
    work = work_done(scenario, mean, overhead_ns(scenario, mean, pending, set_ns))
    metrics = (
        work
        | of_the_build(scenario, mean, pending, set_ns, work["elongation"])
        | flush_times(mean, set_ns)
        | handler_runs(scenario, mean, pending)
        | locks(scenario, mean)
        | isolated_cpus(scenario, mean, pending)
        | exposure(scenario, mean, pending)
        | {"events_simulated": mean["events"]}
    )
    check_metrics(metrics, scenario.kind)
    return metrics


def of_the_build(
    scenario: Scenario, mean: Columns, pending: Columns, set_ns: np.ndarray, elongation: np.ndarray
) -> dict[str, np.ndarray]:
    """The metrics of a whole build; NaN for a closed loop."""
    if scenario.kind is Kind.LOOP:
        return {name: np.full_like(scenario.events, np.nan) for name in metrics_of(Kind.BUILD)}
    parts = parts_of_added_time(scenario, mean, pending, set_ns)
    return (
        system_time(scenario, mean, parts)
        | wall_time(scenario, mean, elongation)
        | parts
        | kernel_counters(scenario, mean, pending)
    )


def account_without_events(lanes: Columns, shape: Shape, kind: Kind) -> dict[str, np.ndarray]:
    """Every metric without flush events: the machine without XPFO."""
    base_s = lanes["base_system_s"]
    out = {name: np.zeros_like(base_s) for name in METRICS} | {"elongation": np.ones_like(base_s)}
    null = [name for name, metric in METRICS.items() if metric.of_events or metric.kind not in (Kind.ANY, kind)]
    null += [name for name, metric in METRICS.items() if metric.of_isolated and not shape.isolated]
    null += ["lock_wait_ns"]
    out |= {name: np.full_like(base_s, np.nan) for name in null}
    if kind is Kind.LOOP:
        operation_ns = asked_operation_ns(lanes, shape.senders) * slowdown_of_work(lanes, shape)
        return out | {
            "operation_ns_total": operation_ns, "operations_per_s": over(shape.senders * 1e9, operation_ns)
        }  # fmt: skip
    elapsed_s = wall_time_without_xpfo_s(lanes, shape)
    return out | {"system_time_s": base_s.copy(), "ratio": over(base_s, base_s), "wall_time_s": elapsed_s}


def slowdown_of_work(lanes: Columns, shape: Shape) -> np.ndarray:
    """The slowdown of the work of a closed loop by busy siblings, [lane]; a given rate already includes it."""
    if not np.isnan(lanes["rate_per_s"][0]):
        return np.ones_like(lanes["cores"])
    return shape.mean_slowdown(shape.busy, lanes["smt_slowdown"], shape.senders)


# overhead_share, sender_overhead_share, elongation, operations_per_s, overhead_ns_per_operation, operation_ns_total


def overhead_ns(scenario: Scenario, mean: Columns, pending: Columns, set_ns: np.ndarray) -> np.ndarray:
    """The time per flush event in which busy CPUs do not compute; they are never idle."""
    in_loop_ns = in_the_loop_ns(scenario, mean) + set_ns
    refill_ns = if_read(scenario.lanes, "refill_ns")
    interrupt_ns = if_read(scenario.lanes, "ipi_send_ns") + overdue_run_ns(scenario) + refill_ns
    in_loop_ns = in_loop_ns + overdue_per_event(scenario, mean, pending) * interrupt_ns
    checks = scenario.shape.busy * mean["interval_ns"] * 1e-9 * pending["rare_checks_per_s"]  # per flush event
    flush_ns = if_read(scenario.lanes, "flush_all_ns") + refill_ns
    return in_loop_ns + checks * (line_access_ns(scenario, mean, pending) + pending["found_share"] * flush_ns)


def overdue_per_event(scenario: Scenario, mean: Columns, pending: Columns) -> np.ndarray:
    """Interrupts per flush event for marks that are too old."""
    return scenario.shape.busy * mean["interval_ns"] * 1e-9 * pending["overdue_per_s"]


def in_the_loop_ns(scenario: Scenario, mean: Columns) -> np.ndarray:
    """The overhead per flush event without the slow time scale."""
    weights = overhead(scenario)
    misses_ns = mean["refills"] * weights.refill_ns + mean["range_misses"] * weights.range_miss_ns
    return mean["wait_ns"] + mean["handler_compute_ns"] + mean["entry_ns"] + misses_ns + mean["lock_ns"]


def own_overhead_ns(scenario: Scenario, mean: Columns) -> np.ndarray:
    """The overhead of a sender between two of its flush events, without the slow time scale.

    If other CPUs compute too, the counts are of all busy CPUs. The overhead of the senders is then their time without
    the compute that they drew, which differs a little from its mean.
    """
    if scenario.shape.senders == scenario.shape.busy:
        return in_the_loop_ns(scenario, mean)
    return np.maximum(scenario.shape.senders * mean["interval_ns"] - mean["compute_ns"], 0.0)


def work_done(scenario: Scenario, mean: Columns, overhead_ns: np.ndarray) -> dict[str, np.ndarray]:
    """The elongation of work, and the overhead as a share of the time of busy CPUs.

    Work is conserved: the time between two flush events of a CPU is compute and overhead. So if all busy CPUs are
    senders, these are exact relations, without the noise of the mean interval. If only some are, the overhead of a
    sender exceeds the mean overhead of the busy CPUs.
    """
    shape, think_ns = scenario.shape, scenario.think_ns
    if shape.senders == shape.busy:
        cycle_ns = think_ns + overhead_ns
        share = senders = over(overhead_ns, cycle_ns)
    else:
        own_ns = own_overhead_ns(scenario, mean)
        cycle_ns = think_ns + own_ns
        share = np.minimum(shape.senders * overhead_ns / (shape.busy * cycle_ns), 1.0)  # requests may still wait
        senders = over(own_ns, cycle_ns)
    operations = scenario.events if scenario.kind is Kind.LOOP else np.full_like(cycle_ns, np.nan)
    operation_ns = cycle_ns * operations
    return {
        "overhead_share": share,
        "sender_overhead_share": senders,
        "elongation": over(cycle_ns, think_ns),
        "operations_per_s": over(shape.senders * 1e9, operation_ns),
        "overhead_ns_per_operation": overhead_ns * operations,
        "operation_ns_total": operation_ns,
    }


# system_time_s, added_s, ratio


def system_time(scenario: Scenario, mean: Columns, parts: Columns) -> dict[str, np.ndarray]:
    """System time of the build, absolute and relative to that of vanilla."""
    base_s = scenario.lanes["base_system_s"]
    added_s = (
        parts["sender_s"] + parts["handler_s"] + parts["switch_s"] + parts["refill_s"] + parts["bookkeeping_s"]
    )  # in this order for all lanes
    return {
        "system_time_s": base_s + added_s,
        "system_time_half_s": scenario.build * mean["half_ns"],
        "added_s": added_s,
        "ratio": over(base_s + added_s, base_s),
    }


# wall_time_s


def wall_time(scenario: Scenario, mean: Columns, elongation: np.ndarray) -> dict[str, np.ndarray]:
    """Elapsed time of the build: its time without XPFO, multiplied by the elongation of work."""
    without_s, shape = wall_time_without_xpfo_s(scenario.lanes, scenario.shape), scenario.shape
    half = over(mean["overhead_half_ns"], scenario.think_ns)
    return {
        "wall_time_s": without_s * elongation,
        "wall_time_half_s": without_s * half if shape.senders == shape.busy else np.full_like(half, np.nan),
    }


def over(values: np.ndarray | float, base: np.ndarray) -> np.ndarray:
    """Values divided by a base; NaN where the base is 0."""
    return np.divide(values, base, out=np.full_like(base, np.nan), where=base != 0.0)


def wall_time_without_xpfo_s(lanes: Columns, shape: Shape) -> np.ndarray:
    """Elapsed time without XPFO: a share of the build runs on one CPU, the rest on all busy CPUs."""
    serial = lanes["serial_share"]
    return (lanes["user_s"] + lanes["base_system_s"]) * (serial + (1.0 - serial) / shape.busy)


# flush_wait_ns and its quantiles, flush_interval_ns


def flush_times(mean: Columns, set_ns: np.ndarray) -> dict[str, np.ndarray]:
    """Length of a flush event on its sender, and the time between flush events on the whole machine."""
    return {
        "flush_wait_ns": mean["wait_ns"] + set_ns,
        "flush_wait_p50_ns": mean["wait_p50_ns"],
        "flush_wait_p99_ns": mean["wait_p99_ns"],
        "flush_wait_p999_ns": mean["wait_p999_ns"],
        "flush_wait_max_ns": mean["wait_max_ns"],
        "flush_interval_ns": mean["interval_ns"],
    }


# sender_s, handler_s, switch_s, refill_s, bookkeeping_s


def parts_of_added_time(
    scenario: Scenario, mean: Columns, pending: Columns, set_ns: np.ndarray
) -> dict[str, np.ndarray]:
    """The parts of `added_s`, in s per build."""
    build, tick, lanes = scenario.build, scenario.tick, scenario.lanes
    in_events_ns = mean["handler_ns"] - mean["handler_compute_ns"]  # charged as interrupt time, unless by the tick
    checks, flushes = checks_of_the_build(scenario, mean, pending)
    checks_ns = checks * line_access_ns(scenario, mean, pending) + flushes * if_read(lanes, "flush_all_ns")
    overdue = scenario.events * overdue_per_event(scenario, mean, pending)
    checks_ns = checks_ns + overdue * (if_read(lanes, "ipi_send_ns") + overdue_run_ns(scenario))
    flushes = flushes + overdue
    beyond_ns = mean["wait_ns"] + set_ns - scenario.bookkeeping_ns
    # The bookkeeping in the window may by chance be less than that of the build: limit it to the length of the events.
    policy = scenario.policy
    nothing_else = not policy.flushes_ranges and policy.targets is Targets.NOBODY and not policy.checks
    short_s = np.where(nothing_else | (beyond_ns < 0.0), build * beyond_ns, 0.0)
    return {
        "sender_s": build * (beyond_ns - np.where(tick, 0.0, in_events_ns)) - short_s,
        "handler_s": build * np.where(tick, mean["handler_compute_ns"] * scenario.system_share, 0.0),
        "switch_s": checks_ns * 1e-9 + build * mean["entry_ns"],
        "refill_s": (scenario.events * mean["refills"] + flushes) * scenario.refill_system_ns * 1e-9,
        "bookkeeping_s": build * scenario.bookkeeping_ns + short_s,
    }


def checks_of_the_build(scenario: Scenario, mean: Columns, pending: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Checks in the whole build without those at kernel entries, and the number of these that find the mark pending."""
    cpu_s = scenario.shape.busy * scenario.build * mean["interval_ns"]  # time of busy CPUs
    checks = cpu_s * pending["rare_checks_per_s"]
    return checks, checks * pending["found_share"]


# interrupts_per_flush, handler_share


def handler_runs(scenario: Scenario, mean: Columns, pending: Columns) -> dict[str, np.ndarray]:
    """Interrupts per flush event after coalescing, and the share of the time of a busy CPU in handler runs."""
    overdue = overdue_per_event(scenario, mean, pending)
    handler_ns = mean["handler_ns"] + overdue * overdue_run_ns(scenario)
    return {
        "interrupts_per_flush": mean["interrupts"] + overdue,
        "handler_share": handler_ns / (scenario.shape.busy * mean["interval_ns"]),
    }


# lock_wait_ns, lock_share


def locks(scenario: Scenario, mean: Columns) -> dict[str, np.ndarray]:
    """The wait of a CPU for a lock, and the share of its time in lock sections; NaN for a build."""
    if scenario.kind is Kind.BUILD:
        return {name: np.full_like(scenario.events, np.nan) for name in ("lock_wait_ns", "lock_share")}
    return {
        "lock_wait_ns": over(mean["lock_wait_ns"], mean["lock_sections"]),
        "lock_share": mean["lock_ns"] / (scenario.shape.senders * mean["interval_ns"]),
    }


# interrupts_per_cpu_s_isolated, disturbed_share_isolated, disturbance_max_ns_isolated, stale_window_p99_ns_isolated


def isolated_cpus(scenario: Scenario, mean: Columns, pending: Columns) -> dict[str, np.ndarray]:
    """The disturbance of an isolated CPU by flush events; NaN without isolated CPUs."""
    policy, isolated, per_s = scenario.policy, scenario.shape.isolated, 1e9 / mean["interval_ns"]
    if not isolated:
        return {name: np.full_like(scenario.events, np.nan) for name, metric in METRICS.items() if metric.of_isolated}
    if policy.targets is not Targets.NOBODY:
        hardware = policy.targets is Targets.HARDWARE  # the TLBs of all CPUs at once
        return {
            "interrupts_per_cpu_s_isolated": mean["interrupts_isolated"] / isolated * per_s,
            "disturbed_share_isolated": mean["disturbed_isolated_ns"] / isolated * per_s * 1e-9,
            "disturbance_max_ns_isolated": mean["longest_isolated_ns"] * mean["events"],
            "stale_window_p99_ns_isolated": mean["window_p99_ns" if hardware else "window_p99_isolated_ns"],
        }
    run_ns, check_ns = overdue_run_ns(scenario), if_read(scenario.lanes, "flush_all_ns")
    flushes_per_s, overdue_per_s = pending["isolated_flushes_per_s"], pending["isolated_overdue_per_s"]
    return {
        "interrupts_per_cpu_s_isolated": overdue_per_s,
        "disturbed_share_isolated": (flushes_per_s * check_ns + overdue_per_s * run_ns) * 1e-9,
        "disturbance_max_ns_isolated": np.maximum(
            np.where(flushes_per_s > 0.0, check_ns, 0.0), np.where(overdue_per_s > 0.0, run_ns, 0.0)
        ),
        "stale_window_p99_ns_isolated": pending["isolated_window_p99_ns"],
    }


# nr_tlb_remote_flush_received, nr_tlb_local_flush_one


def kernel_counters(scenario: Scenario, mean: Columns, pending: Columns) -> dict[str, np.ndarray]:
    """The kernel's counters for the whole build."""
    remote, local = counters_per_flush(scenario, mean["interrupts"], mean["marks"])
    _, flushes = checks_of_the_build(scenario, mean, pending)
    flushes = flushes + scenario.events * overdue_per_event(scenario, mean, pending)
    return {
        "nr_tlb_remote_flush_received": scenario.events * (remote + mean["entry_flushes"]) + flushes,
        "nr_tlb_local_flush_one": scenario.events * local,
    }


def counters_per_flush(scenario: Scenario, interrupts: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """nr_tlb_remote_flush_received and nr_tlb_local_flush_one of a flush event.

    A preempted vCPU that was marked pending counts no flush: its host flushes for it.
    C: arch/x86/mm/tlb.c  do_flush_tlb_all() counts the first, __flush_tlb_one_kernel() the second
    """
    policy, shape, full_share, range_pages = scenario.policy, scenario.shape, scenario.full_share, scenario.range_pages
    reached = shape.busy if policy.targets is Targets.OTHER_BUSY else shape.cores
    flushes = policy.targets.interrupts and policy.run is not Run.NOTHING
    others = np.maximum(reached - 1 - marks, 0.0) if flushes else np.zeros_like(marks)  # marks of an unfinished event
    own = 0 if policy.local is Local.NEVER else 1
    if policy.run is Run.FIRST_FULLY:
        return interrupts + own * full_share, own * range_pages
    return (others + own) * full_share, (others + own) * range_pages


# marks_per_flush, stale_window_ns and its quantiles, pending_share, outstanding_marks, lost_marks


def exposure(scenario: Scenario, mean: Columns, pending: Columns) -> dict[str, np.ndarray]:
    """The stale mappings that flush events leave on the other busy CPUs, and their windows."""
    measured = scenario.policy.targets is not Targets.NOBODY  # else the slow time scale has the window
    window = {name: mean[name] if measured else pending[name] for name in WINDOWS}
    if scenario.shape.busy == 1:  # no other busy CPU
        window = {name: np.full_like(scenario.events, np.nan) for name in WINDOWS}
    marks_per_s = (1.0 - 1.0 / scenario.shape.busy) / mean["interval_ns"] * 1e9  # by other CPUs, for one busy CPU
    return {
        "marks_per_flush": pending["marks_per_flush"],
        "stale_window_ns": window["window_ns"],
        "stale_window_p50_ns": window["window_p50_ns"],
        "stale_window_p99_ns": window["window_p99_ns"],
        "pending_share": pending["pending_share"],
        "outstanding_marks": marks_per_s * window["window_ns"] * 1e-9,  # Little's law
        "lost_marks": 1e6 * (1.0 - pending["sender_pending_share"]) * marks_ahead(scenario, mean),
    }


# The slow time scale


def check_marks(scenario: Scenario, interval_ns: np.ndarray) -> dict[str, np.ndarray]:
    """The results of checks on a busy CPU, [lane]; NaN if the policy notifies CPUs in another way.

    Keys are those of `PENDING`, isolated_NAME for those of `OF_ISOLATED`, rare_checks_per_s (checks outside the loop
    over events) and found_share (the share of these that find the mark pending).
    """
    lanes, shape = len(scenario.replica), scenario.shape
    nulls = [*PENDING, *(f"isolated_{name}" for name in OF_ISOLATED)]
    out = {name: np.full(lanes, np.nan) for name in nulls}
    out |= {name: np.zeros(lanes) for name in ("overdue_per_s", "rare_checks_per_s", "found_share")}
    if scenario.policy.targets is not Targets.NOBODY:
        return out
    numbers, part = numbers_of(scenario.lanes), shape.isolated / shape.busy
    checks_per_s = checks_by_place(scenario.policy.checks, numbers)
    seldom = checks_by_place(scenario.policy.checks, on_isolated_cpus(numbers))
    out["rare_checks_per_s"] = _rare_checks(checks_per_s)
    if shape.isolated:
        out["rare_checks_per_s"] = (1.0 - part) * out["rare_checks_per_s"] + part * _rare_checks(seldom)
    senders, others = (
        _rates(scenario, interval_ns, checks_per_s, True),
        _rates(scenario, interval_ns, checks_per_s, False),
    )
    alone = _rates(scenario, interval_ns, seldom, False)
    for lane in range(lanes):
        key = (shape.seed, int(scenario.replica[lane]))
        found = pending_on_busy_cpus(senders[lane], others[lane], shape.senders, shape.busy - shape.isolated, *key)
        if shape.isolated:
            isolated = pending_on_an_equal(alone[lane], *key)
            found = with_isolated(found, isolated, shape.isolated, shape.busy)
            values = vars(isolated) | isolated.windows._asdict()
            for name in OF_ISOLATED:
                out[f"isolated_{name}"][lane] = values[name]
        values = vars(found) | found.windows._asdict()
        for name in PENDING:
            out[name][lane] = values[name]
        out["found_share"][lane] = found.flushes_per_s / found.checks_per_s if found.checks_per_s else 0.0
    if scenario.policy.mark is None:
        out["pending_share"][:] = out["sender_pending_share"][:] = out["marks_per_flush"][:] = np.nan
    return out


def _rare_checks(checks_per_s: Columns) -> np.ndarray:
    """The checks outside the loop over events, per second."""
    return checks_per_s["switch_to_user"] + checks_per_s["migration"] + checks_per_s["tick"]


def overdue_run_ns(scenario: Scenario) -> np.ndarray:
    """The length of the handler run after a missed deadline, [lane]; without deadlines it has no meaning."""
    read = partial(if_read, scenario.lanes)
    return read("irq_entry_ns") + read("handler_fixed_ns") + read("flush_all_ns") + read("irq_exit_ns")


def _rates(scenario: Scenario, interval_ns: np.ndarray, checks_per_s: Columns, flushes: bool) -> list[Rates]:
    """The rates on one busy CPU of each lane: a sender if `flushes`, else a CPU without flush events."""
    policy, lanes, senders, interval_s = scenario.policy, scenario.lanes, scenario.shape.senders, interval_ns * 1e-9
    zero = np.zeros_like(interval_s)
    own_flush = flushes and policy.local is not Local.NEVER
    late_ns = if_read(lanes, "ipi_send_ns") + if_read(lanes, "ipi_latency_ns") + overdue_run_ns(scenario)
    columns = {
        "switches": checks_per_s["switch_to_user"],
        "switch_cv2": lanes["switch_cv2"] if policy.switch_to_user else zero + 1.0,
        "ticks": checks_per_s["tick"],
        "others": checks_per_s["migration"] + checks_per_s["kernel_entry"],
        "marks": (1.0 - 1.0 / senders if flushes else 1.0) / interval_s,
        "own_full": scenario.full_share / (interval_s * senders) if own_flush else zero,
        "deadline_s": policy.mark.deadline_ns * 1e-9 + late_ns * 1e-9 if policy.mark else zero + inf,
    }
    return [Rates(**{name: float(column[lane]) for name, column in columns.items()}) for lane in range(len(zero))]
