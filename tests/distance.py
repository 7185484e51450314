"""How far the engine's rule is from what really happens: `python -m tests.distance` measures and prints it.

The design: the patch's two machines at their own load, and a Sobol design over cores (4 to 256, by equal ratios), jobs,
sockets, APIC modes, threads and load, from a tenth to a hundred times the compute that saturates the machine. Costs are
the central ones of xeon_8160. Both sides use the same draws.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim import PARAMETERS, simulate
from sim.draws import stream
from sweep.inputs.catalog import catalog, quantities_of
from sweep.inputs.conf import conf_dir
from tests import fine

METRICS = ("flush_wait_ns", "flush_interval_ns", "interrupts_per_flush")
WINDOW = 2048


@dataclass(frozen=True)
class Case:
    """One configuration of the design."""

    name: str
    parameters: dict[str, Any]


def known(machine: str) -> dict[str, Any]:
    """Central parameters of the kernel build on a machine."""
    entries = catalog([conf_dir()])
    quantities = quantities_of(entries["machine"][machine], entries["workload"]["kernel_build"])
    values = {name: quantity.central for name, quantity in quantities.items()}
    values["alloc_events"] = values["kunmap_events"] * values["alloc_per_kunmap"]
    values["user_s"] *= values.get("user_s_over_xeon", 1.0)
    return {name: value for name, value in values.items() if name in PARAMETERS}


def patch() -> list[Case]:
    """The patch's own two configurations."""
    return [
        Case("xeon_8160 96/60", known("xeon_8160") | {"jobs": 60}),
        Case("i5_3550 4/4", known("i5_3550") | {"jobs": 4}),
    ]


def design(cases: int = 46) -> list[Case]:
    """Configurations spread over sizes and loads (a Halton sequence: no library needed to repeat it)."""
    base = known("xeon_8160")
    out = []
    for number in range(1, cases + 1):
        size, socket, job, mode, load = (_radical_inverse(number, prime) for prime in (2, 3, 5, 7, 11))
        cores = max(4, int(4 * 64**size) // 4 * 4)
        sockets, apic = (1, 2, 4)[int(3 * socket)], ("auto", "cluster", "physical", "auto")[int(4 * mode)]
        jobs = max(1, int(cores * (0.25 + 0.75 * job)))
        threads = 2 if socket > 0.3 else 1
        think_ns = (cores - 1) * 700.0 * 10 ** (3 * load - 1)  # 700 ns: one request's work in a handler
        name = f"{cores}/{jobs} {sockets}s {apic} x{10 ** (3 * load - 1):.2g}"
        shape = {"cores": cores, "jobs": jobs, "sockets": sockets, "apic": apic, "threads_per_core": threads}
        out.append(Case(name, base | shape | {"think_ns": think_ns}))
    return out


def _radical_inverse(number: int, base: int) -> float:
    out, scale = 0.0, 1.0 / base
    while number:
        number, digit = divmod(number, base)
        out += digit * scale
        scale /= base
    return out


def by_fine(p: dict[str, Any], replica: int = 0) -> dict[str, Any]:
    """The fine simulation of a configuration."""
    events = p["kunmap_events"] + p["alloc_events"]
    think = p.get("think_ns") or (p["user_s"] + p["base_system_s"]) / events * 1e9
    return fine.broadcast(
        p, cores=p["cores"], sockets=p["sockets"], jobs=p["jobs"], apic=p["apic"], think_ns=think,
        alloc_share=p["alloc_events"] / events, range_pages=list(p["range_pages"]), ceiling=p["ceiling"],
        threads_per_core=p["threads_per_core"], draw=draws(replica), events=WINDOW, warmup_events=16 * p["cores"],
    )  # fmt: skip


def draws(replica: int, seed: int = 0) -> Callable[[int, int], tuple[float, float, float]]:
    """The engine's own draws, one by one."""
    tapes: dict[int, Iterator[tuple[float, float, float]]] = {}

    def tape(cpu: int) -> Iterator[tuple[float, float, float]]:
        compute, kind, pages = (stream(seed, replica, cpu, purpose) for purpose in range(3))
        while True:
            block = compute.standard_exponential(256), kind.random(256), pages.random(256)
            yield from zip(*(part.tolist() for part in block), strict=True)

    def draw(cpu: int, _: int) -> tuple[float, float, float]:
        if cpu not in tapes:
            tapes[cpu] = tape(cpu)
        return next(tapes[cpu])

    return draw


def distance(case: Case) -> dict[str, float]:
    """Engine over fine simulation minus one, by metric."""
    truth = by_fine(case.parameters)
    controls = {"window_events": WINDOW, "warmup_events": 16 * case.parameters["cores"], "replicas": 4}
    found = simulate(policy="xpfo", **case.parameters | controls)
    return {name: float(found[name].mean() / truth[name] - 1.0) if truth[name] else 0.0 for name in METRICS}


def main() -> int:
    """Measure the whole design and print it; exit 1 where a bound is not held."""
    print(f"{'configuration':32s}" + "".join(f"{name:>24s}" for name in METRICS))
    found = []
    for case in [*patch(), *design()]:
        each = distance(case)
        found.append([each[name] for name in METRICS])
        print(f"{case.name:32s}" + "".join(f"{100 * each[name]:+23.1f}%" for name in METRICS), flush=True)
    off = np.abs(found)
    held = True
    for at, name in enumerate(METRICS):
        median, high, worst = np.quantile(off[:, at], [0.5, 0.9, 1.0])
        own = off[:2, at].max()
        held &= median <= 0.05 and high <= 0.20 and own <= 0.20
        print(f"{name}: median {median:.1%}, 90th percentile {high:.1%}, worst {worst:.1%}, patch's own {own:.1%}")
    verdict = "within" if held else "NOT within"
    print(f"{len(off)} configurations: {verdict} 5 % (median), 20 % (90th percentile), 20 % (patch's own)")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
