"""The identity of a process, independent of clocks: the boot of its machine and its start in ticks since then."""

from __future__ import annotations

import os
from pathlib import Path

START = 19  # of the fields of /proc/PID/stat after the command's name: starttime
PARENT = 1
STATE = 0


def space() -> str:
    """Boot and namespaces of pids and time, in which a pid and a start identify a process; empty: not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        kinds = [kind for kind in ("pid", "time") if os.path.lexists(f"/proc/self/ns/{kind}")]  # Linux 5.6 has both
        return " ".join([boot, *(os.readlink(f"/proc/self/ns/{kind}") for kind in kinds)])
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None if it has ended or is a zombie."""
    fields = _fields(pid)
    return None if fields is None or fields[STATE] in ("Z", "X") else int(fields[START])


def lives(pid: int, ticks: int | None) -> bool:
    """Whether the process that started at `ticks` still has this pid; without ticks, whether any process has."""
    if os.path.isdir("/proc/self"):
        found = start_ticks(pid)
        return found is not None and ticks in (None, found)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def descendants(pid: int) -> dict[int, int]:
    """Pid and start of every descendant of a process."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (fields := _fields(int(entry))) is not None:
            parents[int(entry)] = int(fields[PARENT])
    found: dict[int, int] = {}
    todo = [pid]
    while todo:
        above = todo.pop()
        for child, parent in parents.items():
            if parent == above and child not in found and (ticks := start_ticks(child)) is not None:
                found[child] = ticks
                todo.append(child)
    return found


def _fields(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
