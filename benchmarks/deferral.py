"""How long does the engine take for a deferred flush, by CPUs? `python -m benchmarks.deferral [--quick]`.

`xpfo_deferred` makes one mark on one line for any number of CPUs; `xpfo_deferred_percpu` reads a flag per CPU. Both
sides have the same lanes, events and draws, and all numbers of CPUs are timed alternately, several times.
"""

import sys
import time
from functools import cache
from typing import Any

import numpy as np

from benchmarks import plans
from sim import simulate, simulation

CPUS = (4, 16, 64, 256, 1024)
POLICIES = ("xpfo_deferred", "xpfo_deferred_percpu")
LANES = 32  # of one group, which fit into memory with 1024 CPUs
STEPS = 50  # of a round
TARGET = 2.0  # 1024 CPUs over 4, which differ only in memory used


class Captured(Exception):
    """The machine inside a call of `simulate`, before it runs."""


def serve(machine: Any, posts: int) -> None:
    """Make this many marks in every lane."""
    waits = np.empty((posts, machine.lanes))
    machine.serve(waits, np.empty_like(waits))


def machine(policy: str, cpus: int) -> Any:
    """The machine that makes the marks, after a warm-up of every CPU."""

    def capture(machine: Any, *_: Any) -> None:
        raise Captured(machine)

    run, simulation.run_lanes = simulation.run_lanes, capture
    content = {"cores": cpus, "jobs": cpus, "sockets": min(4, cpus // 4), "threads_per_core": 1, "precision": 0.0}
    plan = plans.of(content, machine="xeon_8160", policy=policy, window_events=1024)
    try:
        simulate(replicas=LANES, seed=0, **plans.parameters(plan, 0))
    except Captured as caught:
        made = caught.args[0]
    finally:
        simulation.run_lanes = run
    serve(made, 2 * cpus)
    return made


@cache
def measure(quick: bool = False) -> dict[tuple[str, int], float]:
    """Microseconds per mark of one lane, by policy and CPUs.

    The best of many short alternating rounds, since other processes may use the machine. Drawing more numbers becomes
    rare, and is in none of the best rounds.
    """
    machines = {(policy, cpus): machine(policy, cpus) for policy in POLICIES for cpus in CPUS}
    best = dict.fromkeys(machines, float("inf"))
    for _ in range(20 if quick else 100):
        for key, each in machines.items():
            begun = time.perf_counter()
            serve(each, STEPS)
            best[key] = min(best[key], time.perf_counter() - begun)
    return {key: 1e6 * took / STEPS / LANES for key, took in best.items()}


def ratios(quick: bool = True) -> dict[str, float]:
    """Time per mark with 1024 CPUs over that with 4, by policy, and the microseconds themselves."""
    took = measure(quick)
    out = {
        f"{policy}: {CPUS[-1]} over {CPUS[0]} CPUs": took[policy, CPUS[-1]] / took[policy, CPUS[0]]
        for policy in POLICIES
    }
    return out | {f"{policy}: us a post, {cpus} CPUs": took[policy, cpus] for policy, cpus in took}


def main() -> None:
    quick = "--quick" in sys.argv
    took = measure(quick)
    print(f"us a mark, {LANES} lanes side by side\n\n CPUs " + " ".join(f"{p:>22}" for p in POLICIES))
    for cpus in CPUS:
        print(f"{cpus:5d} " + " ".join(f"{took[policy, cpus]:22.2f}" for policy in POLICIES))
    grown = took["xpfo_deferred", CPUS[-1]] / took["xpfo_deferred", CPUS[0]]
    met = "met" if grown <= TARGET else "missed"
    print(
        f"\nratio: {grown:.2f}\n"
        f"A mark takes {grown:.2f} times as long with {CPUS[-1]} CPUs as with {CPUS[0]}; "
        f"the target, at most {TARGET} times, is {met}."
    )


if __name__ == "__main__":
    main()
