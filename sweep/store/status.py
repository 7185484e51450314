"""How far a run is: `sweep status OUT`, while it runs and after it died."""

from __future__ import annotations

import json
from typing import Any

from sweep.errors import BadInput
from sweep.store import journal, lock
from sweep.store.folder import Folder
from sweep.store.results import count_failures


def status(folder: Folder) -> dict[str, Any]:
    """Chunks done, running, failed and left, chunks a second, seconds left, CPU hours so far, and whether it runs.

    `done` counts parts, which is the truth; the rest is from the journal. `rate` is that of the last driver.
    """
    if not folder.exists("run.json"):
        raise BadInput(f"{folder}: holds no run.json; give the folder of a run")
    chunks = int(json.loads(folder.read("run.json"))["chunk_bounds"])
    done = sum(name.startswith("part-") for name in folder.names("parts"))
    failed: dict[int, int] = {}
    cpu_s, begun, last, count = 0.0, None, None, 0
    for line in journal.read(folder):
        if line["event"] == "start":
            begun, last, count = line["time"], None, 0
        elif line["event"] == "chunk":
            cpu_s += line.get("cpu_s", 0.0)
            failed[line["chunk"]] = line.get("failed", 0)
            last, count = line["time"], count + 1
    rate = count / (last - begun) if begun and last and last > begun else None
    holder = lock.read(folder)
    age_s = lock.heartbeat_age_s(folder) if holder is not None else 0.0
    alive = holder is not None and not lock.dead(holder, age_s)
    finished = folder.exists("results.parquet")
    return {
        "chunks": chunks,
        "done": done,
        "running": int(holder.get("running", 0)) if alive and holder else 0,
        "failed_points": count_failures(folder) if finished else sum(failed.values()),
        "left": chunks - done,
        "rate": rate,
        "left_s": (chunks - done) / rate if rate else None,
        "cpu_hours": cpu_s / 3600.0,
        "driver": f"{lock.holder(holder)}, heartbeat {age_s:.0f} s ago" if alive and holder else None,
        "finished": finished,
    }


def as_text(folder: Folder, found: dict[str, Any]) -> str:
    """The status in words."""
    if found["driver"]:
        state = f"running ({found['driver']})"
    elif found["finished"]:
        state = "finished"
    else:
        state = "not running; the same command continues"
    lines = [
        f"{folder}: {state}",
        f"  chunks   {found['done']} of {found['chunks']} done, {found['running']} running, {found['left']} left",
        f"  failed   {found['failed_points']} points",
    ]
    if found["rate"]:
        lines.append(f"  rate     {found['rate']:.3g} chunks/s")
        if found["left"]:
            lines.append(f"  left     about {found['left_s'] / 60:.3g} min at that rate")
    return "\n".join([*lines, f"  CPU      {found['cpu_hours']:.3g} h so far"])
