"""Files with counts of TLB flushes, in any known form: recognized by their content, and read or refused."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sweep.errors import BadInput
from sweep.measure.counted import TAKE, WANTED, Counted, check
from sweep.measure.counters import read_counters, read_stat
from sweep.measure.interrupts import snapshots
from sweep.measure.pasted import NUMBER, line_of, number, plain
from sweep.measure.perf import UTILIZED, read_perf
from sweep.measure.topology import read_lscpu
from sweep.measure.tracepoints import read_events, read_maps, read_shares

RATE = re.compile(rf"tlb shootdowns? ?/ ?s\b[^\d\n]*({NUMBER})", re.IGNORECASE)


@dataclass(frozen=True)
class Kind:
    """One form of text: its pattern, its reader, and its content in words."""

    pattern: str
    read: Callable[[str, str], Sequence[Any]]
    holds: str


def _pieces(begin: str, read: Callable[[str, str], Any]) -> Callable[[str, str], list[Any]]:
    """A reader of consecutive snapshots, each of which begins with such a line."""
    cut = re.compile(rf"^(?=\s*{begin})", re.MULTILINE)
    return lambda text, where: [read(each, where) for each in cut.split(text) if re.match(rf"\s*{begin}", each)]


def _vmstat(text: str, where: str) -> list[dict[str, float]]:
    first = re.search(r"^\s*(nr_\w+)\s", text, re.MULTILINE)
    return _pieces(rf"{first[1] if first else ''}\s", read_counters)(text, where)


def _rate(text: str, where: str) -> list[float]:
    found = RATE.search(text)
    rate = number(found[1], whole=True) if found else None
    if rate is None:
        at = re.search(r"tlb shootdowns? ?/", text, re.IGNORECASE)
        raise BadInput(f"{where}, line {line_of(text, at.start() if at else 0)}: no number of TLB shootdowns a second")
    return [rate]


def _time(text: str, where: str) -> list[tuple[float, float]]:
    """Seconds elapsed and of CPU time, printed by `time`."""
    rows = re.findall(rf"^(real|user|sys)\s+(?:(\d+)m)?({NUMBER}) ?s?$", text, re.MULTILINE)
    times = {name: 60.0 * float(minutes or 0) + (number(rest) or 0.0) for name, minutes, rest in rows}
    if not times.get("real", 0.0) > 0:
        raise BadInput(f"{where}: no time like `real 1m2.000s`")
    return [(times["real"], times.get("user", math.nan) + times.get("sys", math.nan))]


KINDS = {
    "interrupts": Kind(r"^\s*(TLB|CAL|LOC|RES|NMI):\s|^\s+CPU0\s", snapshots, "rows of /proc/interrupts"),
    "vmstat": Kind(r"^\s*nr_\w+\s+\d", _vmstat, "/proc/vmstat"),
    "stat": Kind(r"^cpu +\d+ \d+ ", _pieces("cpu ", read_stat), "the CPU time of /proc/stat"),
    "events": Kind(r"tlb_flush:\s+pages", lambda *each: [read_events(*each)], "events of tlb:tlb_flush"),
    "shares": Kind(
        r"^\s*[\d.,]+ ?% .*pages:-?\d", lambda *each: [read_shares(*each)],
        "shares of samples of tlb:tlb_flush",
    ),
    "maps": Kind(r"^@\w*\[.*\]: *\S", lambda *each: [read_maps(*each)], "counts of bpftrace"),
    "perf": Kind(
        rf"Performance counter stats|time elapsed|{UTILIZED}|^ *[\d.,]+[,;|\t]\w*[,;|\t][a-z][\w:/.-]*[,;|\t]",
        lambda *each: [read_perf(*each)], "counts of perf stat without tlb:tlb_flush",
    ),
    "rate": Kind(r"(?i)tlb shootdowns? ?/ ?s", _rate, "a rate"),
    "time": Kind(r"^real\s", _time, "the time of a command"),
    "lscpu": Kind(
        r'"lscpu"|^\s*CPU\s.*\bCORE\b|^ *(?i:cpu\(s\)|processeur\(s\)) *:', lambda *each: [read_lscpu(*each)],
        "the CPUs of a host (lscpu)",
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


def read_flushes(files: Sequence[tuple[str, str]], seconds: float | None, kernel: str | None) -> Counted:
    """Counts of all files, each a name and a text; BadInput if one is unknown or no flush is counted."""
    held: dict[str, list[tuple[str, Any]]] = defaultdict(list)
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
            read = list(KINDS[name].read(text, where))
            if not read:
                raise BadInput(f"{where}: no whole row of {KINDS[name].holds}; {WANTED}")
            held[name] += [(where, each) for each in read]
    out = Counted(seconds=seconds, kernel=kernel)
    for name, each in held.items():
        most = 2 if name in ("interrupts", "vmstat", "stat") else 1
        if len(each) > most:
            raise BadInput(f"{each[-1][0]}: too many files or snapshots with {KINDS[name].holds}: give {most} at most")
    for name in ("lscpu", "vmstat", "events", "maps", "interrupts", "rate", "stat", "perf", "time", "shares"):
        if name in held:
            TAKE[name](out, held[name])
    if not out.source:
        holds = {where: KINDS[name].holds for name, each in held.items() for where, _ in each}
        said = "; ".join(f"{where}: contains {what}" for where, what in holds.items())
        raise BadInput(f"{said}, no counts of flushes; {WANTED}")
    check(out, seconds)
    return out
