"""Estimate the cost of TLB flushes of a host's processes from counters recorded there: two snapshots of
/proc/interrupts or /proc/vmstat, or tlb:tlb_flush by perf script or bpftrace. perf stat, /proc/stat, lscpu
and the output of `time` may be added. Files are recognized by content; the earlier snapshot comes first.
Without files this machine's own counters are read, for --seconds.
"""

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
from sweep.measure.flushes import Counted, Load, loads, read_flushes
from sweep.measure.machine import output_of
from sweep.measure.pasted import recorded
from sweep.measure.simulate import SHOOTDOWNS, policies
from sweep.measure.topology import MOST_CPUS
from sweep.run.shootdowns import GROWTH, HARDWARE, Host, machine_of, policies_for, simulated
from sweep.tables.shootdowns import in_words, sentences, shootdowns
from sweep.tables.text import as_text
from sweep.tables.words import enumerated, number, share

NEWEST = "999.0"  # a release later than all
WIDE = 200  # columns of a terminal, so that the whole table fits
UNEVEN = 2  # a CPU with more than this factor of the mean requests gets a sentence
LIVE = ("interrupts", "vmstat", "stat")  # of /proc


def options(parser: Parser) -> None:
    parser.usage = "%(prog)s [options] [FILE ...]"
    parser.add_argument("files", nargs="*", metavar="FILE", help="a recorded file; - is standard input")
    parser.add_argument(
        "--seconds", metavar="S", type=float, help="duration of counting (default: from the files; 10 without files)"
    )
    parser.add_argument("--lscpu", metavar="FILE", help="output of lscpu on that host; may also be among the files")
    parser.add_argument("--jobs", metavar="N", type=int, help="busy CPUs (default: from the files, else all)")
    parser.add_argument("--machine", metavar="NAME", help="a machine with its costs (default: the nearest by lscpu)")
    parser.add_argument("--kernel", metavar="RELEASE", help="the host's kernel, like 6.1.0 (default: the newest)")
    add_config_dir(parser)


def main(given: argparse.Namespace) -> None:
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
    files = [("standard input" if path == "-" else path, recorded(path, "FILE")) for path in paths]
    kernel = given.kernel if files else given.kernel or platform.release()
    counted = read_flushes(files or _live(given.seconds or 10.0), given.seconds if files else None, kernel)
    cpus, busy = _cpus(counted, given.jobs)
    found = loads(counted, busy)
    machine = machine_of(counted, cpus, given.machine, folders)
    table = shootdowns(simulated(counted, found, machine, cpus, busy, given.config_dir))
    own = policies(counted.kernel or NEWEST)["munmap"]
    print(_first(counted, found, busy))
    for line in sentences(table, own, {name: words for name, (_, words) in SHOOTDOWNS.items()}):
        print(line)
    print(f"\n{as_text(in_words(table), WIDE)}\n")
    for line in _notes(counted, found, machine, cpus, busy):
        print(printable(line))


def _live(seconds: float) -> list[tuple[str, str]]:
    """Two snapshots of this machine, and its lscpu; BadInput if this is not Linux."""
    if platform.system() != "Linux":
        raise BadInput("sweep counters: live counters need Linux: give files")
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
    """CPUs of the host, and the number of busy ones; BadInput if files lack it or contradict each other."""
    least = max(2, round(counted.received / counted.sent) + 1 if counted.received and counted.sent else 2)
    busy = jobs or (math.ceil(counted.busy) if counted.busy else None)
    cpus = counted.cpus or (max(busy, least) if busy else None)
    if cpus is None:
        raise BadInput(f"{counted.source}: has no number of CPUs: give --lscpu FILE or --jobs N")
    if (jobs or cpus) < least:
        raise BadInput(f"each flush notified {least - 1} CPUs, so at least {least} are busy, not {jobs or cpus}")
    if (jobs or 0) > cpus:
        raise BadInput(f"--jobs={jobs}: the host has {cpus} CPUs")
    return cpus, min(cpus, max(busy or cpus, least))


def _first(counted: Counted, found: Sequence[Load], busy: int) -> str:
    seconds, received, most = counted.seconds or 1.0, counted.received, counted.most
    ends = [found[0], found[-1]]
    events, targets, requests = (
        " to ".join(dict.fromkeys(map(number, sorted(values))))
        for values in (
            [load.events_per_s for load in ends],
            [load.targets for load in ends],
            [received / seconds if received else load.events_per_s * load.targets for load in ends],
        )
    )
    why = ""
    if not (counted.sent and received) and busy > 2:
        bound = received / most if received and most else math.inf
        since = f", since one CPU received {number(most)} requests" if most and bound < busy - 1 else ""
        why = f" (their number was not counted: at most {number(min(bound, busy - 1))}{since})"
    cpus = f"{targets} other CPU{'' if targets == '1' else 's'} each"
    return (
        f"{counted.source}, {number(seconds)} s: {events} flush events a second notified {cpus}{why}, which received "
        f"{requests} requests by interrupt a second."
    )


def _notes(counted: Counted, found: Sequence[Load], machine: Host, cpus: int, busy: int) -> list[str]:
    """The assumptions of the answer, a sentence each."""
    least, most = (round(load.targets) + 1 for load in (found[0], found[-1]))
    pages = "" if counted.pages else "; a flush has one page"
    guest = "delivery" in machine.entry.quantities or any("guest" in each for each in counted.notes)
    kernels = [f"{name} is {words}" for name, (_, words) in SHOOTDOWNS.items()]
    out = [
        *counted.notes,
        f"Assumed: {busy} of {cpus} CPUs are busy, and {counted.senders or 'all of them'} send; processes are alike, "
        f"on {' to '.join(map(str, sorted({least, most})))} CPUs each{pages}.",
        f"With {GROWTH} times the CPUs there are as many sockets, and processes have {GROWTH} times the threads, each "
        "with the same flush rate.",
        f"Costs are those of {machine.why}." + ("" if guest else " In a guest they are higher: --machine kvm_guest."),
        "Brackets are 5 to 95 % over cost samples" + (" and the numbers of targets." if len(found) > 1 else "."),
        f"{enumerated(kernels)}."
        + ("" if counted.kernel else " The newest is assumed for this host; --kernel gives another."),
        f"{HARDWARE} is a broadcast by hardware, INVLPGB since Linux 6.15 or TLBI of arm64: hypothetical, since these "
        "flushes were interrupts."
        if HARDWARE in policies_for(machine)
        else f"Broadcasts by hardware are left out: {machine.entry.name} has none.",
        "XPFO's deferred flushes do not apply: pages of processes may be reused as soon as the call returns.",
    ]
    if counted.most and counted.received and counted.most > UNEVEN * counted.received / cpus:
        part = share(counted.most / counted.received)
        out.append(f"One CPU received {part} of the requests, and loses more than the simulated mean.")
    if GROWTH * cpus > MOST_CPUS:
        out.append(f"More than {MOST_CPUS} CPUs are not simulated.")
    return out
