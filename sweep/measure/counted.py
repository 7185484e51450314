"""TLB flushes of a host from its counters, with the unknowns.

A flush event here notifies other CPUs; each of these receives a request. Values that were not counted stay unknown, and
never become 0 silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweep.errors import BadInput
from sweep.measure.interrupts import WRAP, between
from sweep.measure.perf import UTILIZED
from sweep.measure.topology import Topology
from sweep.measure.tracepoints import FULL_PAGES, RECEIVED, SEND

MOST = 2.0**63  # flushes that a kernel counts
LONGEST_S = 1e10
FEWEST = 10  # flushes or requests for a rate
OLD_KERNEL = "4.7"  # the last that printed CAL less TLB
WANTED = (
    "give two snapshots of /proc/interrupts (row TLB) or of nr_tlb_* of /proc/vmstat, or counts of tlb:tlb_flush by "
    "perf script or by reason in bpftrace"
)


@dataclass
class Counted:
    """Values from files; None if unknown."""

    sent: float | None = None  # flush events
    received: float | None = None  # requests, by all CPUs
    every: float | None = None  # tlb:tlb_flush of all reasons together
    most: float | None = None  # requests received by the CPU with most of them
    seconds: float | None = None
    pages: Mapping[int, float] | None = None  # weights of lengths of flush events
    cpus: int | None = None
    busy: float | None = None  # CPUs, on average
    senders: int | None = None
    host: Topology | None = None
    kernel: str | None = None
    since_start: bool = False
    source: str = ""  # the file with the counts
    notes: list[str] = field(default_factory=list)

    def know(self, **more: Any) -> None:
        """Set values that are not known yet."""
        for name, value in more.items():
            if getattr(self, name) is None:
                setattr(self, name, value)

    def count(self, source: str, **more: Any) -> None:
        """Set counts of flushes from a file, unless an earlier file had any."""
        if not self.source and any(value is not None for value in more.values()):
            self.source = source
            self.know(**more)


@dataclass(frozen=True)
class Load:
    """Flush events a second of the whole host, and the CPUs that each one notifies."""

    events_per_s: float
    targets: float


def loads(counted: Counted, cpus: int) -> list[Load]:
    """The counted load; with an unknown number of targets, the fewest, some and the most.

    Each event notifies at least one CPU, and at most all others of `cpus`. No CPU receives an event twice, so there are
    at least as many events as requests of the CPU with most.
    """
    seconds = counted.seconds or 1.0
    if counted.sent and counted.received:
        return [Load(counted.sent / seconds, counted.received / counted.sent)]
    most = max(1, int(min(cpus - 1, counted.received / counted.most if counted.received and counted.most else cpus)))
    out = []
    for targets in dict.fromkeys((1, round(most**0.5), most)):
        sent = counted.sent
        if counted.received:
            sent = counted.received / targets
        elif sent is None:  # all reasons: the local flush, the sending, and a flush of each target
            sent = (counted.every or 0.0) / (targets + 2.0)
        out.append(Load(sent / seconds, targets))
    return out


def check(out: Counted, seconds: float | None) -> None:
    """BadInput if no rate follows; `seconds` are the user's."""
    if out.since_start and seconds is None:
        raise BadInput(f"{out.source}: one snapshot counts since boot: give a second one, or the uptime as --seconds")
    if out.seconds is None or not out.seconds > 0:
        raise BadInput(f"{out.source}: has no duration: give --seconds")
    if out.seconds > LONGEST_S:
        raise BadInput(f"{out.source}: {out.seconds:g} s: no host runs for so long")
    counted = max(out.sent or 0.0, out.received or 0.0, out.every or 0.0)
    if counted > MOST:
        raise BadInput(f"{out.source}: {counted:g} flushes of other CPUs: no kernel counts so many")
    if counted < FEWEST:
        raise BadInput(
            f"{out.source}: {counted:g} flushes of other CPUs in {out.seconds:.3g} s: a rate needs at least {FEWEST}"
        )


def _two(out: Counted, held: list[tuple[str, Any]]) -> tuple[Any, Any]:
    """The earlier and the later snapshot; the earlier is empty if there is one."""
    if len(held) == 1:
        out.since_start = True
        out.notes.append("One snapshot counts since the host's boot; a counter that has wrapped since is too small.")
        return {}, held[0][1]
    return held[0][1], held[1][1]


def _take_interrupts(out: Counted, held: list[tuple[str, Any]]) -> None:
    for where, rows in held:
        if "TLB" not in rows:
            raise BadInput(f"{where}: no row TLB, which only x86 has (arm64 flushes by hardware): {WANTED}")
        if out.host is not None and out.host.cpus != len(rows["TLB"]):
            raise BadInput(f"{where}: {len(rows['TLB'])} CPUs, but lscpu shows {out.host.cpus}: give files of one host")
        if max(rows.get("CAL", [0])) > WRAP // 2 and out.kernel is None:
            out.know(kernel=OLD_KERNEL)
            out.notes.append("CAL is near 2^32, as kernels before 4.8 print CAL less TLB; only TLB is used.")
    out.know(cpus=len(held[0][1]["TLB"]))
    if not out.source:
        before, after = _two(out, held)
        earlier = {"TLB": before["TLB"]} if before else {}
        received = between(earlier, {"TLB": after["TLB"]}, held[-1][0])["TLB"]
        out.count(held[-1][0], received=float(sum(received)), most=float(max(received)))


def _take_vmstat(out: Counted, held: list[tuple[str, Any]]) -> None:
    before, after = _two(out, held)
    where, wanted = held[-1][0], ("nr_tlb_remote_flush", "nr_tlb_remote_flush_received")
    if not set(wanted) <= set(after):
        raise BadInput(f"{where}: no {' and '.join(wanted)}: the kernel counts them only with CONFIG_DEBUG_TLBFLUSH")
    more = {name: count - before.get(name, 0.0) for name, count in after.items() if name.startswith("nr_tlb_")}
    down = next((name for name, count in more.items() if count < 0), None)
    if down:
        raise BadInput(f"{where}: {down} went down: give the earlier file first")
    out.count(where, sent=more[wanted[0]], received=more[wanted[1]])
    fully, pages = (more.get(f"nr_tlb_local_flush_{name}", 0.0) for name in ("all", "one"))
    if fully + pages > 0:
        out.know(pages={each: count for each, count in ((1, pages), (FULL_PAGES, fully)) if count})
        out.notes.append(
            f"{fully / (fully + pages):.0%} of flushes are assumed full, by nr_tlb_local_flush_all and _one."
        )


def _take_traced(out: Counted, held: list[tuple[str, Any]]) -> None:
    where, traced = held[0]
    if not out.source:
        sent, received = traced.of(SEND), traced.of(*RECEIVED)
        out.know(seconds=traced.seconds)
        out.count(where, sent=sent or None, received=received or None, most=traced.most)
        out.count(where, every=0.0)
    out.know(pages=traced.pages, senders=traced.senders)


def _take_stat(out: Counted, held: list[tuple[str, Any]]) -> None:
    if len(held) < 2:
        raise BadInput(f"{held[0][0]}: one snapshot of /proc/stat: give two, or none")
    first, last = held[0][1], held[1][1]
    times = {name: last[name] - first[name] for name in ("user_s", "system_s", "idle_s")}
    if min(times.values()) < 0:
        raise BadInput(f"{held[1][0]}: CPU time went down: give the earlier file first")
    seconds = sum(times.values()) / last["cpus"]
    out.know(cpus=int(last["cpus"]), seconds=seconds)
    out.know(busy=(times["user_s"] + times["system_s"]) / seconds if seconds else None)


def _take_perf(out: Counted, held: list[tuple[str, Any]]) -> None:
    counts = held[0][1]
    every = counts.get("tlb:tlb_flush")
    if not out.source and every is not None:
        out.count(held[0][0], every=every)
        out.notes.append("perf stat counts flushes of all reasons, even at task switches: the load is an upper bound.")
    elapsed = counts.get("duration_time")
    out.know(seconds=elapsed and elapsed * 1e-9, busy=counts.get(UTILIZED))


def _take_time(out: Counted, held: list[tuple[str, Any]]) -> None:
    real, cpu = held[0][1]
    out.know(seconds=real, busy=cpu / real if cpu == cpu else None)


def _take_lscpu(out: Counted, held: list[tuple[str, Any]]) -> None:
    out.know(host=held[0][1], cpus=held[0][1].cpus)
    out.notes += held[0][1].remarks


def _take_rate(out: Counted, held: list[tuple[str, Any]]) -> None:
    if not out.source:
        out.seconds = 1.0
        out.count(held[0][0], received=held[0][1])
        out.notes.append("The file has a rate, which may be a peak and not a mean.")


TAKE: dict[str, Callable[[Counted, list[tuple[str, Any]]], None]] = {
    "interrupts": _take_interrupts, "vmstat": _take_vmstat, "events": _take_traced, "maps": _take_traced,
    "stat": _take_stat, "perf": _take_perf, "time": _take_time, "lscpu": _take_lscpu,
    "shares": lambda out, held: out.know(pages=held[0][1].pages),
    "rate": _take_rate,
}  # fmt: skip
