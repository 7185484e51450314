"""Every parameter of one simulation: its name, unit, range and meaning.

This table is the only list of parameters: whatever else needs to know something of one asks a field of its row. It
holds no cost: numbers live in `conf/` with their sources.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np

APIC = ("auto", "flat", "cluster", "physical")
DELIVERIES = ("apic", "exit", "hypercall")
FILLS = ("spread", "sockets")
OPERATIONS = ("exponential", "constant")
ACCOUNTING = ("tick", "irq_time")
LARGEST = 1e15  # of any number: beyond, sums of doubles lose whole units
MOST_PAGES = 2**40  # of one range
FLAT_APIC_CPUS = 8  # logical destination mode names at most eight CPUs


class Reader(Enum):
    """What reads a parameter; which of these a policy is, `sim/reading.py` says."""

    WORK = auto()  # any workload, also where nothing is flushed
    LOOPS = auto()  # any closed loop
    EVENTS = auto()  # any flush event
    LOCAL = auto()  # a flush by an instruction, in a handler or on the sender
    CHECKS = auto()  # a check that finds its mark pending
    INTERRUPTS = auto()  # a broadcast by interrupts
    GENERATIONS = auto()  # a CPU that remembers up to which generation it has flushed
    FABRIC = auto()  # a hardware broadcast
    MARK = auto()  # a mark,
    CONTENDED = auto()  # on a line that several CPUs want,
    FLAGS = auto()  # on one line per CPU,
    COPIES = auto()  # or on a line of which CPUs share copies
    SWITCH = auto()  # checks at switches to a user task,
    TICK = auto()  # at the tick,
    ENTRY = auto()  # at kernel entries,
    MIGRATION = auto()  # and where tasks arrive
    STATE = auto()  # targets that depend on whether a CPU is in user mode
    DEADLINE = auto()  # an interrupt for a mark that is too old
    COUNT = auto()  # the `events` of some policies


class Kind(Enum):
    """Of which kind of workload a parameter is."""

    ANY = "any workload"
    BUILD = "a build"
    LOOP = "a closed loop"


@dataclass(frozen=True)
class Parameter:
    """One parameter: its unit, the closed range it may take, what it means, and what reads it."""

    unit: str
    meaning: str
    low: float = 0.0
    high: float = LARGEST
    whole: bool = False
    choices: tuple[str, ...] = ()
    default: Any = None  # None: has to be given when the policy reads it
    optional: bool = False  # None is a value: "derive it"
    readers: tuple[Reader, ...] = ()
    kind: Kind = Kind.ANY
    defining: bool = False  # whether giving it says that a workload is of its kind
    same: bool = False  # for all lanes that are simulated side by side
    certain: bool = False  # a size of the point, never drawn
    control: bool = False  # of the simulation, not of what is simulated: any policy takes it
    per_sweep: bool = False  # one value for the whole sweep
    instruction: bool = False  # the time of a core's own instructions, which follows its clock
    of_kernel: bool = False  # one value for all machines
    seldom: bool = False  # read by few policies, and drawn only where one of them is simulated
    compiled: bool = False  # only the compiled engine models it where it is not its default
    makes: tuple[str, ...] = ()  # parameters that are made from it, which is none itself

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers, and not names or ranges of pages."""
        return not self.choices and self.unit != PAGES


PAGES = "pages: weight"  # the unit of a mix of ranges
_SIZE: dict[str, Any] = {"whole": True, "certain": True}
_CONTROL: dict[str, Any] = {"control": True, "certain": True}


def _ns(meaning: str, *readers: Reader, **more: Any) -> Parameter:
    return Parameter("ns", meaning, readers=readers, **more)


def _instructions(meaning: str, *readers: Reader, **more: Any) -> Parameter:
    return _ns(meaning, *readers, instruction=True, **more)


def _lines(meaning: str, *readers: Reader) -> Parameter:
    return Parameter("transfers", meaning, readers=readers, of_kernel=True)


def _of_a_guest(meaning: str, *readers: Reader) -> Parameter:
    """A cost that counts where interrupts leave the guest."""
    return _ns(f"{meaning}; counts unless delivery is apic", Reader.INTERRUPTS, *readers, default=0.0, seldom=True)


def _share(meaning: str, *readers: Reader, **more: Any) -> Parameter:
    return Parameter("1", meaning, high=1.0, readers=readers, **more)


_WORK = (Reader.WORK, Reader.EVENTS)
_FLUSH = (Reader.LOCAL, Reader.CHECKS, Reader.FABRIC)
_BUILD: dict[str, Any] = {"kind": Kind.BUILD}
_LOOP: dict[str, Any] = {"kind": Kind.LOOP}

PARAMETERS: dict[str, Parameter] = {
    # the machine's shape
    "cores": Parameter("1", "logical CPUs online", 1, high=4096, readers=_WORK, same=True, **_SIZE),
    "sockets": Parameter("1", "sockets", 1, default=1, readers=(Reader.EVENTS, Reader.LOOPS), same=True, **_SIZE),
    "fill": Parameter(
        "name",
        "which CPUs the jobs take first: of all sockets in turn, or the cores of socket 0 and so on, then all siblings",
        choices=FILLS, default="spread", readers=(Reader.INTERRUPTS, Reader.MARK, Reader.LOOPS), same=True,
    ),
    "threads_per_core": Parameter(
        "1", "SMT threads a core", 1, default=1, readers=(Reader.EVENTS, Reader.LOOPS), same=True, **_SIZE
    ),
    "jobs": Parameter(
        "1", "make -j; min(floor(jobs), cores) CPUs are busy", 1, readers=(*_WORK, Reader.SWITCH), certain=True
    ),
    "cluster_cores": Parameter(
        "1", "cores that share a last-level cache; null: all of a socket", 1, optional=True,
        readers=(Reader.EVENTS, Reader.LOOPS),
        same=True, **_SIZE,
    ),
    "isolated": Parameter(
        "1", "busy CPUs that make no flush events and are isolated (nohz_full): no tick, few entries; the highest",
        default=0, readers=(Reader.EVENTS,), same=True, compiled=True, whole=True,
    ),
    "apic": Parameter(
        "name", "targets that one ICR write reaches", choices=APIC, default="auto", readers=(Reader.EVENTS,), same=True
    ),
    "ceiling": Parameter(
        "pages", "tlb_single_page_flush_ceiling; a longer range is a full flush", whole=True,
        readers=(Reader.LOCAL, Reader.FABRIC),
    ),
    # one flush on one CPU
    "alloc_bookkeeping_ns": _instructions("XPFO's own work in an alloc event", Reader.EVENTS, **_BUILD),
    "kunmap_bookkeeping_ns": _instructions(
        "XPFO's own work in a kunmap event: page lock twice, PTE writes", Reader.EVENTS, **_BUILD
    ),
    "flush_fixed_ns": _instructions("range flush on one CPU, fixed part", Reader.LOCAL),
    "invlpg_ns": _instructions("range flush on one CPU, each page (PTI's second invalidation included)", Reader.LOCAL),
    "flush_all_ns": _instructions("full flush on one CPU, global entries included", Reader.LOCAL, Reader.CHECKS),
    "flush_mm_ns": _instructions(
        "full flush of one address space on one CPU: a write to CR3, global entries stay", Reader.GENERATIONS,
        seldom=True,
    ),
    "refill_ns": _ns("TLB misses after a full flush, in the next compute", *_FLUSH),
    "refill_system_share": _share("share of the refill that is system time", *_FLUSH, of_kernel=True, **_BUILD),
    "user_refill_ns": _ns("user misses after a range flush, without INVPCID under PTI", Reader.LOCAL),
    # a broadcast
    "mask_scan_ns": _instructions("sender: walking the CPU mask", Reader.INTERRUPTS),
    "enqueue_fixed_ns": _instructions("sender: each request, beside the transfers of cache lines", Reader.INTERRUPTS),
    "queue_lines": _lines(
        "sender, each request: transfers of the target's call_single_queue; target: when it takes the queue",
        Reader.INTERRUPTS,
    ),
    "csd_lines": _lines(
        "sender, each request: transfers of the request's own line, which its target wrote last", Reader.INTERRUPTS
    ),
    "ipi_send_ns": _instructions("sender: one ICR write", Reader.INTERRUPTS, Reader.DEADLINE),
    "ipi_latency_ns": _ns("ICR write done to interrupt taken, same socket", Reader.INTERRUPTS, Reader.DEADLINE),
    "ipi_latency_cross_ns": _ns("ICR write done to interrupt taken, other socket", Reader.INTERRUPTS),
    "irq_entry_ns": _instructions("handler run: once before its requests", Reader.INTERRUPTS, Reader.DEADLINE),
    "handler_fixed_ns": _instructions(
        "handler run: each request, beside its flush and the transfers of cache lines", Reader.INTERRUPTS,
        Reader.DEADLINE,
    ),
    "request_lines": _lines(
        "handler run, each request: transfers between its sender and its target", Reader.INTERRUPTS
    ),
    "irq_exit_ns": _instructions("handler run: once after its requests", Reader.INTERRUPTS, Reader.DEADLINE),
    "ack_lines": _lines(
        "sender: transfers for each finished request that it reads, or flag of another CPU", Reader.INTERRUPTS,
        Reader.FLAGS,
    ),
    "idle_exit_ns": _ns("added latency of an idle target that is in no run", Reader.INTERRUPTS),
    "smt_slowdown": Parameter(
        "factor",
        "requests, handler runs and work of loops take so many times as long while a thread of the core is not idle", 1,
        readers=(Reader.INTERRUPTS, Reader.LOOPS),
    ),
    # interrupts from a guest
    "delivery": Parameter(
        "name",
        "how interrupts leave a CPU: apic on bare metal or posted both ways, exit where each ICR write leaves the "
        "guest, hypercall where one exit reaches 128 targets",
        choices=DELIVERIES, default="apic", readers=(Reader.INTERRUPTS, Reader.FABRIC), same=True,
    ),
    "exit_ns": _of_a_guest("sender: one exit to the hypervisor and back, of a hardware broadcast too", Reader.FABRIC),
    "deliver_ns": _of_a_guest("sender: the hypervisor's work for one running target, inside that exit"),
    "wake_send_ns": _ns(
        "the same for an idle target that has left for the hypervisor, which wakes its thread; null: as deliver_ns; "
        "counts unless delivery is apic or wake_ns is 0",
        Reader.INTERRUPTS, optional=True, seldom=True,
    ),
    "receive_exit_ns": _ns(
        "handler run: taking the interrupt, beyond irq_entry_ns; 0 where it is posted; on bare metal of CPUs that "
        "compute alone, which run vCPUs", Reader.INTERRUPTS, default=0.0, seldom=True, compiled=True,
    ),
    "wake_ns": _of_a_guest(
        "added latency of an idle target that has left for the hypervisor, in place of idle_exit_ns; 0: none has left"
    ),
    # a CPU that cannot take an interrupt now: interrupts off, a firmware interrupt, a preempted vCPU
    "held_share": _share(
        "share of interrupts whose CPU cannot take them on arrival; share of time where it is marked pending instead",
        Reader.INTERRUPTS, default=0.0, seldom=True, compiled=True,
    ),
    "held_ns": _ns(
        "how long a CPU cannot take such an interrupt, mean", Reader.INTERRUPTS, default=0.0, seldom=True
    ),
    # deferral and hardware
    "line_hit_ns": _ns("a cache line that this CPU holds already", Reader.INTERRUPTS, Reader.MARK, Reader.LOOPS),
    "line_sibling_ns": _ns(
        "a line that the other thread of the core modified; null: as in a cluster", Reader.INTERRUPTS, Reader.MARK,
        Reader.LOOPS, optional=True,
    ),
    "line_cluster_ns": _ns(
        "a line that a core with the same last-level cache modified; null: as in a socket", Reader.INTERRUPTS,
        Reader.MARK, Reader.LOOPS, optional=True,
    ),
    "line_socket_ns": _ns(
        "a line that another core of the socket modified", Reader.INTERRUPTS, Reader.MARK, Reader.LOOPS
    ),
    "line_cross_ns": _ns(
        "a line that a CPU of another socket modified", Reader.INTERRUPTS, Reader.MARK, Reader.LOOPS, optional=True
    ),
    "line_burst": Parameter(
        "1", "turns in a row of a contended line inside one cluster, before it goes to who has waited longest", 1, 1e6,
        whole=True, readers=(Reader.CONTENDED,),
    ),
    "line_fill_ns": _ns(
        "reading a line of which the CPU has no copy: how long it is occupied; reads of others go on behind it",
        Reader.COPIES, Reader.GENERATIONS, seldom=True,
    ),
    "broadcast_ns": _ns("hardware broadcast, fixed part", Reader.FABRIC),
    "broadcast_page_ns": _ns("hardware broadcast, each page", Reader.FABRIC),
    "broadcast_all_ns": _ns("hardware broadcast, whole TLB", Reader.FABRIC),
    "broadcast_per_waiter": Parameter(
        "1", "how much longer a hardware broadcast takes for each one that waits behind it, of its time alone",
        default=0.0, readers=(Reader.FABRIC,), seldom=True,
    ),
    "broadcast_repeats": Parameter(
        "1", "times that each hardware broadcast is done, as the workarounds of some errata ask", 1, 1000, whole=True,
        default=1, readers=(Reader.FABRIC,),
    ),
    # the workload on the machine
    "accounting": Parameter(
        "name", "how the kernel books handler time", choices=ACCOUNTING, readers=(Reader.EVENTS,), of_kernel=True,
        **_BUILD,
    ),
    "operation_ns": Parameter(
        "ns", "own work of one operation, mean", optional=True, readers=_WORK, defining=True, **_LOOP
    ),
    "one_thread_ops_per_s": Parameter(
        "1/s", "operations a second of one thread alone, from which operation_ns follows", 1e-6, optional=True,
        readers=_WORK, defining=True, **_LOOP,
    ),
    "rate_per_s": Parameter(
        "1/s", "operations a second of all jobs, from which operation_ns follows", 1e-6, optional=True, readers=_WORK,
        defining=True, **_LOOP,
    ),
    "operation": Parameter(
        "name", "how operation_ns is distributed", choices=OPERATIONS, default="exponential", readers=_WORK, same=True,
        **_LOOP,
    ),
    "events_per_operation": Parameter(
        "1", "flush events of one operation; 0: none, where it takes locks", default=1.0, readers=_WORK, **_LOOP
    ),
    "locks_per_operation": Parameter(
        "1", "lock sections of one operation, before its flush events", high=1000, default=0.0,
        readers=(Reader.LOOPS,), compiled=True, **_LOOP,
    ),
    "lock_hold_ns": _ns(
        "how long a lock section holds its lock, a queued spinlock", Reader.LOOPS, default=0.0, **_LOOP
    ),
    "lock_per": Parameter(
        "name", "how many of these locks there are: one of the machine, or one of each socket for its own CPUs",
        choices=("machine", "socket"), default="machine", readers=(Reader.LOOPS,), same=True, **_LOOP,
    ),
    "lock_irqs": Parameter(
        "name", "whether interrupts are on while a CPU waits for the lock and holds it", choices=("off", "on"),
        default="off", readers=(Reader.LOOPS,), same=True, **_LOOP,
    ),
    "lock_lines": _lines("a lock that is handed over to a CPU that waits for it", Reader.LOOPS),
    "user_s": Parameter("s", "user CPU seconds of the build without XPFO", readers=_WORK, defining=True, **_BUILD),
    "base_system_s": Parameter(
        "s", "system CPU seconds of the build without XPFO", readers=_WORK, defining=True, **_BUILD
    ),
    "serial_share": _share("share of the build that runs on one CPU", *_WORK, **_BUILD),
    "kunmap_events": Parameter(
        "1", "xpfo_kunmap flushes of the whole build", readers=_WORK, defining=True, **_BUILD
    ),
    "alloc_events": Parameter(
        "1", "xpfo_alloc_pages flushes of the whole build", readers=_WORK, defining=True, **_BUILD
    ),
    "range_pages": Parameter(PAGES, "pages of an alloc event, with weights", readers=_WORK),
    "user_switches_per_s": Parameter("1/s", "switches to a user task per busy CPU second", readers=(Reader.SWITCH,)),
    "switch_cv2": Parameter(
        "1", "squared coefficient of variation of switch intervals", 1, readers=(Reader.SWITCH,)
    ),
    "migrations_per_s": Parameter("1/s", "migrations per busy CPU second", readers=(Reader.MIGRATION,)),
    "kernel_entries_per_s": Parameter(
        "1/s", "kernel entries per busy CPU second", readers=(Reader.ENTRY, Reader.STATE)
    ),
    "kernel_share": _share("share of a computing CPU's time in the kernel", Reader.STATE, seldom=True),
    "isolated_switches_per_s": Parameter(
        "1/s", "switches to a user task per second of an isolated CPU", readers=(Reader.SWITCH,), seldom=True
    ),
    "isolated_entries_per_s": Parameter(
        "1/s", "kernel entries per second of an isolated CPU", readers=(Reader.ENTRY, Reader.STATE), seldom=True
    ),
    "isolated_kernel_share": _share("share of an isolated CPU's time in the kernel", Reader.STATE, seldom=True),
    "tick_hz": Parameter("Hz", "periodic tick", readers=(Reader.TICK,), of_kernel=True),
    "timeslice_ms": Parameter(
        "ms", "time slice when there are more jobs than CPUs", 1e-6, readers=(Reader.SWITCH,), of_kernel=True
    ),
    "pcp_batch": Parameter(
        "pages", "pages of one refill of the per-CPU free list", 1, readers=(Reader.COUNT,), of_kernel=True
    ),
    "pcp_refill_share": _share("share of order-0 allocs that come from a refill", Reader.COUNT),
    "ownership_change_share": _share("share of allocs whose page was the kernel's before", Reader.COUNT),
    "pool_pages": Parameter(
        "pages", "pages that a pool of unmapped pages is filled with at once", 1, default=512, readers=(Reader.COUNT,)
    ),
    # controls
    "think_ns": Parameter(
        "ns", "mean compute between flush events, instead of the build's", optional=True, readers=(Reader.EVENTS,),
        control=True,
    ),
    "flushers": Parameter(
        "1", "busy CPUs that make flush events, the lowest", 1, whole=True, optional=True, readers=(Reader.EVENTS,),
        same=True, **_CONTROL,
    ),
    "window_events": Parameter(
        "1", "the most flush events one lane measures", 32, 1e8, whole=True, default=8192, same=True, **_CONTROL
    ),
    "warmup_events": Parameter(
        "1", "flush events before measuring; a CPU's first one counts as no wait, so cover it", high=1e8, whole=True,
        optional=True, same=True, **_CONTROL,
    ),
    "precision": Parameter("1", "stop at this relative 95 % half-width of system time", default=0.0, **_CONTROL),
    "seed": Parameter("1", "root of every random stream", whole=True, default=0, per_sweep=True),
    "replicas": Parameter("1", "independent repetitions", 1, 100_000, whole=True, default=1, per_sweep=True),
}  # fmt: skip


def defining(kind: Kind) -> list[str]:
    """The parameters that say that a workload is of this kind."""
    return [name for name, parameter in PARAMETERS.items() if parameter.kind is kind and parameter.defining]


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
    """Whether a column holds numbers, and not names or ranges of pages."""
    return name in PARAMETERS and PARAMETERS[name].is_number


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
    busy = busy_cpus(point.get("jobs", cores), cores)
    senders = point.get("flushers")
    others = busy - (busy if senders is None or np.isnan(senders) else min(senders, busy))
    if (point.get("isolated") or 0) > others:
        raise ValueError(
            f"isolated={point['isolated']:g}: must be at most {others:g}, the busy CPUs that make no flush events; "
            "give flushers"
        )
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
