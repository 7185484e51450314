"""The time of a broadcast on this machine, call by call: a closed loop around the kernel's own path, without root.

C:   sweep/measure/loop.c: membarrier(2), madvise(2), mprotect(2), munmap(2) -> smp_call_function_many()

The loop is C, compiled on first use by the system's compiler: an interpreter's time and lock are as long as the
broadcast. The curves are a file of `conf/measure/`. Calls do not count if one of our threads lost its CPU meanwhile;
the result of a point is the median of several passes.
"""

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from sim.machine.compiled.cache import not_private
from sweep.errors import Unmeasurable
from sweep.inputs.home import cache_folder
from sweep.measure.experiment import Experiment, Point
from sweep.measure.machine import interrupts
from sweep.messages import say

SOURCE = Path(__file__).with_name("loop.c")
FORBIDDEN = 3  # exit code of the helper if the kernel refuses the call
RENAMED = {f"call_{each}_ns": f"measured_{each}_ns" for each in ("p50", "p99", "mean")}
COLUMNS = [  # of measured.csv
    *Point._fields, "asked_think_ns", *RENAMED.values(), "calls_per_s", "cal_per_call", "tlb_per_call", "calls_made",
    "call_count", "away_count", "away_p50_ns",
]  # fmt: skip


def helper(source: Path = SOURCE) -> Path:
    """The program, compiled on first use in the user's cache; Unmeasurable if that fails.

    Only this user can write the program and its folder.
    """
    if platform.system() != "Linux":
        raise Unmeasurable(f"{platform.system()} has no membarrier(2) and no /proc: measure on Linux")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    program = cache_folder() / f"measure-{digest}-{platform.machine()}"
    if os.path.lexists(program):
        if not not_private(program) and os.access(program, os.X_OK):
            return program
        program.unlink()  # from an older version with a shared folder
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC", ""), "cc", "gcc", "clang"))), None)
    if compiler is None:
        raise Unmeasurable(
            "no C compiler (cc, gcc, clang or $CC): install one, like `apt install gcc`, and measure again"
        )
    with TemporaryDirectory(dir=program.parent) as folder:
        made = Path(folder) / program.name
        command = [compiler, "-O2", "-pthread", "-o", str(made), str(source), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not made.is_file():
            raise Unmeasurable(f"{compiler} could not compile {source}: {' '.join(done.stderr.split())}")
        made.chmod(0o700)
        made.replace(program)
    return program


def measure_point(program: Path, point: Point, seconds: float, seed: int, cpus: Sequence[int]) -> dict[str, float]:
    """One pass over one point: results of the loop, and interrupts per call of the whole machine."""
    before = interrupts()
    done = subprocess.run(
        [str(each) for each in (program, *point, seconds, seed, *cpus[: point.callers + point.spinners])],
        capture_output=True, text=True, timeout=60 + 2 * seconds,
    )  # fmt: skip
    after = interrupts()
    if done.returncode:
        what = f"the kernel forbids the call {point.call}"
        if done.returncode != FORBIDDEN:
            what = f"the loop failed with exit code {done.returncode}"
        raise Unmeasurable(f"{what}: {done.stderr.strip()}")
    seen = {key: float(value) for key, value in map(str.split, done.stdout.splitlines())}
    calls = seen["calls_made"]
    for row in ("CAL", "TLB"):
        if calls and row in before and row in after:
            seen[f"{row.lower()}_per_call"] = (after[row] - before[row]) / calls
    return seen


def run_experiment(experiment: Experiment, points: Sequence[Point]) -> pd.DataFrame:
    """A row per point. Passes run one after the other, so that a disturbance affects several points."""
    program, cpus = helper(), sorted(os.sched_getaffinity(0))
    seen: dict[Point, list[dict[str, float]]] = {point: [] for point in points}
    for turn in range(experiment.passes):
        for point in points:
            once = measure_point(program, point, experiment.seconds, turn, cpus)
            if once["call_count"] >= experiment.least_calls:
                seen[point].append(once)
        say(f"  pass {turn + 1} of {experiment.passes}: {len(points)} points")
    rows = []
    for point, passes in seen.items():
        if passes:
            rows.append(point._asdict() | {"asked_think_ns": point.think_ns} | dict(pd.DataFrame(passes).median()))
        else:
            calls = f"{experiment.least_calls} undisturbed calls in {experiment.seconds:g} s"
            say(f"  left out: {point} never made {calls}")
    if not rows:
        raise Unmeasurable("no point could be measured: other processes occupy the CPUs")
    return pd.DataFrame(rows).rename(columns=RENAMED).reindex(columns=COLUMNS)
