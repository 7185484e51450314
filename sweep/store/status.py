"""The progress of a run: `sweep status OUT`, during it and after it."""

from contextlib import suppress
from typing import Any

import pyarrow as pa

from sweep.errors import printable
from sweep.store import journal, lock
from sweep.store.folder import Folder
from sweep.store.parts import committed
from sweep.store.results import NAME, count_failures
from sweep.store.run_json import read_run


def status(folder: Folder) -> dict[str, Any]:
    """Chunks done, running, failed and left, chunks a second, seconds left, CPU hours so far, and whether it runs.

    `done` counts parts; the rest is from the journal. `rate` is that of the last driver.
    """
    chunks = read_run(folder)["chunk_bounds"]
    done = len(committed(folder, chunks))
    failed: dict[int, int] = {}
    cpu_s, begun, last, count = 0.0, None, None, 0
    for line in journal.read(folder):
        if line.event == "start":
            begun, last, count = line.time, None, 0
        elif line.event == "chunk":
            cpu_s += line.cpu_s
            failed[line.chunk] = line.failed
            last, count = line.time, count + 1
    rate = count / (last - begun) if begun and last and last > begun else None
    holder = lock.read(folder)
    age_s = lock.heartbeat_age_s(folder) if holder is not None else 0.0
    if holder is not None and lock.dead(holder, age_s):
        holder = None
    finished = folder.is_file(NAME)
    lost = sum(failed.values())
    if finished:
        with suppress(OSError, pa.ArrowException):  # damaged: the journal has the number, too
            lost = count_failures(folder)
    running = min(holder.running, chunks - done) if holder else 0  # as of the last commit
    return {
        "chunks": chunks,
        "done": done,
        "running": running,
        "failed_points": lost,
        "left": chunks - done - running,
        "rate": rate,
        "left_s": (chunks - done) / rate if rate else None,
        "cpu_hours": cpu_s / 3600.0,
        "driver": f"{holder}, heartbeat {age_s:.0f} s ago" if holder else None,
        "finished": finished,
    }


def as_text(folder: Folder, found: dict[str, Any], between: str = "\n  ") -> str:
    """The status in lines, or with another `between` them, as in a log."""
    ended = "finished" if found["finished"] else "not running; the same command continues"
    state = f"running ({found['driver']})" if found["driver"] else ended
    said = [
        f"{folder}: {state}",
        f"{found['done']} of {found['chunks']} chunks done, {found['running']} running, {found['left']} left",
        f"{found['failed_points']} points failed",
    ]
    if found["rate"]:
        left = f", about {found['left_s'] / 60:.3g} min left" if found["left_s"] else ""
        said.append(f"{found['rate']:.3g} chunks/s{left}")
    return between.join(map(printable, [*said, f"{found['cpu_hours']:.3g} CPU hours so far"]))
