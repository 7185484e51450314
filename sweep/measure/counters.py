"""What a run asked of the kernel, counted: by a command that is run here, or from recorded files.

C:   /proc/vmstat, /proc/stat, /proc/interrupts, getrusage(2), /proc/self/io; perf stat where it is permitted
"""

from __future__ import annotations

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
from sweep.inputs.home import expanded
from sweep.measure.machine import read_interrupt_rows

MOST_BYTES = 10_000_000
WRAP = 2**32  # of a count in /proc/interrupts
OF_PERF = {  # perf's events, and our names; its times are in ns
    "cpu-migrations": "migrations", "context-switches": "switches", "page-faults": "faults",
    "raw_syscalls:sys_enter": "system_calls", "user_time": "user_s", "system_time": "system_s",
    "duration_time": "elapsed_s",
}  # fmt: skip
OF_A_KIND = re.compile(r"\w+/([\w:-]+)/")  # an event on one kind of core: `cpu_core/context-switches/`
PERF = ("cpu-migrations", "context-switches", "page-faults", "raw_syscalls:sys_enter")


def recorded(path: str, option: str) -> str:
    """A recorded file's text, `~` and pipes included; BadInput where it cannot be read or is no text."""
    try:
        with open(expanded(path, option), "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{option}: {error.strerror}: {path!r}") from None
    if len(content) > MOST_BYTES:
        raise BadInput(f"{option}: {path!r}: must be at most {MOST_BYTES} bytes")
    return content.decode("utf-8", "replace")


def read_counters(text: str, where: str) -> dict[str, float]:
    """/proc/vmstat: `name count` lines."""
    out = {}
    for line in text.splitlines():
        parts = line.split()
        if len(parts) == 2 and re.fullmatch(r"-?[0-9]{1,18}", parts[1]):
            out[parts[0]] = float(parts[1])
    if not out:
        raise BadInput(f"{where}: no `name count` lines, as in /proc/vmstat")
    return out


def read_stat(text: str, where: str, hz: int = 100) -> dict[str, float]:
    """/proc/stat: seconds of all CPUs together by mode, switches, forks, and how many CPUs there are."""
    modes = re.search(r"^cpu +((?:[0-9]{1,18} +){7}[0-9]{1,18})(?: |$)", text, re.MULTILINE)
    needed = [re.search(rf"^{name} [0-9]{{1,18}}( |$)", text, re.MULTILINE) for name in (r"cpu\d+", "ctxt")]
    if modes is None or not all(needed):
        raise BadInput(f"{where}: no `cpu` line with eight modes, `cpuN` and `ctxt` lines, as in /proc/stat")
    user, nice, system, idle, iowait, irq, softirq, steal = (float(each) / hz for each in modes[1].split())
    out = {"user_s": user + nice, "system_s": system + irq + softirq, "idle_s": idle + iowait, "steal_s": steal}
    out |= {name: float(n) for name, n in re.findall(r"^(ctxt|processes) ([0-9]{1,18})$", text, re.MULTILINE)}
    return out | {"cpus": float(len(re.findall(r"^cpu\d+ ", text, re.MULTILINE)))}


def read_perf(text: str, where: str) -> dict[str, float]:
    """`perf stat -x,`: counts by event; what a hybrid processor counts on each kind of core is added up.

    Left out is what was not counted, not supported, counted in user mode alone, on one kind of core alone or for a part
    of the time: perf extrapolates that, and on a hybrid processor to the time on the other kind of core, too.
    BadInput where the file has other columns, as with -I, or an event twice, as with --append.
    """
    counts: dict[str, float] = {}
    for line in text.splitlines():
        fields = line.split(",")
        if line.startswith("#") or len(fields) < 3:
            continue
        if re.fullmatch(r" *[0-9]+\.[0-9]{6,}", fields[0]) and re.match(r" *([0-9]|<not)", fields[1]):
            raise BadInput(f"{where}: counts by interval, as of `perf stat -I`: give one count of the whole run")
        count = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)|<not (?:counted|supported)>", fields[0])
        if count is None:
            continue
        if fields[2] in counts:
            raise BadInput(f"{where}: {fields[2]} is counted twice: give the file of one run")
        extrapolated = len(fields) > 4 and re.fullmatch(r"[0-9]{1,2}(\.[0-9]+)?", fields[4])  # % of the time
        counts[fields[2]] = float(count[1]) if count[1] and not extrapolated else float("nan")
    by_kind: dict[str, list[float]] = {}
    for name, number in counts.items():
        if match := OF_A_KIND.fullmatch(name):
            by_kind.setdefault(match[1], []).append(number)
    counts = {event: sum(parts) for event, parts in by_kind.items() if len(parts) > 1} | counts
    out = {name: number for name, number in counts.items() if number == number and not name.endswith(":u")}
    if not out:
        raise BadInput(f"{where}: no counts, as `perf stat -x,` prints them")
    return out


def seen_of_snapshots(
    vmstat: tuple[str, str], stat: tuple[str, str] | None, interrupts: tuple[str, str] | None, perf: str | None
) -> dict[str, float]:
    """What recorded texts say of the time between two snapshots; they count the whole machine."""
    before, after = (read_counters(text, "vmstat") for text in vmstat)
    change = {name: after[name] - before.get(name, 0.0) for name in after}
    seen = {"faults": change.get("pgfault", float("nan")), "huge": change.get("thp_fault_alloc", 0.0)}
    seen["pgalloc"] = sum(count for name, count in change.items() if name.startswith("pgalloc_"))
    if stat:
        first, last = (read_stat(text, "stat") for text in stat)
        seen |= {name: last[name] - first[name] for name in ("user_s", "system_s", "steal_s")}
        seen["switches"], seen["cpus"] = last["ctxt"] - first["ctxt"], last["cpus"]
        if seen["steal_s"] < 0:  # some hypervisors set it back
            seen["steal_s"] = float("nan")
        else:
            all_s = sum(last[n] - first[n] for n in ("user_s", "system_s", "idle_s", "steal_s"))
            seen["elapsed_s"] = all_s / last["cpus"]
    if interrupts and all(text.strip() for text in interrupts):  # containers show an empty file
        seen["interrupts"] = count_interrupts(*interrupts)
    if perf:
        counts = read_perf(perf, "perf")
        of_perf = seen_of_perf(counts)
        if not of_perf:
            raise BadInput(f"--perf: nothing of it is used; events that are: {', '.join(OF_PERF)}")
        seen |= of_perf
    for name in ("huge", "pgalloc", "switches", "elapsed_s"):
        if seen.get(name, 0.0) < 0:
            raise BadInput(f"recorded files: {name} went down: is BEFORE after AFTER?")
    times = "--stat, or user_time and system_time in --perf"
    for name, needs in (("user_s", times), ("system_s", times), ("faults", "pgfault in --vmstat")):
        if not seen.get(name, float("nan")) >= 0:
            what = "went down: is BEFORE after AFTER?" if seen.get(name, 0.0) < 0 else f"is not known: give {needs}"
            raise BadInput(f"recorded files: {name} {what}")
    return seen


def seen_of_perf(counts: Mapping[str, float]) -> dict[str, float]:
    """perf's own counts under our names; its times are in ns."""
    return {
        ours: counts[theirs] * (1e-9 if ours.endswith("_s") else 1.0)
        for theirs, ours in OF_PERF.items()
        if theirs in counts
    }


def count_interrupts(before: str, after: str) -> float:
    """Interrupts of the whole machine between two texts of /proc/interrupts; BadInput where a count went down.

    A count is 32 bits wide: one that was near its end and is small now has gone round.
    """
    total, earlier = 0, read_interrupt_rows(before)
    for name, counts in read_interrupt_rows(after).items():
        old = earlier.get(name, [])
        for cpu, count in enumerate(counts):
            more = count - (old[cpu] if len(old) == len(counts) else 0)
            if more < 0:
                more += WRAP
                if not 0 <= more <= WRAP // 2:
                    raise BadInput(f"--interrupts: row {name} went down: is BEFORE after AFTER?")
            total += more
    return float(total)


def seen_of_command(command: Sequence[str]) -> tuple[dict[str, float], list[str]]:
    """Run a command and say what it asked for, and what could not be counted; BadInput where it cannot be run."""
    if shutil.which(command[0]) is None:
        raise BadInput(f"{command[0]!r}: no such command")
    missing: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "perf"
        events = [event for event in PERF if _perf_counts(event)]
        missing = [f"perf does not count {event} here" for event in PERF if event not in events]
        prefix = ["perf", "stat", "-x,", "-o", str(counts), "-e", ",".join(events), "--"] if events else []
        code = Path(folder) / "code"  # perf does not hand it on reliably
        read_stat(Path("/proc/stat").read_text(), "/proc/stat")  # what is refused is refused before the command runs
        shell = ["sh", "-c", '"$@"; echo $? > "$0"', str(code)]
        before, begin = _snapshot(), time.monotonic()
        subprocess.run([*prefix, *shell, *command])
        elapsed_s, after = time.monotonic() - begin, _snapshot()
        ended = code.read_text().strip() if code.exists() else "unknown"
        perf = read_perf(counts.read_text(), "perf") if events and counts.exists() else {}
    if ended != "0":
        raise BadInput(f"{command[0]!r} ended with exit code {ended}: nothing is written")
    vmstat, stat, interrupts = ((before[n], after[n]) for n in ("vmstat", "stat", "interrupts"))
    seen = seen_of_snapshots(vmstat, stat, interrupts, None)
    seen["machine_cpu_s"] = seen["user_s"] + seen["system_s"]
    if "interrupts" not in seen:
        missing.append("/proc/interrupts is empty here, as in containers: interrupts are not counted")
    seen |= {name: after[name] - before[name] for name in ("user_s", "system_s", "faults", "switches", "bytes")}
    return seen | seen_of_perf(perf) | {"elapsed_s": elapsed_s}, missing


def _snapshot() -> dict[str, Any]:
    out: dict[str, Any] = {name: Path(f"/proc/{name}").read_text() for name in ("vmstat", "stat", "interrupts")}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    moved = dict(re.findall(r"^(rchar|wchar): (\d+)$", Path("/proc/self/io").read_text(), re.MULTILINE))
    return out | {
        "user_s": used.ru_utime, "system_s": used.ru_stime, "faults": float(used.ru_minflt + used.ru_majflt),
        "switches": float(used.ru_nvcsw + used.ru_nivcsw), "bytes": float(sum(map(int, moved.values()))),
    }  # fmt: skip


def _perf_counts(event: str) -> bool:
    try:
        done = subprocess.run(
            ["perf", "stat", "-x,", "-e", event, "--", "true"], capture_output=True, text=True, timeout=30
        )
        return done.returncode == 0 and event in read_perf(done.stderr, "perf")
    except (OSError, subprocess.SubprocessError, BadInput):
        return False
