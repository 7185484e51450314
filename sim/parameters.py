"""Every parameter of one simulation: its name, unit, range and meaning.

This table is the only list of parameters: `simulate` takes its keywords from it, the sweep checks configuration
against it and writes units from it. It holds no cost: numbers live in `conf/` with their sources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

APIC = ("auto", "flat", "cluster", "physical")
RULES = ("coarse", "exact")  # two events per flush event, or one per request: what really happens
DELIVERIES = ("apic", "exit", "hypercall")
FILLS = ("spread", "sockets")
OPERATIONS = ("exponential", "constant")
ACCOUNTING = ("tick", "irq_time")
LARGEST = 1e15  # of any number: beyond, sums of doubles lose whole units
MOST_PAGES = 2**40  # of one range
FLAT_APIC_CPUS = 8  # logical destination mode names at most eight CPUs


@dataclass(frozen=True)
class Parameter:
    """One parameter: its unit, the closed range it may take, and what it means."""

    unit: str
    meaning: str
    low: float = 0.0
    high: float = LARGEST
    whole: bool = False
    choices: tuple[str, ...] = ()
    default: Any = None  # None: has to be given when the policy reads it
    optional: bool = False  # None is a value: "derive it"


def _ns(meaning: str) -> Parameter:
    return Parameter("ns", meaning)


def _of_a_guest(meaning: str) -> Parameter:
    """A cost that counts where interrupts leave the guest."""
    return Parameter("ns", f"{meaning}; counts unless delivery is apic", default=0.0)


def _share(meaning: str) -> Parameter:
    return Parameter("1", meaning, high=1.0)


PARAMETERS: dict[str, Parameter] = {
    # the machine's shape
    "cores": Parameter("1", "logical CPUs online", low=1, high=4096, whole=True),
    "sockets": Parameter("1", "sockets", low=1, whole=True, default=1),
    "fill": Parameter(
        "name",
        "which CPUs the jobs take first: of all sockets in turn, or the cores of socket 0 and so on, then all siblings",
        choices=FILLS,
        default="spread",
    ),
    "threads_per_core": Parameter("1", "SMT threads a core", low=1, whole=True, default=1),
    "jobs": Parameter("1", "make -j; min(floor(jobs), cores) CPUs are busy", low=1),
    "apic": Parameter("name", "targets that one ICR write reaches", choices=APIC, default="auto"),
    "ceiling": Parameter("pages", "tlb_single_page_flush_ceiling; a longer range is a full flush", whole=True),
    # one flush on one CPU
    "alloc_bookkeeping_ns": _ns("XPFO's own work in an alloc event"),
    "kunmap_bookkeeping_ns": _ns("XPFO's own work in a kunmap event: page lock twice, PTE writes"),
    "flush_fixed_ns": _ns("range flush on one CPU, fixed part"),
    "invlpg_ns": _ns("range flush on one CPU, each page (PTI's second invalidation included)"),
    "flush_all_ns": _ns("full flush on one CPU, global entries included"),
    "flush_mm_ns": _ns("full flush of one address space on one CPU: a write to CR3, global entries stay"),
    "refill_ns": _ns("TLB misses after a full flush, in the next compute"),
    "refill_system_share": _share("share of the refill that is system time"),
    "user_refill_ns": _ns("user misses after a range flush, without INVPCID under PTI"),
    # a broadcast
    "mask_scan_ns": _ns("sender: walking the CPU mask"),
    "enqueue_ns": _ns("sender: queueing one request on an empty queue"),
    "enqueue_busy_ns": _ns("sender: queueing one request on a non-empty queue"),
    "ipi_send_ns": _ns("sender: one ICR write"),
    "ipi_latency_ns": _ns("ICR write done to interrupt taken, same socket"),
    "ipi_latency_cross_ns": _ns("ICR write done to interrupt taken, other socket"),
    "irq_entry_ns": _ns("handler run: once before its requests"),
    "handler_ns": _ns("handler run: each request, besides its flush"),
    "irq_exit_ns": _ns("handler run: once after its requests"),
    "ack_ns": _ns("sender: reading one finished request's line, same socket"),
    "ack_cross_ns": _ns("sender: reading one finished request's line, other socket"),
    "idle_exit_ns": _ns("added latency of an idle target that is in no run"),
    "smt_slowdown": Parameter("factor", "a handler run takes this much longer with two threads a core", low=1),
    # interrupts from a guest
    "delivery": Parameter(
        "name",
        "how interrupts leave a CPU: apic on bare metal or posted both ways, exit where each ICR write leaves the "
        "guest, hypercall where one exit reaches 128 targets",
        choices=DELIVERIES,
        default="apic",
    ),
    "exit_ns": _of_a_guest("sender: one exit to the hypervisor and back"),
    "deliver_ns": _of_a_guest("sender: the hypervisor's work for one target, inside that exit"),
    "receive_exit_ns": _of_a_guest("handler run: taking the interrupt, beyond irq_entry_ns; 0 where it is posted"),
    "wake_ns": _of_a_guest(
        "added latency of an idle target that has left for the hypervisor, in place of idle_exit_ns; 0: none has left"
    ),
    # a CPU that cannot take an interrupt now: interrupts off, a firmware interrupt, a vCPU that its host does not run
    "held_share": Parameter(
        "1",
        "share of interrupts whose CPU cannot take them on arrival; share of time where it is left a note instead",
        high=1.0,
        default=0.0,
    ),
    "held_ns": Parameter("ns", "how long a CPU cannot take such an interrupt, mean", default=0.0),
    # deferral and hardware
    "mask_line_ns": _ns("a shared line changing owner, same socket or same CPU"),
    "mask_line_cross_ns": _ns("a shared line changing owner, other socket"),
    "line_hit_ns": _ns("reading a shared line of which the CPU has a valid copy"),
    "line_fill_ns": _ns("reading one without: how long the line is occupied; reads of others go on behind it"),
    "broadcast_ns": _ns("hardware broadcast, fixed part"),
    "broadcast_page_ns": _ns("hardware broadcast, each page"),
    "broadcast_all_ns": _ns("hardware broadcast, whole TLB"),
    # the workload on the machine
    "accounting": Parameter("name", "how the kernel books handler time", choices=ACCOUNTING),
    "operation_ns": Parameter("ns", "of a loop: own work of one operation, mean", optional=True),
    "one_thread_ops_per_s": Parameter(
        "1/s",
        "of a loop: operations a second of one thread alone, from which operation_ns follows",
        low=1e-6,
        optional=True,
    ),
    "rate_per_s": Parameter(
        "1/s", "of a loop: operations a second of all jobs, from which operation_ns follows", low=1e-6, optional=True
    ),
    "operation": Parameter(
        "name", "of a loop: how operation_ns is distributed", choices=OPERATIONS, default="exponential"
    ),
    "events_per_operation": Parameter("1", "of a loop: flush events of one operation", low=1e-6, default=1.0),
    "user_s": Parameter("s", "user CPU seconds of the build without XPFO"),
    "base_system_s": Parameter("s", "system CPU seconds of the build without XPFO"),
    "serial_share": _share("share of the build that runs on one CPU"),
    "kunmap_events": Parameter("1", "xpfo_kunmap flushes of the whole build"),
    "alloc_events": Parameter("1", "xpfo_alloc_pages flushes of the whole build"),
    "range_pages": Parameter("pages: weight", "pages of an alloc event, with weights"),
    "user_switches_per_s": Parameter("1/s", "switches to a user task per busy CPU second"),
    "switch_cv2": Parameter("1", "squared coefficient of variation of switch intervals", low=1),
    "migrations_per_s": Parameter("1/s", "migrations per busy CPU second"),
    "kernel_entries_per_s": Parameter("1/s", "kernel entries per busy CPU second"),
    "tick_hz": Parameter("Hz", "periodic tick"),
    "timeslice_ms": Parameter("ms", "time slice when there are more jobs than CPUs", low=1e-6),
    "pcp_batch": Parameter("pages", "pages of one refill of the per-CPU free list", low=1),
    "pcp_refill_share": _share("share of order-0 allocs that come from a refill"),
    "ownership_change_share": _share("share of allocs whose page was the kernel's before"),
    "pool_pages": Parameter("pages", "pages that a pool of unmapped pages is filled with at once", low=1, default=512),
    # controls
    "rule": Parameter("name", "how a broadcast by interrupts is simulated", choices=RULES, default="coarse"),
    "think_ns": Parameter("ns", "mean compute between flush events, instead of the build's", optional=True),
    "flushers": Parameter("1", "busy CPUs that make flush events, the lowest", low=1, whole=True, optional=True),
    "window_events": Parameter(
        "1", "the most flush events one lane measures", low=32, high=1e8, whole=True, default=8192
    ),
    "warmup_events": Parameter(
        "1",
        "flush events before measuring; a CPU's first one counts as no wait, so cover it",
        high=1e8,
        whole=True,
        optional=True,
    ),
    "precision": Parameter("1", "stop at this relative 95 % half-width of system time", default=0.0),
    "replicas": Parameter("1", "independent repetitions", low=1, high=100_000, whole=True, default=1),
    "seed": Parameter("1", "root of every random stream", whole=True, default=0),
}

Pages = tuple[tuple[int, float], ...]  # (pages, weight), ascending pages


def check(name: str, value: Any) -> Any:
    """The value in its checked form; ValueError naming the parameter, the value and what is allowed."""
    parameter = PARAMETERS[name]
    if value is None and parameter.optional:
        return None
    if name == "range_pages":
        return _check_pages(value)
    if parameter.choices:
        if not isinstance(value, str) or value not in parameter.choices:
            raise ValueError(f"{name}={_short(value)}: must be one of {', '.join(parameter.choices)}")
        return str(value)
    if np.ma.isMaskedArray(value):
        raise ValueError(f"{name} is masked: must be a number{_allowed(parameter)}")
    if not isinstance(value, bool | int | float):
        item = getattr(value, "item", None)  # of a numpy scalar
        value = item() if callable(item) and getattr(value, "ndim", 1) == 0 else value
        value = float(value) if isinstance(value, np.floating) else value  # a long double is its own item
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name}={_short(value)}: must be a number{_allowed(parameter)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name}={value!r}: must be finite{_allowed(parameter)}")
    if parameter.whole and value != int(value):
        raise ValueError(f"{name}={value!r}: must be a whole number{_allowed(parameter)}")
    if parameter.high == LARGEST < value:
        raise ValueError(f"{name}={_short(value)}: must be at most {LARGEST:g}")
    if not parameter.low <= value <= parameter.high:
        raise ValueError(f"{name}={_short(value)}: must be{_allowed(parameter).replace(', ', ' ', 1)}")
    return int(value) if parameter.whole else float(value)


def is_number(name: str) -> bool:
    """Whether a parameter's values are numbers, and not names or ranges of pages."""
    return name in PARAMETERS and name != "range_pages" and not PARAMETERS[name].choices


def busy_cpus(jobs: Any, cores: Any) -> Any:
    """How many CPUs run the build under `make -j`, of numbers or arrays."""
    return np.clip(np.floor(jobs), 1, cores)


def default_warmup(window_events: Any, cores: Any) -> Any:
    """Flush events before measuring where `warmup_events` is not given, of numbers or arrays."""
    return np.maximum(window_events // 3, 16 * cores)


def check_together(point: Mapping[str, Any]) -> None:
    """ValueError where two parameters, each fine alone, contradict each other."""
    cores = point["cores"]
    for name in ("sockets", "threads_per_core"):
        if cores % point[name]:
            raise ValueError(f"{name}={point[name]:g}: must divide cores={cores}")
    if point.get("fill") == "sockets" and cores // point["threads_per_core"] % point["sockets"]:
        raise ValueError(f"fill=sockets: needs as many cores on each of sockets={point['sockets']:g}")
    if point["apic"] == "flat" and cores > FLAT_APIC_CPUS:
        raise ValueError(f"apic=flat: reaches at most {FLAT_APIC_CPUS} CPUs, and cores={cores}")
    if point.get("user_s") == 0 and point.get("base_system_s") == 0:
        raise ValueError("user_s=0 and base_system_s=0: a build takes CPU time, so one of them must be above 0")


def _short(value: Any) -> str:
    """A value as a sentence repeats it."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of too many digits
        return "a number of too many digits"
    return text if len(text) <= 60 else text[:57] + "..."


def _allowed(parameter: Parameter) -> str:
    if parameter.high == LARGEST:
        return f", at least {parameter.low:g}"
    return f", from {parameter.low:g} to {parameter.high:g}"


def _check_pages(value: Any) -> Pages:
    if not isinstance(value, Mapping):
        try:
            value = {int(pages): weight for pages, weight in value}
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"range_pages={_short(value)}: must map pages to weights, like {{1: 97, 512: 3}}"
            ) from None
    out = []
    for pages, weight in value.items():
        try:
            if isinstance(weight, str | bool):
                raise ValueError
            whole, weight = int(pages), float(weight)
            if whole != float(pages) or not 1 <= whole <= MOST_PAGES or not 0 <= weight <= LARGEST:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"range_pages={{{_short(pages)}: {_short(weight)}}}: pages must be whole and at least 1, "
                "weights finite and at least 0"
            ) from None
        out.append((whole, weight))
    if not sum(weight for _, weight in out) > 0:
        raise ValueError(f"range_pages={dict(out)}: the weights must not all be zero")
    return tuple(sorted(out))
