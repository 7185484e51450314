"""How many flush events a second do the engines serve, compared with each other, with C and with SimPy?

    python -m benchmarks.engine [--quick]

Compares, on one thread and in one process: compiled loops under numba, numpy with all lanes at once (for broadcasts an
approximation, for deferrals the same bits), broadcasts in C (`benchmarks/broadcast.c`), and broadcasts in the usual
form of SimPy (`benchmarks/usual.py`). Policy xpfo, or xpfo_deferred if stated, central costs of conf/machine, the
kernel build's flush events; 4 replicas of points that differ in `refill_ns`.

Both sides have the same warm-up, then alternately serve the same number of flush events, several times; the best CPU
time of each side counts, and their results are compared. Compilation, construction and warm-up are not timed. Draws are
made by doubling, only in some rounds, so never in the best one.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks import c
from benchmarks.distance import known
from sim.counts import no_counts
from sim.events import FlushEvents
from sim.machine.compiled.cache import has_compiler
from sim.machine.engines import build_machine
from sim.policies import Policies
from sim.policy import Build, every_event
from sim.topology import Shape

REPLICAS = 4
SAME = 1e-9  # relative: the exact rule in C
NEAR = 0.01  # relative: SimPy counts a flush event when its own flush is over, so the last one may not be the same

Served = tuple[np.ndarray, np.ndarray]  # waits and windows, [event, lane]
Side = Callable[[int], Served]  # serves this many flush events in every lane


@dataclass(frozen=True)
class Size:
    """One configuration to measure."""

    machine: str
    cores: int
    jobs: int
    lanes: int
    warmup: int  # flush events of each lane
    events: int  # flush events of each lane in a round
    target: float = 0.0  # of the ratio

    @property
    def name(self) -> str:
        return f"{self.cores} CPUs, {self.jobs} jobs, {self.lanes} lanes"


APPROXIMATED = (  # compiled over numpy's approximation
    Size("i5_3550", 4, 4, 8192, 128, 64, 1.0),
    Size("xeon_8160", 96, 60, 512, 256, 96, 0.7),
    Size("xeon_8160", 96, 60, 8, 300, 100, 10.0),
)
DEFERRAL = Size("xeon_8160", 96, 60, 1024, 256, 256, 8.0)
IN_C = Size("xeon_8160", 96, 60, 512, 256, 48, 1.0)
GOAL_NS = 55.0  # a target
SIMPY = Size("xeon_8160", 96, 60, 8, 1536, 256, 250.0)


class Lanes:
    """The points of a size, prepared for every side."""

    def __init__(self, size: Size, alike: bool = False, policy: str = "xpfo") -> None:
        self.size = size
        p = known(size.machine) | {"cores": size.cores, "jobs": size.jobs}
        points = size.lanes // REPLICAS
        self.parameters: dict[str, Any] = p if alike else p | {"refill_ns": np.linspace(300.0, 8000.0, points)}
        self.replica = np.tile(np.arange(REPLICAS), points)
        column = {name: np.resize(value, points) for name, value in self.parameters.items() if name != "range_pages"}
        self.cost = {
            name: np.repeat(values.astype(float), REPLICAS)
            for name, values in column.items()
            if values.dtype.kind in "if"
        }
        weights = dict(p["range_pages"])
        shares = np.array([[weight / sum(weights.values())] for weight in weights.values()])
        zero = np.zeros(size.lanes)
        kunmap, alloc = self.cost["kunmap_events"], self.cost["alloc_events"]
        self.events = every_event(Build(kunmap, alloc, tuple(weights), shares + zero, zero, zero, zero, zero))
        self.think_ns = (self.cost["user_s"] + self.cost["base_system_s"]) / self.events.total * 1e9
        self.cost |= {"think_ns": self.think_ns, "checks_per_s": 130.0 + zero}
        busy = min(size.jobs, size.cores)
        self.shape = Shape(size.cores, p["sockets"], busy, busy, p["threads_per_core"], p["apic"], seed=0)
        self.policy = Policies()[policy]

    def source(self) -> FlushEvents:
        return FlushEvents(self.shape, self.cost, self.events, self.policy, self.replica)

    def machine(self, engine: str) -> Any:
        return build_machine(engine, self.shape, self.cost, self.policy, self.source())

    def engine(self, engine: str) -> Side:
        return side(self.machine(engine))

    def in_c(self) -> Side:
        return side(c.Machine(self.shape, self.cost, self.source()))

    def simpy(self) -> Any:
        """One lane in SimPy, from the draws of replica 0."""
        from benchmarks import usual

        alloc_share = float(self.events.alloc_total[0] / self.events.total[0])
        return usual.Machine(self.parameters, float(self.think_ns[0]), alloc_share, usual.draws(0))


def side(machine: Any) -> Side:
    def advance(events: int) -> Served:
        waits, windows = (np.empty((events, machine.lanes), order="F") for _ in range(2))
        machine.serve(waits, windows)
        return waits, windows

    return advance


def in_turn(sides: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The best time of each side, in s of CPU time: other processes may use the machine."""
    best = [np.inf] * len(sides)
    for _ in range(rounds):
        for at, each in enumerate(sides):
            begun = time.thread_time()
            each()
            best[at] = min(best[at], time.thread_time() - begun)
    return best


def compare(size: Size, sides: list[Side], rounds: int) -> tuple[list[float], float]:
    """Flush events a second of two sides, and the largest relative difference of their results; 0: equal bits."""
    found: list[list[Served]] = [[], []]

    def note(at: int) -> None:
        found[at].append(sides[at](size.events))

    for each in sides:
        each(size.warmup)
    times = in_turn([partial(note, 0), partial(note, 1)], rounds)
    apart = max(off(a, b) for one, other in zip(*found, strict=True) for a, b in zip(one, other, strict=True))
    return [size.lanes * size.events / took for took in times], apart


def off(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest relative difference; 0 for equal bits."""
    if found.tobytes() == expected.tobytes():
        return 0.0
    return float(np.nanmax(np.abs(found - expected) / np.maximum(np.abs(expected), 1e-300)))


def report(what: str, rates: list[float], target: float, agreement: str) -> float:
    """Print a row; return the ratio."""
    ratio = rates[0] / rates[1]
    verdict = "met" if ratio >= target else "NOT met"
    print(
        f"{what:60s}{rates[0]:11.0f}{rates[1]:11.0f}{ratio:9.3g}  target {target:g}: {verdict}; {agreement}", flush=True
    )
    return ratio


def same(apart: float, allowed: float = 0.0) -> str:
    if apart > allowed:
        return f"NOT the same numbers ({apart:.1e})"
    return "the same bits" if apart == 0.0 else f"the same numbers ({apart:.1e})"


def over_vectorized(quick: bool, rounds: int) -> Iterator[tuple[str, float]]:
    """The compiled engine over the vectorized one: an approximation of broadcasts, the same bits for deferrals."""
    for size in APPROXIMATED[:1] if quick else APPROXIMATED:
        lanes = Lanes(size)
        rates, _ = compare(size, [lanes.engine("compiled"), lanes.engine("vectorized")], rounds)
        what = f"compiled / numpy's approximation, {size.name}"
        yield f"compiled over the approximation, {size.name}", report(what, rates, size.target, "not the same work")
    lanes = Lanes(DEFERRAL, policy="xpfo_deferred")
    rates, apart = compare(DEFERRAL, [lanes.engine("compiled"), lanes.engine("vectorized")], rounds)
    what = f"deferral: compiled / vectorized, {DEFERRAL.name}"
    yield f"compiled over vectorized, xpfo_deferred, {DEFERRAL.name}", report(what, rates, DEFERRAL.target, same(apart))


def over_c(quick: bool, rounds: int) -> Iterator[tuple[str, float]]:
    """The compiled engine over the program in C."""
    lanes = Lanes(IN_C)
    rates, apart = compare(IN_C, [lanes.engine("compiled"), lanes.in_c()], rounds)
    yield f"compiled over C, {IN_C.name}", report(f"compiled / C, {IN_C.name}", rates, IN_C.target, same(apart, SAME))
    took = [1e9 / rate / (IN_C.cores - 1) for rate in rates]
    goal = f"goal at most {GOAL_NS:g} ns: {'met' if took[0] <= GOAL_NS else 'NOT met'}"
    print(f"    {took[0]:.1f} ns a target, in C {took[1]:.1f} ns; {goal}", flush=True)
    yield f"ns a target, {IN_C.cores} CPUs", took[0]


def over_simpy(quick: bool, rounds: int) -> Iterator[tuple[str, float]]:
    """The compiled engine over SimPy, whose single lane has the draws of replica 0."""
    flushes = 16 if quick else SIMPY.events
    lanes = Lanes(SIMPY, alike=True)
    engine, machine, warmup = lanes.engine("compiled"), lanes.simpy(), SIMPY.warmup
    machine.simulate(warmup)
    engine(warmup)
    waits: list[np.ndarray] = []

    def note() -> None:
        waits.append(engine(flushes)[0])

    took, simpy_s = in_turn([note, lambda: machine.simulate(len(machine.waits) + flushes)], rounds)
    truth = float(np.mean(machine.waits[warmup:]))
    mean = np.mean([each[:, 0] for each in waits])  # of the lane with SimPy's draws
    apart = abs(float(mean) / truth - 1.0)
    judged = f"mean wait {apart:.1%} apart" + (", NOT the same" if apart > NEAR else "")
    rates = [SIMPY.lanes * flushes / took, flushes / simpy_s]
    what = f"compiled / SimPy, {SIMPY.name}"
    yield f"compiled over SimPy, {SIMPY.cores} CPUs", report(what, rates, SIMPY.target, judged)


def hand_over(quick: bool, rounds: int) -> Iterator[tuple[str, float]]:
    """Microseconds of a call that passes a lane to its loop, without any work."""
    calls, nothing = 100 if quick else 10_000, np.empty(0)
    for policy in ("xpfo", "xpfo_deferred", "xpfo_deferred_test_first"):
        machine = Lanes(Size("xeon_8160", 96, 60, 4, 0, 0), policy=policy).machine("compiled")
        lane, loop = machine._lanes[0], machine._loop
        (took,) = in_turn([lambda: [loop(lane, nothing, nothing, no_counts(1), 0) for _ in range(calls)]], rounds)  # noqa: B023
        print(f"passing a lane of {policy} to its loop: {took / calls * 1e6:.1f} us", flush=True)
        yield f"us to hand over a lane, {policy}", took / calls * 1e6


COMPILES = """
import sys, time
from benchmarks.engine import Lanes, Size
import numba
lanes = Lanes(Size("i5_3550", 4, 4, 4, 0, 0), policy=sys.argv[1])
begun = time.perf_counter()
lanes.machine("compiled")
print(time.perf_counter() - begun)
"""


def compile_times(quick: bool, rounds: int) -> Iterator[tuple[str, float]]:
    """Seconds until a loop can run: compiled, and loaded by the next process. Importing numba is outside."""
    for policy in ("xpfo_deferred",) if quick else ("xpfo", "xpfo_deferred", "xpfo_deferred_test_first"):
        with tempfile.TemporaryDirectory() as folder:
            for state in ("cold", "warm"):
                found = subprocess.run(
                    [sys.executable, "-c", COMPILES, policy],
                    env=os.environ | {"XDG_CACHE_HOME": folder},
                    check=True,
                    capture_output=True,
                    text=True,
                )
                took = float(found.stdout)
                did = "compiled" if state == "cold" else "loaded from the cache"
                print(f"loop of {policy} {did} in {took:.2f} s", flush=True)
                yield f"{policy}: s to compile, {state}", took


def ratios(quick: bool = False) -> dict[str, float]:
    """Measure and print; return ratios of flush events a second, by name, and plain times."""
    if not has_compiler():
        raise ModuleNotFoundError("numba is not installed: there are no compiled loops to measure")
    rounds = 3 if quick else 7
    out: dict[str, float] = {}
    print(f"{'flush events a second':60s}{'first':>11s}{'second':>11s}{'ratio':>9s}")
    for part in (over_vectorized, over_c, over_simpy, hand_over, compile_times):
        try:
            out.update(part(quick, rounds))
        except ModuleNotFoundError as error:  # gcc, or an extra
            print(f"left out: {error}")
    return out


def main() -> None:
    ratios(quick="--quick" in sys.argv[1:])


if __name__ == "__main__":
    main()
