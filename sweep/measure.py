"""How long a broadcast takes on this machine, call by call: a closed loop around the kernel's own path, without root.

C:   sweep/measure.c: membarrier(2), madvise(2), mprotect(2), munmap(2) -> smp_call_function_many()

The loop is C, compiled on first use by the system's compiler: an interpreter's own time and lock are of the size of
what is measured. The curves are a file of `conf/measure/`. Calls during which a CPU was taken from a thread of ours do
not count; of several passes over a point the median counts.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from sweep.catalog import BadInput, did_you_mean
from sweep.conf import conf_dir
from sweep.this_machine import VIRTUAL, absent, facts, interrupts, own_folder

SOURCE = Path(__file__).with_name("measure.c")
CALLS = ("membarrier", "dontneed", "mprotect", "munmap")
FORBIDDEN = 3  # exit code of the helper where the kernel refuses the call
REGION_PAGES = 2048  # the most pages of a call, as in measure.c
MOST = {"callers": 4096, "think_ns": 1e9, "pages": REGION_PAGES}


class Unmeasurable(Exception):
    """This machine cannot be measured; the message says why."""


@dataclass(frozen=True)
class Point:
    """One experiment: so many callers of a call with a think time, and so many other CPUs that run user code."""

    call: str
    callers: int
    spinners: int
    think_ns: float
    pages: int


@dataclass(frozen=True)
class Experiment:
    """What is measured, and how it is fitted."""

    title: str
    seconds: float
    passes: int
    least_calls: int
    points: tuple[Point, ...]
    fit: Mapping[str, Any]


def read_experiment(path: Path, cpus: int) -> Experiment:
    """A file of `conf/measure/` for a machine of `cpus` CPUs, every key checked; BadInput names what is off."""
    where = f"measure/{path.stem}"
    text = path.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadInput(f"{where}: {' '.join(str(error).split())}") from None
    keys(content, {"seconds", "passes", "least_calls", "curves", "fit"}, where)
    points: dict[Point, None] = {}
    if not isinstance(content["curves"], list):
        raise BadInput(f"{where}: curves={content['curves']!r}: must be a list")
    for number, curve in enumerate(content["curves"], 1):
        points |= dict.fromkeys(_curve(curve, cpus, f"{where}, curve {number}"))
    return Experiment(
        title=text.partition("\n")[0].removeprefix("#").strip(),
        seconds=number_in(content["seconds"], 1e-3, 60, f"{where}: seconds"),
        passes=int(number_in(content["passes"], 1, 1000, f"{where}: passes", whole=True)),
        least_calls=int(number_in(content["least_calls"], 1, 1e6, f"{where}: least_calls", whole=True)),
        points=tuple(points),
        fit=content["fit"],
    )


def _curve(curve: Any, cpus: int, where: str) -> list[Point]:
    optional = {"pages": [0]} if isinstance(curve, Mapping) and curve.get("call") == "membarrier" else {}
    if isinstance(curve, Mapping) and "call" in curve and curve["call"] not in CALLS:
        raise BadInput(f"{where}: call={curve['call']!r}: must be one of {', '.join(CALLS)}")
    keys(curve, {"call", "callers", "others", "think_ns", "pages"} - set(optional), where)
    if curve["others"] not in ("idle", "busy"):
        raise BadInput(f"{where}: others={curve['others']!r}: must be idle or busy")
    lists = {}
    for key in ("callers", "think_ns", "pages"):
        values = curve[key] if key in curve else optional[key]
        if not isinstance(values, list) or not values:
            raise BadInput(f"{where}: {key}={values!r}: must be a list")
        least = 0 if key == "think_ns" or key in optional else 1
        whole = key != "think_ns"
        lists[key] = [
            cpus
            if key == "callers" and value == "all"
            else number_in(value, least, MOST[key], f"{where}: {key}", whole)
            for value in values
        ]
    return [
        Point(curve["call"], int(callers), cpus - int(callers) if curve["others"] == "busy" else 0, think, int(pages))
        for callers in lists["callers"]
        if callers <= cpus  # a file for larger machines as well
        for think in lists["think_ns"]
        for pages in lists["pages"]
    ]


def keys(content: Any, needed: set[str], where: str) -> None:
    """BadInput unless `content` is a mapping of exactly these keys."""
    if not isinstance(content, Mapping):
        raise BadInput(f"{where}: {content!r}: must be a mapping of {', '.join(sorted(needed))}")
    for key in content:
        if key not in needed:
            raise BadInput(f"{where}: unknown key {key!r}{did_you_mean(str(key), needed)}")
    missing = sorted(needed - set(content))
    if missing:
        raise BadInput(f"{where}: {missing[0]}: not given")


def number_in(value: Any, low: float, high: float, where: str, whole: bool = False) -> float:
    """A checked number; BadInput where it is none or out of range."""
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadInput(f"{where}={value!r}: must be {kind} from {low:g} to {high:g}")
    if whole and value != int(value):
        raise BadInput(f"{where}={value!r}: must be {kind} from {low:g} to {high:g}")
    return value


def helper() -> Path:
    """The compiled loop, made on first use in the user's cache; Unmeasurable where that cannot be done."""
    if platform.system() != "Linux":
        raise Unmeasurable(f"{platform.system()} has no membarrier(2) and no /proc: measure on Linux")
    base = os.environ.get("XDG_CACHE_HOME", "")
    cache = (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "xpfo-sweep"
    program = cache / f"measure-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]}-{platform.machine()}"
    if program.exists():
        return program
    compiler = next(
        (found for name in (os.environ.get("CC", ""), "cc", "gcc", "clang") if (found := shutil.which(name))), None
    )
    if compiler is None:
        raise Unmeasurable(
            "no C compiler (cc, gcc, clang or $CC): install one, like `apt install gcc`, and measure again"
        )
    cache.mkdir(parents=True, exist_ok=True)
    made = program.with_name(f".{program.name}.{os.getpid()}")
    done = subprocess.run(
        [compiler, "-O2", "-pthread", "-o", str(made), str(SOURCE), "-lm"], capture_output=True, text=True
    )
    if done.returncode:
        raise Unmeasurable(f"{compiler} could not compile {SOURCE}:\n{done.stderr.strip()}")
    made.replace(program)
    return program


def measure_point(program: Path, point: Point, seconds: float, seed: int, cpus: Sequence[int]) -> dict[str, float]:
    """One pass over one point: what the loop saw, and interrupts per call of the whole machine."""
    used = cpus[: point.callers + point.spinners]
    numbers = (point.call, point.callers, point.spinners, point.think_ns, point.pages)
    before = interrupts()
    done = subprocess.run(
        [str(each) for each in (program, *numbers, seconds, seed, *used)],
        capture_output=True, text=True, timeout=60 + 2 * seconds,
    )  # fmt: skip
    after = interrupts()
    if done.returncode == FORBIDDEN:
        raise Unmeasurable(f"the kernel forbids the call {point.call}: {done.stderr.strip()}")
    if done.returncode:
        raise Unmeasurable(f"the loop failed with exit code {done.returncode}: {done.stderr.strip()}")
    seen = read_summary(done.stdout)
    calls = seen["calls_made"]
    for row in ("CAL", "TLB"):
        if calls and row in before and row in after:
            seen[f"{row.lower()}_per_call"] = (after[row] - before[row]) / calls
    return seen


def read_summary(text: str) -> dict[str, float]:
    """The helper's `key value` lines."""
    return {key: float(value) for key, value in (line.split() for line in text.splitlines())}


def measure(experiment: Experiment, progress: Any = None) -> pd.DataFrame:
    """Every point, passes one after the other so that a disturbance does not hit one point only; a row a point."""
    program, cpus = helper(), sorted(os.sched_getaffinity(0))
    seen: dict[Point, list[dict[str, float]]] = {point: [] for point in experiment.points}
    for turn in range(experiment.passes):
        for point in experiment.points:
            once = measure_point(program, point, experiment.seconds, turn, cpus)
            if once["call_count"] >= experiment.least_calls:
                seen[point].append(once)
        if progress:
            progress(f"  pass {turn + 1} of {experiment.passes}: {len(experiment.points)} points")
    rows = []
    for point, passes in seen.items():
        if not passes and progress:
            progress(
                f"  left out: {point} never made {experiment.least_calls} undisturbed calls in {experiment.seconds:g} s"
            )
        if passes:
            rows.append(_row(point, pd.DataFrame(passes).median()))
    if not rows:
        raise Unmeasurable("no point could be measured: others hold the CPUs")
    return pd.DataFrame(rows)


def _row(point: Point, seen: pd.Series) -> dict[str, Any]:
    row: dict[str, Any] = asdict(point) | {"think_ns": seen["think_ns"], "asked_think_ns": point.think_ns}
    row |= {f"measured_{q}_ns": seen[f"call_{q}_ns"] for q in ("p50", "p99", "mean")}
    for name in (
        "calls_per_s",
        "cal_per_call",
        "tlb_per_call",
        "calls_made",
        "call_count",
        "away_count",
        "away_p50_ns",
    ):
        row[name] = seen.get(name, float("nan"))
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, fit, write; the exit code: 0 done, 1 this machine cannot be measured, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m sweep.measure",
        description="Measure broadcasts on this machine without root, fit the model's costs to half of what was seen, "
        "predict the other half, and write machine/this_machine.yaml into your own folder.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "experiment", nargs="?", default="default", help="a file of conf/measure, or of measure/ in DIR"
    )
    parser.add_argument("--config-dir", metavar="DIR", help="your own folder; default ~/.config/xpfo-sweep")
    parser.add_argument("--measured", metavar="CSV", help="fit this earlier measured.csv of this machine again")
    parser.add_argument("--no-fit", action="store_true", help="only measure")
    given = parser.parse_args(arguments)
    own = own_folder(given.config_dir)
    try:
        return _run(given, own)
    except BadInput as error:
        print(f"sweep.measure: {error}", file=sys.stderr)
        return 2
    except Unmeasurable as error:
        print(f"sweep.measure: {error}", file=sys.stderr)
        return 1


def _run(given: argparse.Namespace, own: Path) -> int:
    paths = {path.stem: path for folder in (conf_dir(), own) for path in (folder / "measure").glob("*.yaml")}
    if given.experiment not in paths:
        raise BadInput(f"experiment={given.experiment!r}: no such file{did_you_mean(given.experiment, paths)}")
    cpus = len(os.sched_getaffinity(0))
    if cpus < 2:
        raise Unmeasurable("one CPU only: there is nobody to interrupt")
    experiment = read_experiment(paths[given.experiment], cpus)
    machine = facts()
    folder = own / "measure"
    folder.mkdir(parents=True, exist_ok=True)
    say(experiment.title)
    for line in absent():
        say(f"not used: {line}")
    if machine.hypervisor:
        say(f"hypervisor {machine.hypervisor}. {VIRTUAL}")
    if given.measured:
        try:
            measured = pd.read_csv(given.measured)
        except (OSError, ValueError) as error:
            raise BadInput(f"--measured={given.measured}: {error}") from None
    else:
        measured = measure(experiment, say)
        measured.to_csv(folder / "measured.csv", index=False)
        say(f"{folder / 'measured.csv'}: {len(measured)} points")
    if given.no_fit:
        return 0
    from sweep.measured_vs_simulated import fit_and_write

    return fit_and_write(measured, experiment.fit, machine, own)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
