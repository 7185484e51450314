"""`sweep counters`: what a host's TLB flushes cost, by its own counters."""

from __future__ import annotations

import argparse
import math
import platform
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sweep.command.options import Parser, add_config_dir
from sweep.errors import BadInput, printable
from sweep.inputs.home import folders_of
from sweep.measure.counted import Counted, Load, loads
from sweep.measure.experiment import MOST_CPUS
from sweep.measure.flushes import read_flushes
from sweep.measure.machine import output_of
from sweep.measure.pasted import MOST_BYTES, recorded
from sweep.measure.simulate import SHOOTDOWNS, policies
from sweep.run.shootdowns import GROWTH, HARDWARE, Machine, machine_of, policies_for, simulated
from sweep.tables.shootdowns import answer, shootdowns
from sweep.tables.text import as_text
from sweep.tables.words import enumerated, number, share

NEWEST = "999.0"  # a release later than all
WIDE = 200  # columns of a terminal, so that none of the table is left out
UNEVEN = 2  # times the mean of its requests that make a CPU worth a sentence
LIVE = ("interrupts", "vmstat", "stat")  # of /proc


def parser() -> Parser:
    """Its options."""
    parser = Parser(
        "sweep counters",
        "What do the TLB flushes of a host's processes cost? By counters that were recorded there: two snapshots of\n"
        "/proc/interrupts or /proc/vmstat, or tlb:tlb_flush by perf script or bpftrace. Beside them perf stat,\n"
        "/proc/stat, lscpu and the output of `time` are read. Files are known by their content; the earlier snapshot\n"
        "comes first. Without files this machine's own counters are read, for --seconds.",
    )
    parser.usage = "%(prog)s [options] [FILE ...]"
    parser.add_argument("files", nargs="*", metavar="FILE", help="what was recorded; - is standard input")
    parser.add_argument(
        "--seconds", metavar="S", type=float, help="how long was counted; default what the files say, 10 without files"
    )
    parser.add_argument(
        "--lscpu", metavar="FILE", help="what lscpu printed on that host; may be among the files as well"
    )
    parser.add_argument(
        "--jobs", metavar="N", type=int, help="CPUs that were busy; default what the files say, else all"
    )
    parser.add_argument("--machine", metavar="NAME", help="a machine whose costs count; default the nearest by lscpu")
    parser.add_argument("--kernel", metavar="RELEASE", help="of the host, like 6.1.0; default the newest")
    add_config_dir(parser)
    return parser


def main(given: argparse.Namespace) -> int:
    """Read, simulate, say; 0 when done."""
    folders = folders_of(given.config_dir)
    if given.seconds is not None and not 0 < given.seconds < math.inf:
        raise BadInput(f"--seconds={given.seconds:g}: must be above 0")
    if given.jobs is not None and not 2 <= given.jobs <= MOST_CPUS:
        raise BadInput(f"--jobs={given.jobs}: must be at least 2, at most {MOST_CPUS}")
    if given.kernel is not None and not re.match(r"\d+\.\d+", given.kernel):
        raise BadInput(f"--kernel={given.kernel!r}: must be a release like 6.1.0")
    if given.lscpu is not None and not given.files:
        raise BadInput("--lscpu is of another host: give its counters, too")
    paths = [*given.files, *([given.lscpu] if given.lscpu else [])]
    files = [(_name(path), _text(path)) for path in paths] if given.files else _live(given.seconds or 10.0)
    counted = read_flushes(files, given.seconds if given.files else None, given.kernel)
    if not given.files:
        counted.kernel = given.kernel or platform.release()
    cpus, busy = _cpus(counted, given.jobs)
    found = loads(counted, busy)
    machine = machine_of(counted, cpus, given.machine, folders)
    results = simulated(counted, found, machine, cpus, busy, given.config_dir)
    own = policies(counted.kernel or NEWEST)["munmap"]
    said = answer(shootdowns(results), own, {name: words for name, (_, words) in SHOOTDOWNS.items()})
    print(_first(counted, found, busy))
    print(said.text, end="\n\n")
    if said.table is not None:
        print(as_text(said.table, WIDE), end="\n\n")
    for line in _notes(counted, found, machine, cpus, busy):
        print(printable(line))
    return 0


def _name(path: str) -> str:
    return "standard input" if path == "-" else path


def _text(path: str) -> str:
    """A file's text, or that of standard input."""
    if path != "-":
        return recorded(path, "FILE")
    return sys.stdin.buffer.read(MOST_BYTES).decode("utf-8", "replace")


def _live(seconds: float) -> list[tuple[str, str]]:
    """Two snapshots of this machine, and its lscpu; BadInput if this is not Linux."""
    if platform.system() != "Linux":
        raise BadInput("sweep counters: give files: only Linux has counters of its own to read")
    print(f"sweep: this machine's counters, for {seconds:g} s", file=sys.stderr)
    out = []
    for wait in (seconds, 0.0):
        for name in LIVE:
            text = Path(f"/proc/{name}").read_text(encoding="utf-8", errors="replace")
            if name != "vmstat" or "nr_tlb_remote_flush" in text:
                out.append((f"/proc/{name}", text))
        time.sleep(wait)
    lscpu = output_of("env", "LC_ALL=C", "lscpu")
    return out + ([("lscpu", lscpu)] if lscpu else [])


def _cpus(counted: Counted, jobs: int | None) -> tuple[int, int]:
    """CPUs of the host, and how many of them were busy; BadInput if nothing says it, or files contradict."""
    least = max(2, round(counted.received / counted.sent) + 1 if counted.received and counted.sent else 2)
    busy = jobs or (math.ceil(counted.busy) if counted.busy else None)
    cpus = counted.cpus or (max(busy, least) if busy else None)
    if cpus is None:
        raise BadInput(f"{counted.source}: does not say how many CPUs there are: give --lscpu FILE or --jobs N")
    if (jobs or cpus) < least:
        raise BadInput(f"each flush notified {least - 1} CPUs, so {least} at least are busy, not {jobs or cpus}")
    if (jobs or 0) > cpus:
        raise BadInput(f"--jobs={jobs}: the host has {cpus} CPUs")
    return cpus, min(cpus, max(busy or cpus, least))


def _first(counted: Counted, found: Sequence[Load], busy: int) -> str:
    """The sentence about what was counted."""
    seconds = counted.seconds or 1.0
    events, targets, requests = (
        " to ".join(dict.fromkeys(number(each) for each in sorted((values[0], values[-1]))))
        for values in (
            [load.events_per_s for load in found],
            [load.targets for load in found],
            [counted.received / seconds if counted.received else load.events_per_s * load.targets for load in found],
        )
    )
    why = ""
    if not (counted.sent and counted.received) and busy > 2:
        bound = counted.received / counted.most if counted.received and counted.most else math.inf
        since = f", since one CPU received {number(counted.most)} requests" if counted.most and bound < busy - 1 else ""
        why = f" (how many is not counted: {number(min(bound, busy - 1))} at most{since})"
    cpus = f"{targets} other CPU{'' if targets == '1' else 's'} each"
    return (
        f"{counted.source}, {number(seconds)} s: {events} flush events a second notified {cpus}{why}, which received "
        f"{requests} requests by interrupt a second."
    )


def _notes(counted: Counted, found: Sequence[Load], machine: Machine, cpus: int, busy: int) -> list[str]:
    """What the answer stands on, a sentence each."""
    least, most = (round(load.targets) + 1 for load in (found[0], found[-1]))
    pages = "" if counted.pages else "; a flush is of one page"
    guest = machine.guest or any("guest" in each for each in counted.notes)
    kernels = [f"{name} is {words}" for name, (_, words) in SHOOTDOWNS.items()]
    out = [
        *counted.notes,
        f"Assumed: {busy} of {cpus} CPUs are busy, and {counted.senders or 'all of them'} send; processes are alike, "
        f"on {' to '.join(map(str, sorted({least, most})))} CPUs each{pages}.",
        f"With {GROWTH} times the CPUs there are as many sockets, and processes have {GROWTH} times the threads, which "
        "flush as often.",
        f"Costs are those of {machine.why}." + ("" if guest else " In a guest they are higher: --machine kvm_guest."),
        "Brackets are 5 to 95 % over draws of the costs" + (" and the numbers of targets." if len(found) > 1 else "."),
        f"{enumerated(kernels)}."
        + ("" if counted.kernel else " The host's is taken as the newest; --kernel says another."),
        f"{HARDWARE} is a broadcast by hardware, INVLPGB since Linux 6.15 or TLBI of arm64: hypothetical, since these "
        "flushes were interrupts."
        if HARDWARE in policies_for(machine)
        else f"Broadcasts by hardware are left out, since {machine.entry.name} has none.",
        "Deferred flushes, as of XPFO, do not apply: pages of processes may be used again as soon as the call returns.",
    ]
    if counted.most and counted.received and counted.most > UNEVEN * counted.received / cpus:
        part = share(counted.most / counted.received)
        out.append(f"One CPU received {part} of the requests, and loses more than the mean that is simulated.")
    if GROWTH * cpus > MOST_CPUS:
        out.append(f"More than {MOST_CPUS} CPUs are not simulated.")
    return out
