"""Every parameter of one simulation: its name, unit, range and meaning.

This table is the only list of parameters: all other code reads the fields of its rows. It has no costs: these are in
`conf/`, with their sources.
"""

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
LARGEST = 1e15  # the largest number: beyond it, sums of doubles lose whole units
MOST_PAGES = 2**40  # pages of one range
FLAT_APIC_CPUS = 8  # the most CPUs that logical destination mode can name


class Reader(Enum):
    """The readers of a parameter; `sim/reading.py` finds those of a policy."""

    WORK = auto()  # any workload, also without flush events
    LOOPS = auto()  # any closed loop
    EVENTS = auto()  # any flush event
    LOCAL = auto()  # a flush by an instruction, in a handler or on the sender
    CHECKS = auto()  # a check that finds its mark pending
    INTERRUPTS = auto()  # a broadcast by interrupts
    GENERATIONS = auto()  # a CPU that keeps the generation up to which it has flushed
    FABRIC = auto()  # a hardware broadcast
    MARK = auto()  # a mark
    CONTENDED = auto()  # a mark on a contended line
    FLAGS = auto()  # a mark on one line per CPU
    COPIES = auto()  # a mark on a line of which CPUs share copies
    SWITCH = auto()  # checks at switches to a user task
    TICK = auto()  # checks at the tick
    ENTRY = auto()  # checks at kernel entries
    MIGRATION = auto()  # checks at migrations
    STATE = auto()  # targets that depend on whether a CPU is in user mode
    DEADLINE = auto()  # an interrupt for a mark that is too old
    COUNT = auto()  # the function `events` of some policies


class Kind(Enum):
    """The kind of workload that has a parameter."""

    ANY = "any workload"
    BUILD = "a build"
    LOOP = "a closed loop"


@dataclass(frozen=True)
class Parameter:
    """One parameter: its unit, meaning, closed range and readers."""

    unit: str
    meaning: str
    low: float = 0.0
    high: float = LARGEST
    whole: bool = False
    choices: tuple[str, ...] = ()
    default: Any = None  # None: must be given if the policy reads it
    optional: bool = False  # None is a legal value: the model derives it
    readers: tuple[Reader, ...] = ()
    kind: Kind = Kind.ANY
    defining: bool = False  # a workload that gives it is of its kind
    same: bool = False  # equal in all lanes that are simulated side by side
    certain: bool = False  # never uncertain, so not part of a cost sample
    control: bool = False  # controls the simulation: any policy takes it
    per_sweep: bool = False  # one value for the whole sweep
    instruction: bool = False  # time of instructions, which follows the clock of the core
    of_kernel: bool = False  # one value for all machines
    seldom: bool = False  # read by few policies, and sampled only with one of them
    compiled: bool = False  # only the compiled engine models values other than the default
    makes: tuple[str, ...] = ()  # parameters derived from it; it is then no parameter itself

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers, not names or ranges of pages."""
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
    """A cost of interrupts that leave the guest."""
    return _ns(f"{meaning}; counts unless delivery is apic", Reader.INTERRUPTS, *readers, default=0.0, seldom=True)


def _share(meaning: str, *readers: Reader, **more: Any) -> Parameter:
    return Parameter("1", meaning, high=1.0, readers=readers, **more)


def _per_s(meaning: str, *readers: Reader, **more: Any) -> Parameter:
    return Parameter("1/s", meaning, readers=readers, **more)


_WORK = (Reader.WORK, Reader.EVENTS)
_LINE = (Reader.INTERRUPTS, Reader.MARK, Reader.LOOPS)
_FLUSH = (Reader.LOCAL, Reader.CHECKS, Reader.FABRIC)
_BUILD: dict[str, Any] = {"kind": Kind.BUILD}
_LOOP: dict[str, Any] = {"kind": Kind.LOOP}
_OF_BUILDS: dict[str, Any] = {"readers": _WORK, "defining": True, **_BUILD}
_OF_LOOPS: dict[str, Any] = {"readers": _WORK, "defining": True, "optional": True, **_LOOP}

PARAMETERS: dict[str, Parameter] = {
    # the machine's shape
    "cores": Parameter("1", "logical CPUs online", 1, high=4096, readers=_WORK, same=True, **_SIZE),
    "sockets": Parameter("1", "sockets", 1, default=1, readers=(Reader.EVENTS, Reader.LOOPS), same=True, **_SIZE),
    "fill": Parameter(
        "name",
        "order in which jobs take CPUs: all sockets in turn, or the cores of socket 0, then of 1; siblings last",
        choices=FILLS, default="spread", readers=(Reader.INTERRUPTS, Reader.MARK, Reader.LOOPS), same=True,
    ),
    "threads_per_core": Parameter(
        "1", "SMT threads per core", 1, default=1, readers=(Reader.EVENTS, Reader.LOOPS), same=True, **_SIZE
    ),
    "jobs": Parameter(
        "1", "make -j; min(floor(jobs), cores) CPUs are busy", 1, readers=(*_WORK, Reader.SWITCH), certain=True
    ),
    "cluster_cores": Parameter(
        "1", "cores that share a last-level cache; null: all cores of a socket", 1, optional=True,
        readers=(Reader.EVENTS, Reader.LOOPS),
        same=True, **_SIZE,
    ),
    "isolated": Parameter(
        "1", "isolated busy CPUs, the highest ones (nohz_full): no flush events, no tick, few kernel entries",
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
    "invlpg_ns": _instructions("range flush on one CPU, each page (twice under PTI)", Reader.LOCAL),
    "flush_all_ns": _instructions("full flush on one CPU, including global entries", Reader.LOCAL, Reader.CHECKS),
    "flush_mm_ns": _instructions(
        "full flush of one address space on one CPU: a write to CR3, which keeps global entries", Reader.GENERATIONS,
        seldom=True,
    ),
    "refill_ns": _ns("TLB misses after a full flush, in the next compute", *_FLUSH),
    "refill_system_share": _share("share of the refill that is system time", *_FLUSH, of_kernel=True, **_BUILD),
    "user_refill_ns": _ns("user misses after a range flush, without INVPCID under PTI", Reader.LOCAL),
    # a broadcast
    "mask_scan_ns": _instructions("sender: walk over the CPU mask", Reader.INTERRUPTS),
    "enqueue_fixed_ns": _instructions("sender: each request, without the transfers of cache lines", Reader.INTERRUPTS),
    "queue_lines": _lines(
        "transfers of the line of the target's call_single_queue, for each request and when the target takes the queue",
        Reader.INTERRUPTS,
    ),
    "csd_lines": _lines(
        "sender: transfers of the line of each request, which its target wrote last", Reader.INTERRUPTS
    ),
    "ipi_send_ns": _instructions("sender: one ICR write", Reader.INTERRUPTS, Reader.DEADLINE),
    "ipi_latency_ns": _ns("from the ICR write to the interrupt, same socket", Reader.INTERRUPTS, Reader.DEADLINE),
    "ipi_latency_cross_ns": _ns("from the ICR write to the interrupt, other socket", Reader.INTERRUPTS),
    "irq_entry_ns": _instructions("handler run: entry, once before its requests", Reader.INTERRUPTS, Reader.DEADLINE),
    "handler_fixed_ns": _instructions(
        "handler run: each request, without its flush and the transfers of cache lines", Reader.INTERRUPTS,
        Reader.DEADLINE,
    ),
    "request_lines": _lines("handler run: transfers between sender and target for each request", Reader.INTERRUPTS),
    "irq_exit_ns": _instructions("handler run: exit, once after its requests", Reader.INTERRUPTS, Reader.DEADLINE),
    "ack_lines": _lines(
        "sender: transfers for each ack that it reads, or for each flag of another CPU", Reader.INTERRUPTS,
        Reader.FLAGS,
    ),
    "idle_exit_ns": _ns("added latency of an idle target outside handler runs", Reader.INTERRUPTS),
    "smt_slowdown": Parameter(
        "factor",
        "requests, handler runs and work of closed loops take this many times as long if a sibling is not idle", 1,
        readers=(Reader.INTERRUPTS, Reader.LOOPS),
    ),
    # interrupts from a guest
    "delivery": Parameter(
        "name",
        "how a CPU sends interrupts: apic on bare metal or posted both ways, exit if each ICR write leaves the guest, "
        "hypercall if one exit reaches 128 targets",
        choices=DELIVERIES, default="apic", readers=(Reader.INTERRUPTS, Reader.FABRIC), same=True,
    ),
    "exit_ns": _of_a_guest("sender: one exit to the hypervisor and back, also for a hardware broadcast", Reader.FABRIC),
    "deliver_ns": _of_a_guest("sender: work of the hypervisor for one running target, inside that exit"),
    "wake_send_ns": _ns(
        "deliver_ns for an idle target that has left for the hypervisor, which wakes its thread; null: as deliver_ns; "
        "counts unless delivery is apic or wake_ns is 0",
        Reader.INTERRUPTS, optional=True, seldom=True,
    ),
    "receive_exit_ns": _ns(
        "handler run: cost of the interrupt beyond irq_entry_ns; 0 if it is posted; on bare metal only for computing "
        "CPUs, which run vCPUs", Reader.INTERRUPTS, default=0.0, seldom=True, compiled=True,
    ),
    "wake_ns": _of_a_guest(
        "added latency of an idle target that has left for the hypervisor, instead of idle_exit_ns; 0: none has left"
    ),
    # a CPU that cannot take an interrupt now: interrupts off, a firmware interrupt, a preempted vCPU
    "preempted_share": _share(
        "share of interrupts that their CPU cannot take on arrival; share of time if such a CPU is marked pending",
        Reader.INTERRUPTS, default=0.0, seldom=True, compiled=True,
    ),
    "preempted_ns": _ns(
        "mean time for which a CPU cannot take such an interrupt", Reader.INTERRUPTS, default=0.0, seldom=True
    ),
    # deferral and hardware
    "line_hit_ns": _ns("access to a cache line in this CPU's own cache", *_LINE),
    "line_sibling_ns": _ns("transfer of a line that a sibling modified; null: as in a cluster", *_LINE, optional=True),
    "line_cluster_ns": _ns(
        "transfer of a line that a core of the cluster modified; null: as in a socket", *_LINE, optional=True
    ),
    "line_socket_ns": _ns("transfer of a line that another core of the socket modified", *_LINE),
    "line_cross_ns": _ns("transfer of a line that a CPU of another socket modified", *_LINE, optional=True),
    "line_burst": Parameter(
        "1", "turns in a row of a contended line inside one cluster, before it goes to the longest waiter", 1, 1e6,
        whole=True, readers=(Reader.CONTENDED,),
    ),
    "line_fill_ns": _ns(
        "time for which a read by a CPU without a copy occupies the line; the next read then begins",
        Reader.COPIES, Reader.GENERATIONS, seldom=True,
    ),
    "broadcast_ns": _ns("hardware broadcast, fixed part", Reader.FABRIC),
    "broadcast_page_ns": _ns("hardware broadcast, each page", Reader.FABRIC),
    "broadcast_all_ns": _ns("hardware broadcast, whole TLB", Reader.FABRIC),
    "broadcast_per_waiter": Parameter(
        "1", "increase of the time of a hardware broadcast for each waiter behind it, as a share of its time",
        default=0.0, readers=(Reader.FABRIC,), seldom=True,
    ),
    "broadcast_repeats": Parameter(
        "1", "repetitions of each hardware broadcast, for the workarounds of some errata", 1, 1000, whole=True,
        default=1, readers=(Reader.FABRIC,),
    ),
    # the workload on the machine
    "accounting": Parameter(
        "name", "how the kernel charges handler time", choices=ACCOUNTING, readers=(Reader.EVENTS,), of_kernel=True,
        **_BUILD,
    ),
    "operation_ns": Parameter("ns", "mean work of one operation without flush events", **_OF_LOOPS),
    "one_thread_ops_per_s": Parameter(
        "1/s", "operations per second of one thread alone, from which operation_ns follows", 1e-6, **_OF_LOOPS
    ),
    "rate_per_s": Parameter(
        "1/s", "operations per second of all jobs, from which operation_ns follows", 1e-6, **_OF_LOOPS
    ),
    "operation": Parameter(
        "name", "distribution of operation_ns", choices=OPERATIONS, default="exponential", readers=_WORK, same=True,
        **_LOOP,
    ),
    "events_per_operation": Parameter(
        "1", "flush events of one operation; 0 only with locks", default=1.0, readers=_WORK, **_LOOP
    ),
    "locks_per_operation": Parameter(
        "1", "lock sections of one operation, before its flush events", high=1000, default=0.0,
        readers=(Reader.LOOPS,), compiled=True, **_LOOP,
    ),
    "lock_hold_ns": _ns(
        "time for which a lock section holds its lock, a queued spinlock", Reader.LOOPS, default=0.0, **_LOOP
    ),
    "lock_per": Parameter(
        "name", "scope of the lock: one for the machine, or one for the CPUs of each socket",
        choices=("machine", "socket"), default="machine", readers=(Reader.LOOPS,), same=True, **_LOOP,
    ),
    "lock_irqs": Parameter(
        "name", "interrupts while a CPU waits for the lock and holds it", choices=("off", "on"),
        default="off", readers=(Reader.LOOPS,), same=True, **_LOOP,
    ),
    "lock_lines": _lines("transfers for the handover of a lock to a waiter", Reader.LOOPS),
    "user_s": Parameter("s", "user CPU seconds of the build without XPFO", **_OF_BUILDS),
    "base_system_s": Parameter("s", "system CPU seconds of the build without XPFO", **_OF_BUILDS),
    "serial_share": _share("share of the build that runs on one CPU", *_WORK, **_BUILD),
    "kunmap_events": Parameter("1", "xpfo_kunmap() flush events of the whole build", **_OF_BUILDS),
    "alloc_events": Parameter("1", "xpfo_alloc_pages() flush events of the whole build", **_OF_BUILDS),
    "range_pages": Parameter(PAGES, "pages of an alloc event, with weights", readers=_WORK),
    "user_switches_per_s": _per_s("switches to a user task per second of a busy CPU", Reader.SWITCH),
    "switch_cv2": Parameter("1", "squared coefficient of variation of switch intervals", 1, readers=(Reader.SWITCH,)),
    "migrations_per_s": _per_s("migrations per second of a busy CPU", Reader.MIGRATION),
    "kernel_entries_per_s": _per_s("kernel entries per second of a busy CPU", Reader.ENTRY, Reader.STATE),
    "kernel_share": _share("share of the time of a computing CPU in the kernel", Reader.STATE, seldom=True),
    "isolated_switches_per_s": _per_s(
        "switches to a user task per second of an isolated CPU", Reader.SWITCH, seldom=True
    ),
    "isolated_entries_per_s": _per_s(
        "kernel entries per second of an isolated CPU", Reader.ENTRY, Reader.STATE, seldom=True
    ),
    "isolated_kernel_share": _share("share of the time of an isolated CPU in the kernel", Reader.STATE, seldom=True),
    "tick_hz": Parameter("Hz", "rate of the periodic tick", readers=(Reader.TICK,), of_kernel=True),
    "timeslice_ms": Parameter(
        "ms", "time slice if there are more jobs than CPUs", 1e-6, readers=(Reader.SWITCH,), of_kernel=True
    ),
    "pcp_batch": Parameter(
        "pages", "pages of one refill of the per-CPU free list", 1, readers=(Reader.COUNT,), of_kernel=True
    ),
    "pcp_refill_share": _share("share of order-0 allocs that come from a refill", Reader.COUNT),
    "ownership_change_share": _share("share of allocs of a page that the kernel owned before", Reader.COUNT),
    "pool_pages": Parameter(
        "pages", "pages of one refill of the pool of unmapped pages", 1, default=512, readers=(Reader.COUNT,)
    ),
    # controls
    "think_ns": Parameter(
        "ns", "mean compute between flush events; replaces that of the build", optional=True,
        readers=(Reader.EVENTS,), control=True,
    ),
    "senders": Parameter(
        "1", "senders: busy CPUs that make flush events, the lowest ones", 1, whole=True, optional=True,
        readers=(Reader.EVENTS,), same=True, **_CONTROL,
    ),
    "window_events": Parameter(
        "1", "most flush events that one lane measures", 32, 1e8, whole=True, default=8192, same=True, **_CONTROL
    ),
    "warmup_events": Parameter(
        "1", "flush events before the window; should cover the first of each CPU, which counts as no wait", high=1e8,
        whole=True, optional=True, same=True, **_CONTROL,
    ),
    "precision": Parameter("1", "relative 95 % half-width of system time that stops a lane", default=0.0, **_CONTROL),
    "seed": Parameter("1", "root of every random stream", whole=True, default=0, per_sweep=True),
    "replicas": Parameter("1", "independent repetitions", 1, 100_000, whole=True, default=1, per_sweep=True),
}  # fmt: skip


def defining(kind: Kind) -> list[str]:
    """The parameters that define a workload of this kind."""
    return [name for name, parameter in PARAMETERS.items() if parameter.kind is kind and parameter.defining]


Pages = tuple[tuple[int, float], ...]  # (pages, weight), ascending pages


def check(name: str, value: Any) -> Any:
    """The value in its checked form; ValueError with the parameter, the value and the allowed values."""
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
        item = getattr(value, "item", None)  # a method of numpy scalars
        value = item() if callable(item) and getattr(value, "ndim", 1) == 0 else value
        value = float(value) if isinstance(value, np.floating) else value  # item() of a long double is a long double
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
    """Whether a column has numbers, not names or ranges of pages."""
    return name in PARAMETERS and PARAMETERS[name].is_number


def busy_cpus(jobs: Any, cores: Any) -> Any:
    """The number of CPUs that run the build under `make -j`; takes numbers or arrays."""
    return np.clip(np.floor(jobs), 1, cores)


def default_warmup(window_events: Any, cores: Any) -> Any:
    """The default of `warmup_events`; takes numbers or arrays."""
    return np.maximum(window_events // 3, 16 * cores)


def check_together(point: Mapping[str, Any]) -> None:
    """ValueError where two parameters contradict each other, though each is legal alone."""
    cores = point["cores"]
    for name in ("sockets", "threads_per_core"):
        if cores % point[name]:
            raise ValueError(f"{name}={point[name]:g}: must divide cores={cores}")
    if point.get("fill") == "sockets" and cores // point["threads_per_core"] % point["sockets"]:
        raise ValueError(f"fill=sockets: must have equally many cores on each of sockets={point['sockets']:g}")
    busy = busy_cpus(point.get("jobs", cores), cores)
    senders = point.get("senders")
    others = busy - (busy if senders is None or np.isnan(senders) else min(senders, busy))
    if (point.get("isolated") or 0) > others:
        raise ValueError(
            f"isolated={point['isolated']:g}: must be at most {others:g}, the busy CPUs that make no flush events; "
            "give senders"
        )
    if point["apic"] == "flat" and cores > FLAT_APIC_CPUS:
        raise ValueError(f"apic=flat: reaches at most {FLAT_APIC_CPUS} CPUs, but cores={cores}")
    if point.get("user_s") == 0 and point.get("base_system_s") == 0:
        raise ValueError("user_s=0 and base_system_s=0: one of them must be above 0, since a build takes CPU time")


def _short(value: Any) -> str:
    """A value as messages show it."""
    try:
        text = repr(value)
    except ValueError:  # too many digits for repr()
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
