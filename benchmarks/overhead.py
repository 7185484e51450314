"""How long does the runner take for a point, besides its simulation? `python -m benchmarks.overhead [--quick]`.

The engine is replaced by constant metrics. The rest is the work of a run: plan, columns, Arrow table, part, fsync,
rename, journal. It is compared with one job, task or call per point of Hydra, Ray and joblib. Memory is measured in
separate processes.
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import plans
from sim import METRICS
from sweep.inputs.settings import Runner, Settings
from sweep.plan.composition import Composition
from sweep.run import compute as simulation
from sweep.run import driver, work
from sweep.run.request import Request
from sweep.store.folder import Folder
from sweep.store.rows import columns_of, to_table

TARGETS_US = {1_000: 3.0, 10_000: 1.2}  # by points a chunk
APP = "import hydra\n@hydra.main(config_path=None, version_base='1.3')\ndef main(cfg): pass\nmain()\n"


@cache
def metrics(points: int) -> dict[str, np.ndarray]:
    values = np.random.default_rng(0).random((len(METRICS), points, 1))
    return dict(zip(METRICS, values, strict=True))


def no_simulation(plan, points):
    return to_table(plan, points, columns_of(plan, points), metrics(len(points)))


def nothing(point: int) -> dict[str, float]:
    return {"point": float(point)}


def whole_run(kind: str, points: int, size: int, ready: Any = None) -> dict[str, float]:
    """A run into an empty folder; microseconds per point: all but compaction, fsync alone, and compaction."""
    plan = plans.wide(points)
    plan.__dict__["chunks"] = np.arange(0, points + 1, size)
    computing, compacting, fsync, spent = simulation.compute, work.compact, os.fsync, {"fsync": 0.0, "compact": 0.0}

    def clocked(name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                spent[name] += time.perf_counter() - begun

        return call

    simulation.compute, os.fsync = no_simulation, clocked("fsync", fsync)
    work.compact = ready or clocked("compact", compacting)
    composition = Composition("overhead", "", {}, {}, {}, {}, {})
    settings = Settings(max_cpu_hours=1e12, quiet=True, report=False, commit="none")
    request = Request(composition, settings, Runner(kind=kind, address="local"))
    try:
        with tempfile.TemporaryDirectory() as out:
            begun = time.perf_counter()
            driver.carry_out(request, plan, out)
            took = time.perf_counter() - begun
    finally:
        simulation.compute, work.compact, os.fsync = computing, compacting, fsync
    return {"us": 1e6 * (took - spent["compact"]) / points} | {k: 1e6 * v / points for k, v in spent.items()}


def hydra_us(launcher: str, jobs: int) -> float:
    """Microseconds per job of `--multirun`, without Hydra's start."""
    took = []
    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder) / "app.py"
        app.write_text(APP)
        for count in (1, jobs + 1):
            command = [sys.executable, str(app), "-m", f"+i=range({count})", f"hydra/launcher={launcher}"]
            command += ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
            begun = time.perf_counter()
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            took.append(time.perf_counter() - begun)
    return 1e6 * (took[1] - took[0]) / jobs


def others_us(quick: bool) -> dict[str, float]:
    """Microseconds of one task or call per point, with a running Ray."""
    import joblib
    import ray

    task = ray.remote(nothing)
    out = {f"hydra -m, {each}": hydra_us(each, 10 if quick else 40) for each in ("basic", "joblib")}
    count = 1000 if quick else 5000
    sides = {
        "a Ray task a point": lambda: ray.get([task.remote(each) for each in range(count)]),
        "joblib, a call a point": lambda: joblib.Parallel(n_jobs=2)(joblib.delayed(nothing)(i) for i in range(count)),
    }
    for name, carry in sides.items():
        carry()  # its processes start
        begun = time.perf_counter()
        carry()
        out[name] = 1e6 * (time.perf_counter() - begun) / count
    return out


@cache
def measure(quick: bool = False) -> dict[tuple[str, int], dict[str, float]]:
    """The best of several rounds, by runner and points per chunk; other programs have 0 points per chunk."""
    import ray

    best: dict[tuple[str, int], dict[str, float]] = {}
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        whole_run("ray", 20_000, 1_000)
        for _ in range(1 if quick else 5):
            for size in TARGETS_US:
                for kind in ("serial", "ray"):
                    found = whole_run(kind, 100_000, size)
                    if (kind, size) not in best or found["us"] < best[kind, size]["us"]:
                        best[kind, size] = found
        best |= {(name, 0): {"us": took} for name, took in others_us(quick).items()}
    finally:
        ray.shutdown()
    return best


def memory(kind: str) -> None:
    """Print the driver's memory in MB after 1e5 and 1e6 points, without memory shared with Ray's object store."""
    done, size, write = 0, 5_000, Folder.write

    def counted(folder, name, content):
        nonlocal done
        write(folder, name, content)
        if not name.startswith("parts/"):
            return
        folder.remove(name)
        done += size
        if done in (100_000, 1_000_000):
            _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
            print((resident - shared) * os.sysconf("SC_PAGE_SIZE") / 2**20, flush=True)

    Folder.write = counted
    whole_run(kind, 1_000_000, size, ready=lambda folder, plan: 0)


@cache
def grown_mb(kind: str) -> float:
    """Growth of a driver's memory from 1e5 to 1e6 points."""
    command = [sys.executable, "-m", "benchmarks.overhead", "--memory", kind]
    early, late = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-2:]
    return float(late) - float(early)


def ratios(quick: bool = True) -> dict[str, float]:
    """Time per point of other programs over the runner's with 1000 points per chunk, and the microseconds."""
    took = measure(quick)
    ours = took["ray", 1_000]["us"]
    out = {f"{name} over the runner": each["us"] / ours for (name, size), each in took.items() if not size}
    return out | {f"{name}, {size} a chunk: us a point": each["us"] for (name, size), each in took.items() if size}


def main() -> None:
    if "--memory" in sys.argv:
        memory(sys.argv[-1])
        return
    quick = "--quick" in sys.argv
    took = measure(quick)
    print("us a point, without compaction\n\nrunner  points a chunk      all  of it fsync  compaction")
    for (name, size), each in took.items():
        if size:
            print(f"{name:6} {size:15d} {each['us']:8.2f} {each['fsync']:12.2f} {each['compact']:11.2f}")
    print()
    ours = took["ray", 1_000]["us"]
    for (name, size), each in took.items():
        if not size:
            print(f"{name:24} {each['us']:10.1f} {each['us'] / ours:10.0f}x")
    growth = {} if quick else {kind: grown_mb(kind) for kind in ("serial", "ray")}
    for kind, grown in growth.items():
        print(f"driver's memory from 1e5 to 1e6 points, {kind}: {grown:+.1f} MB")
    worst = {size: max(took[kind, size]["us"] for kind in ("serial", "ray")) for size in TARGETS_US}
    met = all(worst[size] <= TARGETS_US[size] for size in worst)
    said = " and ".join(f"{worst[size]:.2f} us with {size} points a chunk" for size in worst)
    print(
        f"\nThe runner takes at most {said} for a point; the targets, "
        f"{' and '.join(f'{each:g} us' for each in TARGETS_US.values())}, are {'met' if met else 'missed'}."
    )


if __name__ == "__main__":
    from benchmarks import overhead  # so that workers find its functions by name

    overhead.main()
