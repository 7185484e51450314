"""CPUs that this process may use: of the machine, those its affinity and its control groups leave it."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


def usable_cpus() -> int:
    """How many CPUs can work for this process at once, at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cpus, math.ceil(quota(GROUPS, Path("/proc/self/cgroup")))))


def quota(groups: Path, mine: Path) -> float:
    """CPUs that the groups of this process and those above them leave it; infinite where they set no limit."""
    least = 1e9
    with suppress(OSError):
        for line in mine.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            root = groups / controllers if controllers and (groups / controllers).is_dir() else groups
            if controllers and root == groups:
                root = groups / "cpu"
            here = root / path.strip("/")
            for folder in (here, *here.parents):
                least = min(least, _limit(folder))
                if folder == root:
                    break
    return least


def _limit(folder: Path) -> float:
    """The limit of one group: cpu.max of version 2, cpu.cfs_quota_us of version 1."""
    with suppress(OSError, ValueError):
        most, period = (folder / "cpu.max").read_text().split()
        return 1e9 if most == "max" else float(most) / float(period)
    with suppress(OSError, ValueError):
        most, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(most) / float(period) if float(most) > 0 else 1e9
    return 1e9
