"""From means per flush event to the metrics of a build, in the order of the table of metrics in docs/model.md.

A machine is simulated for a window of flush events; here its means are scaled to the `events` of the whole build, and
what happens on the slow time scale (`sim/notes.py`) is added. Arrays are [lane] where unsaid.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from sim.abi import Own, Run, Targets
from sim.group import Shape
from sim.lanes import numbers_of
from sim.line import flag_writes_ns, line_access_ns, posts_ahead
from sim.loop import asked_operation_ns
from sim.metrics import BUILD_METRICS, METRICS, check_metrics
from sim.notes import Pending, Rates, looks_by_place, pending_on_busy_cpus
from sim.scenario import Scenario, price_overhead

Columns = Mapping[str, np.ndarray]
WINDOWS = ("window_ns", "window_p50_ns", "window_p99_ns")
NOTES = (*WINDOWS, "pending_share", "flusher_pending_share", "posts_per_flush", "flushes_per_s")  # of `Pending`


def account(scenario: Scenario, mean: Columns) -> dict[str, np.ndarray]:
    """Every metric by name, from means per flush event as `engine.run` gives them.

    Raises ValueError where time stands still, or a metric is no number.
    """
    if not (mean["interval_ns"] > 0.0).all():
        raise ValueError(
            "no time passes between flush events: think_ns and all costs of the policy are 0, or lost in rounding"
        )
    notes = look_at_notes(scenario, mean["interval_ns"])
    set_ns = flag_writes_ns(scenario, mean, notes)
    work = work_done(scenario, mean, overhead_ns(scenario, mean, notes, set_ns))
    metrics = (
        work
        | of_the_build(scenario, mean, notes, set_ns, work["elongation"])
        | flush_times(mean, set_ns)
        | handler_runs(scenario, mean)
        | exposure(scenario, mean, notes)
        | {"events_simulated": mean["events"]}
    )
    check_metrics(metrics, scenario.loop)
    return metrics


def of_the_build(
    scenario: Scenario, mean: Columns, notes: Columns, set_ns: np.ndarray, elongation: np.ndarray
) -> dict[str, np.ndarray]:
    """The metrics of a whole build; NaN for a loop."""
    if scenario.loop:
        return {name: np.full_like(scenario.events, np.nan) for name in BUILD_METRICS}
    parts = parts_of_added_time(scenario, mean, notes, set_ns)
    return (
        system_time(scenario, mean, parts)
        | wall_time(scenario, mean, elongation)
        | parts
        | kernel_counters(scenario, mean, notes)
    )


def account_without_events(lanes: Columns, shape: Shape, loop: bool) -> dict[str, np.ndarray]:
    """Every metric where there are no flush events: the machine without XPFO."""
    base_s = lanes["base_system_s"]
    out = {name: np.zeros_like(base_s) for name in METRICS} | {"elongation": np.ones_like(base_s)}
    undefined = ("flush_", "stale_", "interrupts", "pending", "posts", "lost", "operation")
    out |= {name: np.full_like(base_s, np.nan) for name in METRICS if name.startswith(undefined)}
    if loop:
        operation_ns = asked_operation_ns(lanes, shape.flushers)
        out |= {"operation_ns_total": operation_ns, "operations_per_s": over(shape.flushers * 1e9, operation_ns)}
        return out | {name: np.full_like(base_s, np.nan) for name in BUILD_METRICS}
    elapsed_s = wall_time_without_xpfo_s(lanes, shape)
    return out | {"system_time_s": base_s.copy(), "ratio": over(base_s, base_s), "wall_time_s": elapsed_s}


# overhead_share, sender_overhead_share, elongation, operations_per_s, operation_ns_total


def overhead_ns(scenario: Scenario, mean: Columns, notes: Columns, set_ns: np.ndarray) -> np.ndarray:
    """Time that the busy CPUs do not compute, per flush event: all that is work beside it, since CPUs never idle."""
    in_loop_ns = in_the_loop_ns(scenario, mean) + set_ns
    if not scenario.looks:
        return in_loop_ns
    looks = scenario.shape.busy * mean["interval_ns"] * 1e-9 * notes["rare_looks_per_s"]  # per flush event
    flush_ns = scenario.lanes["flush_all_ns"] + scenario.lanes["refill_ns"]
    return in_loop_ns + looks * (line_access_ns(scenario, mean, notes) + notes["set_share"] * flush_ns)


def in_the_loop_ns(scenario: Scenario, mean: Columns) -> np.ndarray:
    """The same without the slow time scale."""
    price = price_overhead(scenario)
    misses_ns = mean["refills"] * price.refill_ns + mean["range_misses"] * price.range_miss_ns
    return mean["wait_ns"] + mean["handler_compute_ns"] + mean["entry_ns"] + misses_ns


def own_overhead_ns(scenario: Scenario, mean: Columns) -> np.ndarray:
    """What a CPU that makes flush events does not compute between two of them, on the time scale of flush events.

    Where others compute beside them what is counted is of all busy CPUs, so it is what their time has left: theirs, but
    for what they drew to compute, which is not quite its mean.
    """
    if scenario.shape.flushers == scenario.shape.busy:
        return in_the_loop_ns(scenario, mean)
    return np.maximum(scenario.shape.flushers * mean["interval_ns"] - mean["compute_ns"], 0.0)


def work_done(scenario: Scenario, mean: Columns, overhead_ns: np.ndarray) -> dict[str, np.ndarray]:
    """How much longer work takes, and what of the busy CPUs' time is lost to it.

    Work is conserved: between two flush events of a CPU lies what it computes, and the overhead. So where all busy CPUs
    make flush events these are exact relations, and the mean interval with its noise is not asked. Where only some do,
    theirs is longer than the mean busy CPU's.
    """
    shape, think_ns = scenario.shape, scenario.think_ns
    if shape.flushers == shape.busy:
        cycle_ns = think_ns + overhead_ns
        share = senders = over(overhead_ns, cycle_ns)
    else:
        own_ns = own_overhead_ns(scenario, mean)
        cycle_ns = think_ns + own_ns
        share = np.minimum(shape.flushers * overhead_ns / (shape.busy * cycle_ns), 1.0)  # what is asked for may wait
        senders = over(own_ns, cycle_ns)
    operation_ns = cycle_ns * scenario.events if scenario.loop else np.full_like(cycle_ns, np.nan)
    return {
        "overhead_share": share,
        "sender_overhead_share": senders,
        "elongation": over(cycle_ns, think_ns),
        "operations_per_s": over(shape.flushers * 1e9, operation_ns),
        "operation_ns_total": operation_ns,
    }


# system_time_s, added_s, ratio


def system_time(scenario: Scenario, mean: Columns, parts: Columns) -> dict[str, np.ndarray]:
    """System time of the build, and how far above vanilla's it is."""
    base_s = scenario.lanes["base_system_s"]
    added_s = (
        parts["sender_s"] + parts["handler_s"] + parts["switch_s"] + parts["refill_s"] + parts["bookkeeping_s"]
    )  # in this order, whatever the lanes
    return {
        "system_time_s": base_s + added_s,
        "system_time_half_s": scenario.build * mean["half_ns"],
        "added_s": added_s,
        "ratio": over(base_s + added_s, base_s),
    }


# wall_time_s


def wall_time(scenario: Scenario, mean: Columns, elongation: np.ndarray) -> dict[str, np.ndarray]:
    """Elapsed time of the build: what it takes without XPFO, and so much longer as work takes."""
    without_s, shape = wall_time_without_xpfo_s(scenario.lanes, scenario.shape), scenario.shape
    half = over(mean["overhead_half_ns"], scenario.think_ns)
    return {
        "wall_time_s": without_s * elongation,
        "wall_time_half_s": without_s * half if shape.flushers == shape.busy else np.full_like(half, np.nan),
    }


def over(values: np.ndarray | float, base: np.ndarray) -> np.ndarray:
    """Values over a base; NaN where the base is 0."""
    return np.divide(values, base, out=np.full_like(base, np.nan), where=base != 0.0)


def wall_time_without_xpfo_s(lanes: Columns, shape: Shape) -> np.ndarray:
    """Elapsed time without XPFO: one share of the build runs on one CPU, the rest on all busy ones."""
    serial = lanes["serial_share"]
    return (lanes["user_s"] + lanes["base_system_s"]) * (serial + (1.0 - serial) / shape.busy)


# flush_wait_ns and its quantiles, flush_interval_ns


def flush_times(mean: Columns, set_ns: np.ndarray) -> dict[str, np.ndarray]:
    """Length of a flush event on its sender, and the time between flush events, machine-wide."""
    return {
        "flush_wait_ns": mean["wait_ns"] + set_ns,
        "flush_wait_p50_ns": mean["wait_p50_ns"],
        "flush_wait_p99_ns": mean["wait_p99_ns"],
        "flush_wait_p999_ns": mean["wait_p999_ns"],
        "flush_wait_max_ns": mean["wait_max_ns"],
        "flush_interval_ns": mean["interval_ns"],
    }


# sender_s, handler_s, switch_s, refill_s, bookkeeping_s


def parts_of_added_time(scenario: Scenario, mean: Columns, notes: Columns, set_ns: np.ndarray) -> dict[str, np.ndarray]:
    """The parts that `added_s` is made of, in s per build."""
    build, tick, lanes = scenario.build, scenario.tick, scenario.lanes
    in_events_ns = mean["handler_ns"] - mean["handler_compute_ns"]  # booked as interrupt time, unless by the tick
    looks, flushes = looks_of_the_build(scenario, mean, notes)
    full_ns = lanes["flush_all_ns"] if scenario.looks else 0.0
    looks_ns = looks * line_access_ns(scenario, mean, notes) + flushes * full_ns
    beyond_ns = mean["wait_ns"] + set_ns - scenario.bookkeeping_ns
    # The window's events may by chance have less bookkeeping than the build's: no more of it than their whole length.
    nothing_else = not scenario.flush.flushes_ranges and scenario.flush.tell is Targets.NOBODY and not scenario.looks
    short_s = np.where(nothing_else | (beyond_ns < 0.0), build * beyond_ns, 0.0)
    return {
        "sender_s": build * (beyond_ns - np.where(tick, 0.0, in_events_ns)) - short_s,
        "handler_s": build * np.where(tick, mean["handler_compute_ns"] * scenario.system_share, 0.0),
        "switch_s": looks_ns * 1e-9 + build * mean["entry_ns"],
        "refill_s": (scenario.events * mean["refills"] + flushes) * scenario.refill_system_ns * 1e-9,
        "bookkeeping_s": build * scenario.bookkeeping_ns + short_s,
    }


def looks_of_the_build(scenario: Scenario, mean: Columns, notes: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Looks at notes in the whole build, kernel entries left out, and those of them that find the note set."""
    cpu_s = scenario.shape.busy * scenario.build * mean["interval_ns"]  # of busy CPUs
    looks = cpu_s * notes["rare_looks_per_s"]
    return looks, looks * notes["set_share"]


# interrupts_per_flush, handler_share


def handler_runs(scenario: Scenario, mean: Columns) -> dict[str, np.ndarray]:
    """Interrupts per flush event after coalescing, and the share of a busy CPU's time in handlers."""
    return {
        "interrupts_per_flush": mean["interrupts"],
        "handler_share": mean["handler_ns"] / (scenario.shape.busy * mean["interval_ns"]),
    }


# nr_tlb_remote_flush_received, nr_tlb_local_flush_one


def kernel_counters(scenario: Scenario, mean: Columns, notes: Columns) -> dict[str, np.ndarray]:
    """The kernel's counters over the whole build."""
    remote, local = counters_per_flush(scenario, mean["interrupts"], mean["notes"])
    _, flushes = looks_of_the_build(scenario, mean, notes)
    return {
        "nr_tlb_remote_flush_received": scenario.events * (remote + mean["entry_flushes"]) + flushes,
        "nr_tlb_local_flush_one": scenario.events * local,
    }


def counters_per_flush(scenario: Scenario, interrupts: np.ndarray, notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """nr_tlb_remote_flush_received and nr_tlb_local_flush_one of a flush event.

    A CPU that was left a note counts nothing: its host flushes for it.
    C: arch/x86/mm/tlb.c  do_flush_tlb_all() counts the first, __flush_tlb_one_kernel() the second
    """
    flush, shape, full_share, range_pages = scenario.flush, scenario.shape, scenario.full_share, scenario.range_pages
    reached = shape.busy if flush.tell is Targets.OTHER_BUSY else shape.cores
    flushes = flush.tell.interrupts and flush.run is not Run.NOTHING
    others = reached - 1 - notes if flushes else np.zeros_like(notes)
    own = 0 if flush.own is Own.NEVER else 1
    if flush.run is Run.FIRST_FULLY:
        return interrupts + own * full_share, own * range_pages
    return (others + own) * full_share, (others + own) * range_pages


# posts_per_flush, stale_window_ns and its quantiles, pending_share, outstanding_posts, lost_posts


def exposure(scenario: Scenario, mean: Columns, notes: Columns) -> dict[str, np.ndarray]:
    """What flush events leave exposed on the other busy CPUs, and for how long."""
    measured = scenario.flush.tell is not Targets.NOBODY  # else the window is of the slow time scale
    window = {name: mean[name] if measured else notes[name] for name in WINDOWS}
    if scenario.shape.busy == 1:  # nobody else
        window = {name: np.full_like(scenario.events, np.nan) for name in WINDOWS}
    posts_per_s = (1.0 - 1.0 / scenario.shape.busy) / mean["interval_ns"] * 1e9  # of others, as a busy CPU sees them
    return {
        "posts_per_flush": notes["posts_per_flush"],
        "stale_window_ns": window["window_ns"],
        "stale_window_p50_ns": window["window_p50_ns"],
        "stale_window_p99_ns": window["window_p99_ns"],
        "pending_share": notes["pending_share"],
        "outstanding_posts": posts_per_s * window["window_ns"] * 1e-9,  # Little's law
        "lost_posts": 1e6 * (1.0 - notes["flusher_pending_share"]) * posts_ahead(scenario, mean),
    }


# The slow time scale, which several of them need


def look_at_notes(scenario: Scenario, interval_ns: np.ndarray) -> dict[str, np.ndarray]:
    """What looks at notes find on a busy CPU, lane by lane; NaN where CPUs are told in another way.

    Keys are those of `NOTES`, and rare_looks_per_s (without those that the loop over steps serves) with the share of
    them that finds the note set, set_share.
    """
    lanes, shape = len(scenario.replica), scenario.shape
    out = {name: np.full(lanes, np.nan) for name in NOTES} | {
        name: np.zeros(lanes) for name in ("rare_looks_per_s", "set_share")
    }
    if scenario.flush.tell is not Targets.NOBODY:
        return out
    numbers = numbers_of(scenario.lanes)
    for lane in range(lanes):
        parameters = {name: float(column[lane]) for name, column in numbers.items()}
        looks_per_s = looks_by_place(scenario.looks, parameters)
        rates = partial(_rates, scenario, looks_per_s, parameters, float(interval_ns[lane]))
        flusher, other = rates(float(scenario.full_share[lane]), flushes=True), rates(0.0, flushes=False)
        key = (scenario.shape.seed, int(scenario.replica[lane]))
        note: Pending = pending_on_busy_cpus(flusher, other, shape.flushers, shape.busy, *key)
        for name in NOTES:
            out[name][lane] = getattr(note, name)
        out["rare_looks_per_s"][lane] = looks_per_s["switch_to_user"] + looks_per_s["migration"] + looks_per_s["tick"]
        out["set_share"][lane] = note.flushes_per_s / note.looks_per_s if note.looks_per_s else 0.0
    if scenario.flush.post is None:
        out["pending_share"][:] = out["flusher_pending_share"][:] = out["posts_per_flush"][:] = np.nan
    return out


def _rates(
    scenario: Scenario,
    looks_per_s: Mapping[str, float],
    parameters: Mapping[str, float],
    interval_ns: float,
    full_share: float,
    *,
    flushes: bool,
) -> Rates:
    """How often things happen on one busy CPU of a lane: one that makes flush events, or one that never does."""
    interval_s, flushers = interval_ns * 1e-9, scenario.shape.flushers
    own_flush = flushes and scenario.flush.own is not Own.NEVER
    return Rates(
        switches=looks_per_s["switch_to_user"],
        switch_cv2=parameters["switch_cv2"] if "switch_to_user" in scenario.looks else 1.0,
        ticks=looks_per_s["tick"],
        others=looks_per_s["migration"] + looks_per_s["kernel_entry"],
        posts=(1.0 - 1.0 / flushers if flushes else 1.0) / interval_s,
        own_full=full_share / (interval_s * flushers) if own_flush else 0.0,
    )
