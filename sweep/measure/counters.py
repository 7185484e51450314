"""Counts of a run's kernel work: of a command that is run here, or from recorded files.

C:   /proc/vmstat, /proc/stat, /proc/interrupts, getrusage(2), /proc/self/io; perf stat where it is permitted
"""

import math
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.errors import BadInput
from sweep.measure.interrupts import between, read_interrupts
from sweep.measure.perf import read_perf

OF_PERF = {  # perf's events, and our names; perf's times are in ns
    "cpu-migrations": "migrations", "context-switches": "switches", "page-faults": "faults",
    "raw_syscalls:sys_enter": "system_calls", "user_time": "user_s", "system_time": "system_s",
    "duration_time": "elapsed_s",
}  # fmt: skip
PERF = ("cpu-migrations", "context-switches", "page-faults", "raw_syscalls:sys_enter")


def read_counters(text: str, where: str) -> dict[str, float]:
    """/proc/vmstat: `name count` lines."""
    out = {}
    for at, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        if len(parts) == 2 and re.fullmatch(r"-?[0-9]{1,18}", parts[1]):
            out[parts[0]] = float(parts[1])
        elif parts and parts[0].startswith("nr_tlb_"):
            raise BadInput(f"{where}, line {at}: {line.strip()[:60]!r}: must be a name and a count, as in /proc/vmstat")
    if not out:
        raise BadInput(f"{where}: no `name count` lines, as in /proc/vmstat")
    return out


def read_stat(text: str, where: str, hz: int = 100) -> dict[str, float]:
    """/proc/stat: seconds of all CPUs together by mode, switches, forks, and the number of CPUs."""
    modes = re.search(r"^cpu +((?:[0-9]{1,18} +){7}[0-9]{1,18})(?: |$)", text, re.MULTILINE)
    needed = [re.search(rf"^{name} [0-9]{{1,18}}( |$)", text, re.MULTILINE) for name in (r"cpu\d+", "ctxt")]
    if modes is None or not all(needed):
        raise BadInput(f"{where}: no `cpu` line with eight modes, `cpuN` and `ctxt` lines, as in /proc/stat")
    user, nice, system, idle, iowait, irq, softirq, steal = (float(each) / hz for each in modes[1].split())
    out = {"user_s": user + nice, "system_s": system + irq + softirq, "idle_s": idle + iowait, "steal_s": steal}
    out |= {name: float(n) for name, n in re.findall(r"^(ctxt|processes) ([0-9]{1,18})$", text, re.MULTILINE)}
    return out | {"cpus": float(len(re.findall(r"^cpu\d+ ", text, re.MULTILINE)))}


def seen_of_snapshots(
    vmstat: Sequence[str], stat: Sequence[str] | None, interrupts: Sequence[str] | None, perf: str | None
) -> dict[str, float]:
    """Counts between two recorded snapshots of the whole machine, earlier and later, and perf's in place of them."""
    before, after = (read_counters(text, "vmstat") for text in vmstat)
    change = {name: count - before.get(name, 0.0) for name, count in after.items()}
    seen = {"faults": change.get("pgfault", math.nan), "huge": change.get("thp_fault_alloc", 0.0)}
    seen["pgalloc"] = sum(count for name, count in change.items() if name.startswith("pgalloc_"))
    if stat:
        first, last = (read_stat(text, "stat") for text in stat)
        times = {name: last[name] - first[name] for name in ("user_s", "system_s", "idle_s", "steal_s")}
        if times["steal_s"] < 0:  # some hypervisors reset it
            times["steal_s"] = math.nan
        else:
            seen["elapsed_s"] = sum(times.values()) / last["cpus"]
        seen |= times | {"switches": last["ctxt"] - first["ctxt"], "cpus": last["cpus"]}
    if interrupts and all(text.strip() for text in interrupts):  # containers show an empty file
        old, new = (read_interrupts(text, "--interrupts") for text in interrupts)
        rows = between(old, new, "--interrupts")
        seen["interrupts"] = float(sum(map(sum, rows.values())))
    if perf:
        of_perf = _of_perf(read_perf(perf, "perf"))
        if not of_perf:
            raise BadInput(f"--perf: no used event in it; used are {', '.join(OF_PERF)}")
        seen |= of_perf
    if down := [name for name, count in seen.items() if count < 0]:
        raise BadInput(f"recorded files: {down[0]} went down: give BEFORE, then AFTER")
    times_of = "--stat, or user_time and system_time in --perf"
    for name, needs in (("user_s", times_of), ("system_s", times_of), ("faults", "pgfault in --vmstat")):
        if math.isnan(seen.get(name, math.nan)):
            raise BadInput(f"recorded files: {name} is not known: give {needs}")
    return seen


def _of_perf(counts: Mapping[str, float]) -> dict[str, float]:
    """perf's counts under our names; perf's times are in ns."""
    known = {ours: counts[theirs] for theirs, ours in OF_PERF.items() if theirs in counts}
    return {name: count * (1e-9 if name.endswith("_s") else 1.0) for name, count in known.items()}


def seen_of_command(command: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """Run a command; return its counts, and sentences on missing ones; BadInput if it cannot be run."""
    if shutil.which(command[0]) is None:
        raise BadInput(f"{command[0]!r}: no such command")
    with tempfile.TemporaryDirectory() as folder:
        counts, code = Path(folder) / "perf", Path(folder) / "code"
        events = [event for event in PERF if _perf_counts(event)]
        missing = [f"perf does not count {event} here" for event in PERF if event not in events]
        prefix = ["perf", "stat", "-x,", "-o", str(counts), "-e", ",".join(events), "--"] if events else []
        read_stat(Path("/proc/stat").read_text(), "/proc/stat")  # errors come before the command runs
        shell = ["sh", "-c", '"$@"; echo $? > "$0"', str(code)]  # perf does not pass the exit code on reliably
        before, begin = _snapshot(), time.monotonic()
        subprocess.run([*prefix, *shell, *command])
        elapsed_s, after = time.monotonic() - begin, _snapshot()
        ended = code.read_text().strip() if code.exists() else "unknown"
        perf = read_perf(counts.read_text(), "perf") if events and counts.exists() else {}
    if ended != "0":
        raise BadInput(f"{command[0]!r} ended with exit code {ended}: no file was written")
    vmstat, stat, interrupts = ((before[n], after[n]) for n in ("vmstat", "stat", "interrupts"))
    seen = seen_of_snapshots(vmstat, stat, interrupts, None)
    seen["machine_cpu_s"] = seen["user_s"] + seen["system_s"]
    if "interrupts" not in seen:
        missing.append("/proc/interrupts is empty here, as in containers: interrupts are not counted")
    seen |= {name: after[name] - before[name] for name in ("user_s", "system_s", "faults", "switches", "bytes")}
    return seen | _of_perf(perf) | {"elapsed_s": elapsed_s}, missing


def _snapshot() -> dict[str, Any]:
    """Texts of the kernel's counters, and the use of children that have ended."""
    out: dict[str, Any] = {name: Path(f"/proc/{name}").read_text() for name in ("vmstat", "stat", "interrupts")}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    moved = re.findall(r"^[rw]char: (\d+)$", Path("/proc/self/io").read_text(), re.MULTILINE)
    return out | {
        "user_s": used.ru_utime, "system_s": used.ru_stime, "faults": float(used.ru_minflt + used.ru_majflt),
        "switches": float(used.ru_nvcsw + used.ru_nivcsw), "bytes": float(sum(map(int, moved))),
    }  # fmt: skip


def _perf_counts(event: str) -> bool:
    command = ["perf", "stat", "-x,", "-e", event, "--", "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        return done.returncode == 0 and event in read_perf(done.stderr, "perf")
    except (OSError, subprocess.SubprocessError, BadInput):
        return False
