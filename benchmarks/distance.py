"""The difference of numpy's approximation of broadcasts from a simulation of every request.

    python -m benchmarks.distance [--quick]

The design: the patch's two machines at their own load; a Halton design over cores (4 to 256, by equal ratios), jobs,
sockets, APIC modes, threads and load, from a tenth to a hundred times the compute that saturates the machine; and
closed loops with little compute between flush events, up to 256 senders. Costs are the central ones of xeon_8160. Both
engines use the same draws.
"""

import sys
from typing import Any

import numpy as np

from sim import PARAMETERS, simulate
from sweep.inputs.catalog import catalog, quantities_of
from sweep.inputs.conf import conf_dir

METRICS = ("flush_wait_ns", "flush_interval_ns", "interrupts_per_flush")
LOOPS = (2, 4, 8, 16, 28, 55, 104, 160, 256)  # senders of a closed loop
Cases = dict[str, dict[str, Any]]


def known(machine: str) -> dict[str, Any]:
    """Central parameters of the kernel build on a machine."""
    entries = catalog([conf_dir()])
    quantities = quantities_of(entries["machine"][machine], entries["workload"]["kernel_build"])
    values = {name: quantity.central for name, quantity in quantities.items()}
    values["alloc_events"] = values["kunmap_events"] * values["alloc_per_kunmap"]
    values["user_s"] *= values.get("user_s_over_xeon", 1.0)
    return {name: value for name, value in values.items() if name in PARAMETERS}


def patch() -> Cases:
    """The patch's own two configurations."""
    return {
        "xeon_8160 96/60": known("xeon_8160") | {"jobs": 60},
        "i5_3550 4/4": known("i5_3550") | {"jobs": 4},
    }


def design(cases: int) -> Cases:
    """Machines of other sizes and loads (a Halton sequence, which needs no library)."""
    base, out = known("xeon_8160"), {}
    for number in range(1, cases + 1):
        size, socket, job, mode, load = (_radical_inverse(number, prime) for prime in (2, 3, 5, 7, 11))
        cores = max(4, int(4 * 64**size) // 4 * 4)
        sockets, apic = (1, 2, 4)[int(3 * socket)], ("auto", "cluster", "physical", "auto")[int(4 * mode)]
        jobs, threads = max(1, int(cores * (0.25 + 0.75 * job))), 2 if socket > 0.3 and cores // 2 % sockets == 0 else 1
        think_ns = (cores - 1) * 700.0 * 10 ** (3 * load - 1)  # 700 ns: one request's work in a handler
        shape = {"cores": cores, "jobs": jobs, "sockets": sockets, "apic": apic, "threads_per_core": threads}
        out[f"{cores}/{jobs} {sockets}s {apic} x{10 ** (3 * load - 1):.2g}"] = base | shape | {"think_ns": think_ns}
    return out


def _radical_inverse(number: int, base: int) -> float:
    out, scale = 0.0, 1.0 / base
    while number:
        number, digit = divmod(number, base)
        out += digit * scale
        scale /= base
    return out


def closed_loops(most: int) -> Cases:
    """Loops with hardly any compute between flush events, in which every CPU sends."""
    base = known("xeon_8160") | {"think_ns": 300.0}
    return {f"loop of {n}": base | {"cores": 4 * -(-n // 4), "jobs": n} for n in LOOPS if n <= most}


def distance(case: dict[str, Any], window: int) -> list[float]:
    """The approximation over every request simulated, minus one, by metric."""
    controls = {"window_events": window, "warmup_events": 16 * case["cores"], "replicas": 4}
    found = [simulate(policy="xpfo", engine=each, **case | controls) for each in ("vectorized", "compiled")]
    return [float(found[0][name].mean() / found[1][name].mean() - 1.0) for name in METRICS]


def main(arguments: list[str]) -> None:
    """Measure the design and print it."""
    quick = "--quick" in arguments
    print(f"{'configuration':36s}" + "".join(f"{name:>22s}" for name in METRICS))
    for title, cases in (
        ("patch", patch()), ("design", design(4 if quick else 32)), ("closed loops", closed_loops(8 if quick else 256)),
    ):  # fmt: skip
        found = []
        for name, case in cases.items():
            found.append(distance(case, 64 if quick else 2048))
            print(f"{name:36s}" + "".join(f"{100 * each:+21.1f}%" for each in found[-1]), flush=True)
        for at, name in enumerate(METRICS):
            median, high, worst = np.quantile(np.abs(found)[:, at], [0.5, 0.9, 1.0])
            print(f"{title}, {name}: median {median:.1%}, 90th percentile {high:.1%}, worst {worst:.1%}")


if __name__ == "__main__":
    main(sys.argv[1:])
