"""How many chunks a second can one driver send and commit? `python -m benchmarks.scale [SECONDS [CPUS]]`.

The chunks sleep and return the rows of a real one, on a local Ray of more logical CPUs than this machine has: each CPU
is a process here, so the result is a lower bound. A commit is that of a run: table, checksum, fsync, rename, journal;
by the driver, or with `runner.commit=workers` by the chunk's worker.
"""

import os
import sys
import tempfile
import time
from functools import partial

import numpy as np

from benchmarks import plans
from sim import METRICS
from sweep.inputs.settings import Runner
from sweep.run import compute as simulation
from sweep.run.ray import Cluster
from sweep.store import rows
from sweep.store.folder import open_folder
from sweep.store.journal import Journal
from sweep.store.parts import part_bytes, part_name, write_part

ROWS = 2000  # of a chunk


def sleeping(sleep_s: float):
    def compute(plan, points):
        time.sleep(sleep_s)
        if not hasattr(rows, "ready"):  # made once in each worker
            metrics = {name: np.zeros((len(points), plan.replicas)) for name in METRICS}
            rows.ready = rows.to_table(plan, points, rows.columns_of(plan, points), metrics)
        return rows.ready

    return compute


def measure(cpus: int, sleep_s: float, length_s: float, commit: str) -> float:
    """Chunks a second after the first `cpus` of them, which wait for the start of their processes."""
    simulation.compute = sleeping(sleep_s)
    plan = plans.wide(4_000_000, replicas=4)
    plan.__dict__["chunks"] = np.arange(0, len(plan), ROWS // plan.replicas)
    with tempfile.TemporaryDirectory() as out:
        folder = open_folder(out)
        journal = Journal(folder)
        chunks = range(len(plan.chunks) - 1)
        write = partial(write_part, folder) if commit == "workers" else part_bytes
        settings = Runner(kind="ray", address="local", cpus=cpus)
        carried = Cluster(settings, sys.exit).carry(plan, chunks, lambda chunk: None, write)
        count, begun = 0, 0.0
        for done, each in enumerate(carried):
            if commit == "driver":
                folder.write(part_name(each.chunk), each.part)
            elif commit == "workers":
                assert folder.exists(part_name(each.chunk))
            if commit:
                journal.note("chunk", chunk=each.chunk, **each.note)
            if done == 3 * cpus:
                count, begun = 0, time.monotonic()
            if done > 3 * cpus:
                count += 1
                if time.monotonic() - begun > length_s:
                    break
        took = time.monotonic() - begun
        carried.close()
    return count / took


def main() -> None:
    length_s = 1.0 if "--quick" in sys.argv else float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 16
    cores = os.cpu_count()
    print(f"{ROWS} rows a chunk; this machine has {cores} CPUs\n")
    print(" CPUs  sleep ms  CPUs/sleep  handed out /s  driver commits /s  workers commit /s")
    best = {"driver": 0.0, "workers": 0.0}
    for cpus, sleep_s in ((8, 0.1), (16, 0.1), (32, 0.1), (64, 0.1), (128, 0.1)):
        if cpus > most:
            break
        plain, driver, workers = (measure(cpus, sleep_s, length_s, commit) for commit in ("", "driver", "workers"))
        best = {"driver": max(best["driver"], driver), "workers": max(best["workers"], workers)}
        print(
            f"{cpus:5d} {1e3 * sleep_s:9.0f} {cpus / sleep_s:11.0f} {plain:14.0f} {driver:18.0f} {workers:18.0f}",
            flush=True,
        )
    for who, rate in best.items():
        print(
            f"\nCommits by {who}: one driver carries at least {rate:.0f} chunks/s beside the workers on these {cores} "
            f"CPUs, and so feeds {2 * rate:.0f} cores with chunks of 2 s and {10 * rate:.0f} with chunks of 10 s."
        )


if __name__ == "__main__":
    main()
