"""TLB flushes of a host from files with its counters: recognized by their content, and read or refused.

A flush event here notifies other CPUs; each of these receives a request. Values that were not counted stay unknown, and
never become 0 silently.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sweep.errors import BadInput
from sweep.measure.counters import read_counters, read_stat
from sweep.measure.interrupts import WRAP, between, snapshots
from sweep.measure.pasted import NUMBER, line_of, number, plain
from sweep.measure.perf import UTILIZED, read_perf
from sweep.measure.topology import Topology, read_lscpu
from sweep.measure.tracepoints import FULL_PAGES, RECEIVED, SEND, read_events, read_maps, read_shares

MOST = 2.0**63  # flushes that a kernel counts
LONGEST_S = 1e10
FEWEST = 10  # flushes or requests for a rate
OLD_KERNEL = "4.7"  # the last that printed CAL less TLB
RATE = re.compile(rf"tlb shootdowns? ?/ ?s\b[^\d\n]*({NUMBER})", re.IGNORECASE)
WANTED = (
    "give two snapshots of /proc/interrupts (row TLB) or of nr_tlb_* of /proc/vmstat, or counts of tlb:tlb_flush by "
    "perf script or by reason in bpftrace"
)
Held = list[tuple[str, Any]]  # names of files, and what was read of them


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
    source: str = ""  # the file with the counts
    notes: list[str] = field(default_factory=list)

    def know(self, **more: Any) -> None:
        """Set values that are not known yet."""
        for name, value in more.items():
            if getattr(self, name) is None:
                setattr(self, name, value)

    def count(self, source: str, **more: float | None) -> bool:
        """Set counts of flushes from a file, unless it has none or an earlier file had any."""
        if self.source or all(value is None for value in more.values()):
            return False
        self.source = source
        self.know(**more)
        return True

    def snapshots(self, held: Held) -> tuple[Any, Any]:
        """The earlier and the later snapshot; the earlier is empty if there is one, with the uptime as seconds."""
        if len(held) > 1:
            return held[0][1], held[1][1]
        if self.seconds is None:
            what = "one snapshot counts since boot: give a second one, or the uptime as --seconds"
            raise BadInput(f"{held[0][0]}: {what}")
        self.notes.append("One snapshot counts since the host's boot; a counter that has wrapped since is too small.")
        return {}, held[0][1]


class Load(NamedTuple):
    """Flush events a second of the whole host, and the CPUs that each one notifies."""

    events_per_s: float
    targets: float


def loads(counted: Counted, cpus: int) -> list[Load]:
    """The counted load; with an unknown number of targets, the fewest, some and the most.

    Each event notifies at least one CPU, and at most all others of `cpus`. No CPU receives an event twice, so there are
    at least as many events as requests of the CPU with most.
    """
    seconds, received = counted.seconds or 1.0, counted.received
    if counted.sent and received:
        return [Load(counted.sent / seconds, received / counted.sent)]
    most = max(1, int(min(cpus - 1, received / counted.most if received and counted.most else cpus)))
    out = []
    for targets in dict.fromkeys((1, round(most**0.5), most)):
        sent = counted.sent
        if received:
            sent = received / targets
        elif sent is None:  # all reasons: the local flush, the sending, and a flush of each target
            sent = (counted.every or 0.0) / (targets + 2.0)
        out.append(Load(sent / seconds, targets))
    return out


def read_flushes(files: Sequence[tuple[str, str]], seconds: float | None, kernel: str | None) -> Counted:
    """Counts of all files, each a name and a text; BadInput if one is unknown or no rate follows."""
    held: dict[str, Held] = defaultdict(list)
    for where, given in files:
        text = plain(given)
        kinds = [name for name, kind in KINDS.items() if re.search(kind.pattern, text, re.MULTILINE)]
        if not text.strip():
            raise BadInput(f"{where}: is empty")
        if not kinds:
            what = next((what for like, what in STRANGE.items() if re.search(like, text, re.MULTILINE)), None)
            said = f"contains {what}, no counts of flushes" if what else "unknown format"
            raise BadInput(f"{where}: {said}; {WANTED}")
        for name in kinds:
            found = KINDS[name].read(text, where)
            found = found if KINDS[name].most > 1 else [found]
            if not found:
                raise BadInput(f"{where}: no whole row of {KINDS[name].holds}; {WANTED}")
            held[name] += [(where, each) for each in found]
    out = Counted(seconds=seconds, kernel=kernel)
    for name, kind in KINDS.items():
        if len(held[name]) > kind.most:
            where = held[name][-1][0]
            raise BadInput(f"{where}: too many files or snapshots with {kind.holds}: give {kind.most} at most")
        if held[name]:
            kind.take(out, held[name])
    if not out.source:
        holds = {where: KINDS[name].holds for name, each in held.items() for where, _ in each}
        said = "; ".join(f"{where}: contains {what}" for where, what in holds.items())
        raise BadInput(f"{said}, no counts of flushes; {WANTED}")
    _check(out)
    return out


def _check(out: Counted) -> None:
    """BadInput if no rate follows."""
    counted = max(out.sent or 0.0, out.received or 0.0, out.every or 0.0)
    wrong = ""
    if out.seconds is None or not out.seconds > 0:
        wrong = "has no duration: give --seconds"
    elif out.seconds > LONGEST_S:
        wrong = f"{out.seconds:g} s: no host runs for so long"
    elif counted > MOST:
        wrong = f"{counted:g} flushes of other CPUs: no kernel counts so many"
    elif counted < FEWEST:
        wrong = f"{counted:g} flushes of other CPUs in {out.seconds:.3g} s: a rate needs at least {FEWEST}"
    if wrong:
        raise BadInput(f"{out.source}: {wrong}")


def _snapshots(first: str, read: Callable[[str, str], Any]) -> Callable[[str, str], list[Any]]:
    """A reader of consecutive snapshots, each of which begins with the same row, named like `first`."""

    def pieces(text: str, where: str) -> list[Any]:
        found = re.search(rf"^\s*({first})\s", text, re.MULTILINE)
        begin = re.compile(rf"^(?=\s*{found[1] if found else first}\s)", re.MULTILINE)
        return [read(each, where) for each in begin.split(text) if begin.match(each)]

    return pieces


def _rate(text: str, where: str) -> float:
    found = RATE.search(text)
    rate = number(found[1], whole=True) if found else None
    if rate is None:
        at = re.search(r"tlb shootdowns? ?/", text, re.IGNORECASE)
        raise BadInput(f"{where}, line {line_of(text, at.start() if at else 0)}: no number of TLB shootdowns a second")
    return rate


def _time(text: str, where: str) -> tuple[float, float]:
    """Seconds elapsed and of CPU time, printed by `time`."""
    rows = re.findall(rf"^(real|user|sys)\s+(?:(\d+)m)?({NUMBER}) ?s?$", text, re.MULTILINE)
    times = {name: 60.0 * float(minutes or 0) + (number(rest) or 0.0) for name, minutes, rest in rows}
    if not times.get("real", 0.0) > 0:
        raise BadInput(f"{where}: no time like `real 1m2.000s`")
    return times["real"], times.get("user", math.nan) + times.get("sys", math.nan)


def _take_lscpu(out: Counted, held: Held) -> None:
    out.know(host=held[0][1], cpus=held[0][1].cpus)
    out.notes += held[0][1].remarks


def _take_vmstat(out: Counted, held: Held) -> None:
    where, wanted = held[-1][0], ("nr_tlb_remote_flush", "nr_tlb_remote_flush_received")
    if not set(wanted) <= set(held[-1][1]):
        raise BadInput(f"{where}: no {' and '.join(wanted)}: the kernel counts them only with CONFIG_DEBUG_TLBFLUSH")
    before, after = out.snapshots(held)
    more = {name: count - before.get(name, 0.0) for name, count in after.items() if name.startswith("nr_tlb_")}
    if down := next((name for name, count in more.items() if count < 0), None):
        raise BadInput(f"{where}: {down} went down: give the earlier file first")
    out.count(where, sent=more[wanted[0]], received=more[wanted[1]])
    fully, pages = (more.get(f"nr_tlb_local_flush_{name}", 0.0) for name in ("all", "one"))
    if fully + pages > 0:
        out.know(pages={each: count for each, count in ((1, pages), (FULL_PAGES, fully)) if count})
        out.notes.append(
            f"{fully / (fully + pages):.0%} of flushes are assumed full, by nr_tlb_local_flush_all and _one."
        )


def _take_traced(out: Counted, held: Held) -> None:
    where, traced = held[0]
    sent, received = traced.of(SEND) or None, traced.of(*RECEIVED) or None
    if out.count(where, sent=sent, received=received, most=traced.most, every=0.0):
        out.know(seconds=traced.seconds)
    out.know(pages=traced.pages, senders=traced.senders)


def _take_interrupts(out: Counted, held: Held) -> None:
    for where, rows in held:
        if "TLB" not in rows:
            raise BadInput(f"{where}: no row TLB, which only x86 has (arm64 flushes by hardware): {WANTED}")
        if out.host is not None and out.host.cpus != len(rows["TLB"]):
            raise BadInput(f"{where}: {len(rows['TLB'])} CPUs, but lscpu shows {out.host.cpus}: give files of one host")
        if max(rows.get("CAL", [0])) > WRAP // 2 and out.kernel is None:
            out.kernel = OLD_KERNEL
            out.notes.append("CAL is near 2^32, as kernels before 4.8 print CAL less TLB; only TLB is used.")
    out.know(cpus=len(held[0][1]["TLB"]))
    if not out.source:
        before, after = out.snapshots(held)
        received = between({"TLB": before["TLB"]} if before else {}, {"TLB": after["TLB"]}, held[-1][0])["TLB"]
        out.count(held[-1][0], received=float(sum(received)), most=float(max(received)))


def _take_rate(out: Counted, held: Held) -> None:
    if out.count(held[0][0], received=held[0][1]):
        out.seconds = 1.0
        out.notes.append("The file has a rate, which may be a peak and not a mean.")


def _take_stat(out: Counted, held: Held) -> None:
    if len(held) < 2:
        raise BadInput(f"{held[0][0]}: one snapshot of /proc/stat: give two, or none")
    first, last = held[0][1], held[1][1]
    times = {name: last[name] - first[name] for name in ("user_s", "system_s", "idle_s")}
    if min(times.values()) < 0:
        raise BadInput(f"{held[1][0]}: CPU time went down: give the earlier file first")
    seconds = sum(times.values()) / last["cpus"]
    out.know(cpus=int(last["cpus"]), seconds=seconds)
    out.know(busy=(times["user_s"] + times["system_s"]) / seconds if seconds else None)


def _take_perf(out: Counted, held: Held) -> None:
    where, counts = held[0]
    if out.count(where, every=counts.get("tlb:tlb_flush")):
        out.notes.append("perf stat counts flushes of all reasons, even at task switches: the load is an upper bound.")
    elapsed = counts.get("duration_time")
    out.know(seconds=elapsed and elapsed * 1e-9, busy=counts.get(UTILIZED))


def _take_time(out: Counted, held: Held) -> None:
    real, cpu = held[0][1]
    out.know(seconds=real, busy=cpu / real if cpu == cpu else None)


def _take_shares(out: Counted, held: Held) -> None:
    out.know(pages=held[0][1].pages)


class Form(NamedTuple):
    """One form of text."""

    pattern: str
    read: Callable[[str, str], Any]  # of text and file
    holds: str  # its content in words
    take: Callable[[Counted, Held], None]
    most: int = 1  # 2: `read` gives a list of snapshots


KINDS = {  # in the order of precedence
    "lscpu": Form(
        r'"lscpu"|^\s*CPU\s.*\bCORE\b|^ *(?i:cpu\(s\)|processeur\(s\)) *:', read_lscpu,
        "the CPUs of a host (lscpu)", _take_lscpu,
    ),
    "vmstat": Form(r"^\s*nr_\w+\s+\d", _snapshots(r"nr_\w+", read_counters), "/proc/vmstat", _take_vmstat, 2),
    "events": Form(r"tlb_flush:\s+pages", read_events, "events of tlb:tlb_flush", _take_traced),
    "maps": Form(r"^@\w*\[.*\]: *\S", read_maps, "counts of bpftrace", _take_traced),
    "interrupts": Form(
        r"^\s*(TLB|CAL|LOC|RES|NMI):\s|^\s+CPU0\s", snapshots, "rows of /proc/interrupts", _take_interrupts, 2
    ),
    "rate": Form(r"(?i)tlb shootdowns? ?/ ?s", _rate, "a rate", _take_rate),
    "stat": Form(r"^cpu +\d+ \d+ ", _snapshots("cpu", read_stat), "the CPU time of /proc/stat", _take_stat, 2),
    "perf": Form(
        rf"Performance counter stats|time elapsed|{UTILIZED}|^ *[\d.,]+[,;|\t]\w*[,;|\t][a-z][\w:/.-]*[,;|\t]",
        read_perf, "counts of perf stat without tlb:tlb_flush", _take_perf,
    ),
    "time": Form(r"^real\s", _time, "the time of a command", _take_time),
    "shares": Form(
        r"^\s*[\d.,]+ ?% .*pages:-?\d", read_shares, "shares of samples of tlb:tlb_flush", _take_shares
    ),
}  # fmt: skip
STRANGE = {  # other common files, by a part of them
    r"^tasks,processes": "operations a second of will-it-scale",
    r"^Threads\s+QL\b": "means and deviations of a lock benchmark",
    r"Self-IPI": "times of ipi_benchmark",
    r"ops/sec": "operations a second of stress-ng",
    r"usecs/call": "times of system calls by strace -c",
    r"^node \d+ cpus:": "NUMA nodes by numactl (CPUs are read from lscpu)",
    r"ipi_send_cpu|csd_queue_cpu": "function-call interrupts by ftrace",
    r"\bfunc=\w+": "function calls to other CPUs, counted by name, without seconds",
    r"_cycles\b": "cycles of calls",
}
