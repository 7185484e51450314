"""Legal parameters of every size, zeros and extremes included: a number, a null that is documented, or a ValueError."""

import warnings

import numpy as np
import pytest

from sim import METRICS, PARAMETERS, simulate
from sim.closed_loop import LOOP
from sim.metrics import metrics_of
from sim.parameters import Kind, is_number
from sim.policies import Policies

BUILD = [name for name, parameter in PARAMETERS.items() if parameter.kind is Kind.BUILD]
BUILD_METRICS = metrics_of(Kind.BUILD)
TOGETHER = 10  # points of a call, which share a machine
CALLS = 10  # of each policy
MAY_BE_ENDLESS = {name for name, metric in METRICS.items() if metric.endless}
OF_EVENTS = {name for name in METRICS if name.startswith("flush_")} | {"interrupts_per_flush"}
OF_ISOLATED = {name for name, metric in METRICS.items() if metric.of_isolated}
OF_NOTES = {"pending_share", "marks_per_flush", "lost_marks"}
SAID = (
    "user_s=0", "apart to be added", "no time passes", "its flush events alone", "preempted_share: no engine",
    "above 0 with", "locks beside", "for each flush event",
)  # fmt: skip
CONTROLS = {"think_ns", "precision", "replicas"}
HIDDEN_BY_IRQ_TIME = {"system_time_s", "added_s", "ratio", "sender_s"}


def number(name, rng):
    """A number of a parameter's range: none, one, the ends of it, or any size between."""
    parameter = PARAMETERS[name]
    high = min(parameter.high, 1e9)
    if parameter.high == 1.0:
        return float(rng.choice([0.0, 1.0, rng.random()]))
    value = float(rng.choice([parameter.low, 1.0, high, *10 ** rng.uniform(-3, 9, 2), *10 ** rng.uniform(0, 4, 4)]))
    value = min(max(value, parameter.low), high)
    return float(round(value)) if parameter.whole else value


def points(rng):
    """Points on one machine, columns by name."""
    sockets = int(rng.choice([1, 1, 2, 4]))
    cores = max(2, sockets * int(rng.integers(1, 16 // sockets + 1)))
    cores += -cores % sockets
    out = {
        "cores": cores, "sockets": sockets, "threads_per_core": 2 if cores % 2 == 0 and rng.random() < 0.5 else 1,
        "jobs": float(rng.choice([1, 1.5, cores, cores + 0.5, 3 * cores, 1e9])), "seed": int(rng.integers(3)),
        "senders": None if rng.random() < 0.6 else int(rng.integers(1, cores + 1)), "window_events": 32,
        "warmup_events": float(rng.choice([0, 1, 20])), "apic": str(rng.choice(["auto", "cluster", "physical"])),
        "delivery": str(rng.choice(["apic", "exit", "hypercall"])),
        "accounting": [str(rng.choice(["tick", "irq_time"])) for _ in range(TOGETHER)],
        "range_pages": [{1: 1.0, 34: float(rng.choice([0, 1e-6, 1, 1e9]))} for _ in range(TOGETHER)],
    }  # fmt: skip
    busy = min(int(out["jobs"]), cores)
    out["isolated"] = int(rng.integers(0, busy - min(out["senders"] or busy, busy) + 1))
    for name in PARAMETERS:
        if name not in out and is_number(name) and name not in (*CONTROLS, *LOOP):
            out[name] = [number(name, rng) for _ in range(TOGETHER)]
    out["think_ns"] = [float(rng.choice([np.nan, 0.0, 10 ** rng.uniform(-3, 9)])) for _ in range(TOGETHER)]
    out["think_ns"] = [None if value != value else value for value in out["think_ns"]]
    if rng.random() < 0.3:
        out |= {
            name: 0.0
            for name in PARAMETERS
            if name.endswith("_ns") and name not in ("think_ns", *LOOP) and rng.random() < 0.5
        }
    for at in range(TOGETHER):  # entries that somebody waits for
        costs_ns = sum(np.broadcast_to(out[name], TOGETHER)[at] or 0.0 for name in out if name.endswith("_ns"))
        events = out["kunmap_events"][at] + out["alloc_events"][at] or 1.0
        costs_ns += (out["user_s"][at] + out["base_system_s"][at]) / min(events, 1e-3) * 1e9
        for name in ("kernel_entries_per_s", "isolated_entries_per_s"):
            out[name][at] = min(out[name][at], 1e9 / costs_ns if costs_ns else 1e9)
    if rng.random() < 0.3:
        way = str(rng.choice(LOOP))
        size = {"operation_ns": 5000.0, "one_thread_ops_per_s": 100.0, "rate_per_s": 20.0}[way]
        out = {name: value for name, value in out.items() if name not in BUILD}
        out |= {way: [size * 10 ** rng.uniform(-2, 2) for _ in range(TOGETHER)], "think_ns": None}
        out |= {"operation": str(rng.choice(["constant", "exponential"]))}
    return out


def allowed_nulls(policy, found, point):
    """Which metrics may be NaN, by their documentation."""
    mine = Policies()[policy]
    nulls = {"operations_per_s", "operation_ns_total", "overhead_ns_per_operation", "lock_share"}
    nulls |= set() if point.get("base_system_s") else {"ratio"}
    loop = any(name in point for name in LOOP)
    if loop:
        nulls = {*BUILD_METRICS} | ({"elongation"} if found["operations_per_s"] else set())
    often = loop and 1 > point["locks_per_operation"] >= point["events_per_operation"] > 0.01
    nulls |= set() if often else {"lock_wait_ns"}
    nulls |= {"stale_window_p99_ns_isolated"} if point["isolated"] else OF_ISOLATED
    no_flush = policy == "vanilla" or (loop and point.get("events_per_operation") == 0.0)
    if found["events_simulated"] == 0 or no_flush:
        return nulls | OF_EVENTS | OF_NOTES | MAY_BE_ENDLESS
    nulls |= {"wall_time_s", "wall_time_half_s", "elongation"} if point["think_ns"] == 0 else set()
    nulls |= {"wall_time_half_s"} if point["senders"] is not None else set()
    nulls |= MAY_BE_ENDLESS if min(int(point["jobs"]), point["cores"]) == 1 else set()
    if mine.mark is None:
        return nulls | OF_NOTES
    places = {"switch_to_user": point["user_switches_per_s"], "tick": point["tick_hz"]}
    places |= {"kernel_entry": point["kernel_entries_per_s"], "migration": point["migrations_per_s"]}
    looked = any(rate for place, rate in places.items() if place in mine.checks) or point["jobs"] > point["cores"]
    return nulls if looked and mine.migration is None else nulls | {"marks_per_flush"}


def look_at(policy, found, point):
    """What is wrong with the metrics of a point, if anything is."""
    nulls, wrong = allowed_nulls(policy, found, point), []
    for name, value in found.items():
        if np.isnan(value) and name not in nulls:
            wrong.append((name, value))
        if np.isinf(value) and name not in MAY_BE_ENDLESS:
            wrong.append((name, value))
        hidden = point.get("accounting") == "irq_time" and name in HIDDEN_BY_IRQ_TIME
        if value < 0 and not hidden:
            wrong.append((name, value))
    return wrong


@pytest.mark.parametrize("policy", Policies())
def test_legal_parameters_give_numbers_documented_nulls_or_a_sentence(policy):
    """A hundred random points of each policy, and no warning."""
    refused = 0
    for call in range(CALLS):
        columns = points(np.random.default_rng([call, *policy.encode()]))
        targets = Policies()[policy].targets
        columns |= {"preempted_share": 0.0} if targets.looks_for_user_mode else {}
        columns |= {} if targets.interrupts else {"locks_per_operation": 0.0}
        each = [
            {name: value[at] if isinstance(value, list) else value for name, value in columns.items()}
            for at in range(TOGETHER)
        ]
        with warnings.catch_warnings(), np.errstate(all="warn", under="ignore"):
            warnings.simplefilter("error")
            try:
                found = simulate(policy=policy, **columns)
                rows = [{name: column[at, 0] for name, column in found.items()} for at in range(TOGETHER)]
            except ValueError:
                rows = []
                for point in each:
                    try:
                        rows.append({name: value[0, 0] for name, value in simulate(policy=policy, **point).items()})
                    except ValueError as error:
                        if not any(each in str(error) for each in SAID):
                            raise
                        rows.append({})
                        refused += 1
        for row, point in zip(rows, each, strict=True):
            wrong = look_at(policy, row, point) if row else []
            assert not wrong, (wrong, point)
    assert refused < CALLS * TOGETHER / 3
