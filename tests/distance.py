"""How far the coarse rule is from what really happens: `python -m tests.distance` measures and prints it.

The design: the patch's two machines at their own load; a Halton design over cores (4 to 256, by equal ratios), jobs,
sockets, APIC modes, threads and load, from a tenth to a hundred times the compute that saturates the machine, under
every policy that interrupts; and closed loops with little compute between flush events, up to 256 senders. Costs are
the central ones of xeon_8160. Both rules use the same draws.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim import PARAMETERS, simulate
from sim.policies import policy_module, policy_names
from sweep.inputs.catalog import catalog, quantities_of
from sweep.inputs.conf import conf_dir

METRICS = ("flush_wait_ns", "flush_interval_ns", "interrupts_per_flush")
WINDOW = 2048
REPLICAS = 4
LOOPS = (2, 4, 8, 16, 28, 55, 104, 160, 256)  # senders of a closed loop


@dataclass(frozen=True)
class Case:
    """One configuration of the design."""

    name: str
    parameters: dict[str, Any]
    policy: str = "xpfo"


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


def interrupting() -> list[str]:
    """Every policy whose flush events interrupt."""
    return [name for name in policy_names() if policy_module(name).flush().tell.interrupts]


def all_policies(cases: int = 6) -> list[Case]:
    """Every other policy that interrupts, at some of the design's configurations."""
    others = [name for name in interrupting() if name != "xpfo"]
    return [
        Case(f"{policy} {case.name}", case.parameters, policy) for policy in others for case in design(2 * cases)[::2]
    ]


def closed_loops() -> list[Case]:
    """Shootdown loops with hardly any compute between flush events, every CPU a sender."""
    base = known("xeon_8160")
    return [
        Case(
            f"{policy} loop of {senders}",
            base | {"cores": 2 * -(-senders // 2), "jobs": senders, "think_ns": 300.0},
            policy,
        )
        for policy in ("mm_shootdown", "mm_shootdown_concurrent", "xpfo")
        for senders in LOOPS
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


def distance(case: Case) -> dict[str, float]:
    """Coarse over exact minus one, by metric."""
    controls = {"window_events": WINDOW, "warmup_events": 16 * case.parameters["cores"], "replicas": REPLICAS}
    exact, coarse = (
        simulate(policy=case.policy, **case.parameters | controls | {"rule": rule, "engine": "compiled"})
        for rule in ("exact", "coarse")
    )
    return {
        name: float(coarse[name].mean() / exact[name].mean() - 1.0) if exact[name].any() else 0.0 for name in METRICS
    }


def main() -> int:
    """Measure the whole design and print it; exit 1 where a bound is not held."""
    print(f"{'configuration':48s}" + "".join(f"{name:>22s}" for name in METRICS))
    held = True
    for title, cases in (("xpfo", [*patch(), *design()]), ("policies", all_policies()), ("loops", closed_loops())):
        found = []
        for case in cases:
            each = distance(case)
            found.append([each[name] for name in METRICS])
            print(f"{case.name:48s}" + "".join(f"{100 * each[name]:+21.1f}%" for name in METRICS), flush=True)
        off = np.abs(found)
        for at, name in enumerate(METRICS):
            median, high, worst = np.quantile(off[:, at], [0.5, 0.9, 1.0])
            print(f"{title}, {name}: median {median:.1%}, 90th percentile {high:.1%}, worst {worst:.1%}")
            held &= title != "xpfo" or (median <= 0.05 and high <= 0.20 and off[:2, at].max() <= 0.20)
    print(f"xpfo: {'within' if held else 'NOT within'} 5 % (median), 20 % (90th percentile), 20 % (patch's own)")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
