"""How many flush events a second does the engine serve, against a compiled loop and against SimPy?

    python -m benchmarks.engine [--quick]

Compares, on one thread and in one process: the engine (`sim/machine/vectorized/broadcast.py`, numpy, all lanes at
once), the same rule as a compiled scalar loop (`benchmarks/compiled.py`, numba, lane after lane), and the fine
simulation as one writes it in SimPy (`benchmarks/usual.py`). Policy xpfo, central costs of conf/machine, the kernel
build's flush events; 4 replicas of points that differ in `refill_ns`.

All sides are warmed up alike, then serve the same number of flush events in turn, several times over; the best CPU time
of each side counts. Timed is the stepping alone, with what it notes down of every event. Compilation, construction and
warm-up are outside, and so are the draws: the loop has them in a table from the start, the engine's table grows by
doubling, in some rounds only, so never in the best one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import compiled, usual
from sim import simulate
from sim.abi import Build, every_event
from sim.arrays import fit_buffer
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.vectorized.broadcast import Broadcast
from sim.policies import xpfo
from tests.distance import draws, known

REPLICAS = 4
SAME = 1e-9  # relative
NEAR = 0.3  # relative: the engine's rule against what really happens
SIMPY_TARGET = 300.0


@dataclass(frozen=True)
class Size:
    """One configuration to measure."""

    machine: str
    cores: int
    jobs: int
    lanes: int
    warmup: int  # flush events of each lane
    events: int  # flush events of each lane in a round
    target: float = 0.0  # engine over compiled loop

    @property
    def name(self) -> str:
        return f"{self.cores} CPUs, {self.jobs} jobs, {self.lanes} lanes"


SIZES = (
    Size("i5_3550", 4, 4, 8192, 128, 64, 0.7),
    Size("xeon_8160", 96, 60, 1024, 256, 96, 0.9),
    Size("xeon_8160", 1024, 640, 128, 640, 24, 0.7),
)
SIMPY = Size("xeon_8160", 96, 60, 1024, 1536, 96)


class Lanes:
    """The points of a size, ready for both sides."""

    def __init__(self, size: Size, alike: bool = False) -> None:
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
        self.events = every_event(Build(kunmap, alloc, tuple(weights), shares + zero, zero, zero, zero))
        self.think_ns = (self.cost["user_s"] + self.cost["base_system_s"]) / self.events.total * 1e9
        self.cost["think_ns"] = self.think_ns
        busy = min(size.jobs, size.cores)
        self.shape = Shape(size.cores, p["sockets"], busy, busy, p["threads_per_core"], p["apic"], seed=0)

    def engine(self) -> Callable[[int], dict[str, np.ndarray]]:
        """advance(flush events): the engine's means over the next so many, [lane]."""
        flush = xpfo.flush()
        source = FlushEvents(self.shape, self.cost, self.events, flush, self.replica)
        machine = Broadcast(self.shape, self.cost, flush, source, len(self.replica))

        def advance(events: int) -> dict[str, np.ndarray]:
            machine.reset()
            begin = machine.served.now
            waits, windows = np.empty((events, machine.lanes)), np.empty((events, machine.lanes))
            with np.errstate():
                fit_buffer(machine.lanes)
                for row in range(events):
                    machine.step()
                    waits[row], windows[row] = machine.served.wait_ns, machine.served.window_ns
            mean = {"wait_ns": waits.mean(axis=0), "window_ns": windows.mean(axis=0)}
            sums = {name: getattr(machine.counts, name) / events for name in ("interrupts", "handler_ns", "refills")}
            return mean | sums | {"interval_ns": (machine.served.now - begin) / events}

        return advance

    def loop(self, draws_ahead: int) -> Callable[[int], dict[str, np.ndarray]]:
        """The same of the compiled loop, compiled."""
        compiled.Machine(self.shape, self.cost, self.events, self.replica, 2).advance(1)
        return compiled.Machine(self.shape, self.cost, self.events, self.replica, draws_ahead).advance

    def simpy(self) -> usual.Machine:
        """One lane in SimPy, from the draws of replica 0."""
        alloc_share = float(self.events.alloc_total[0] / self.events.total[0])
        return usual.Machine(self.parameters, float(self.think_ns[0]), alloc_share, draws(0))


def in_turn(sides: list[Callable[[], object]], rounds: int) -> list[float]:
    """The best time of each side, in s of CPU time: others may use the machine too."""
    best = [np.inf] * len(sides)
    for _ in range(rounds):
        for at, side in enumerate(sides):
            begun = time.thread_time()
            side()
            best[at] = min(best[at], time.thread_time() - begun)
    return best


def off(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest relative difference."""
    return float(np.max(np.abs(found - expected) / np.maximum(np.abs(expected), 1e-300)))


def against_the_loop(size: Size, rounds: int) -> tuple[float, float, float]:
    """Flush events a second of engine and compiled loop, and the largest relative difference of their results."""
    lanes = Lanes(size)
    most = size.warmup + rounds * size.events + 2  # of one CPU: all of them, in the extreme
    advance = [lanes.engine(), lanes.loop(most)]
    means: list[list[dict[str, np.ndarray]]] = [[], []]

    def note(side: int) -> None:
        means[side].append(advance[side](size.events))

    for side in advance:
        side(size.warmup)
    times = in_turn([lambda: note(0), lambda: note(1)], rounds)
    served = size.lanes * size.events
    apart = max(off(loop[name], mean[name]) for mean, loop in zip(*means, strict=True) for name in mean)
    return served / times[0], served / times[1], apart


def through_simulate(size: Size) -> float:
    """The largest relative difference of the loop's results from `sim.simulate`."""
    lanes = Lanes(size)
    window = {"warmup_events": size.warmup, "window_events": size.events, "replicas": REPLICAS, "precision": 0.0}
    found = simulate(policy="xpfo", **lanes.parameters | window)
    advance = lanes.loop(size.warmup + size.events + 2)
    advance(size.warmup)
    loop = advance(size.events)
    names = {"flush_wait_ns": "wait_ns", "flush_interval_ns": "interval_ns", "interrupts_per_flush": "interrupts"}
    return max(off(loop[ours], found[name].reshape(-1)) for name, ours in names.items())


def against_simpy(size: Size, rounds: int, flushes: int) -> tuple[float, float, float]:
    """Flush events a second of engine and SimPy, and the largest relative difference of wait and interval."""
    lanes = Lanes(size, alike=True)
    advance, machine = lanes.engine(), lanes.simpy()
    advance(size.warmup)
    machine.simulate(size.warmup)
    begin_ns = machine.env.now
    means = []
    times = in_turn(
        [lambda: means.append(advance(size.events)), lambda: machine.simulate(len(machine.waits) + flushes)], rounds
    )
    waits = machine.waits[size.warmup :]
    truth = {"wait_ns": np.mean(waits), "interval_ns": (machine.env.now - begin_ns) / len(waits)}
    apart = max(abs(np.mean([mean[name] for mean in means]) / value - 1.0) for name, value in truth.items())
    return size.lanes * size.events / times[0], flushes / times[1], float(apart)


def sentence(what: str, ratio: float, target: float, goal: str = "") -> str:
    verdict = "met" if ratio >= target else "NOT met"
    return f"{what} {ratio:.3g} of the flush events a second; target {target:g}{goal}: {verdict}."


def ratios(quick: bool = False) -> dict[str, float]:
    """Measure and print; engine over each other side in flush events a second, by name."""
    rounds = 3 if quick else 7
    out = {}
    print(f"{'flush events per second':34s}{'engine':>12s}{'other side':>12s}{'ratio':>8s}{'apart':>10s}")
    for size in SIZES[:2] if quick else SIZES:
        engine, loop, apart = against_the_loop(size, rounds)
        out[f"compiled_{size.cores}"] = engine / loop
        print(f"{size.name:34s}{engine:12.0f}{loop:12.0f}{engine / loop:8.3f}{apart:10.1e}", flush=True)
        print(
            f"At {size.cores} CPUs the results are {'the same' if apart <= SAME else 'NOT THE SAME'}, and "
            + sentence("the engine serves, for one of the compiled loop,", engine / loop, size.target, ", goal 1.0"),
            flush=True,
        )
    apart = through_simulate(Size("xeon_8160", 96, 60, 8, 64, 256))
    print(f"`sim.simulate` and the compiled loop: {'the same' if apart <= SAME else 'NOT THE SAME'} ({apart:.1e}).\n")
    engine, other, apart = against_simpy(SIMPY, rounds, 64 if quick else 256)
    out[f"simpy_{SIMPY.cores}"] = engine / other
    print(f"{SIMPY.name + ', SimPy':34s}{engine:12.0f}{other:12.0f}{engine / other:8.0f}{apart:10.1e}")
    print(
        f"At {SIMPY.cores} CPUs wait and interval are {'within' if apart <= NEAR else 'NOT within'} {NEAR:.0%}, and "
        + sentence("the engine serves, for one of SimPy,", engine / other, SIMPY_TARGET)
    )
    return out


def main() -> None:
    ratios(quick="--quick" in sys.argv[1:])


if __name__ == "__main__":
    main()
