"""Measured beside simulated: the table, and the machine's files for `sweep --config-dir`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sim.parameters import PARAMETERS
from sweep.errors import Unmeasurable
from sweep.inputs.catalog import Quantity
from sweep.inputs.costs import Costs
from sweep.inputs.home import write_own
from sweep.inputs.measured import FITTED_HERE
from sweep.inputs.written_costs import files
from sweep.measure.experiment import FitSettings
from sweep.measure.family import rounded, yaml_text
from sweep.measure.fit import NO_LINES, Fitted, fit
from sweep.measure.machine import Facts
from sweep.measure.simulate import CROSS, OF_GUEST
from sweep.measure.topology import Latencies
from sweep.tables.text import as_text
from sweep.tables.words import duration, enumerated

GRID = """\
# What would XPFO have cost on this machine?
replicas: 8
policy: [vanilla, xpfo_no_flush, xpfo, xpfo_deferred]
machine: this_machine
costs: this_machine
jobs: 1 x cores
"""
BROADCAST_PARTS = {  # parts of a broadcast, each a sum of costs
    "sending takes": ("ipi_send_ns", "exit_ns", "enqueue_fixed_ns"),
    "delivery": ("ipi_latency_ns", "deliver_ns"),
    "entering and leaving the handler": ("irq_entry_ns", "irq_exit_ns", "receive_exit_ns"),
    "the handler itself": ("handler_fixed_ns",),
}
THIS = "this_machine"  # the name of its files


def fit_and_write(
    measured: pd.DataFrame, settings: FitSettings, machine: Facts, own: Path, lines: Latencies = NO_LINES
) -> Fitted:
    """Fit half of the measurements, predict the rest, write and print everything but the picture."""
    if not machine.kernel.endswith("x86_64"):
        raise Unmeasurable(f"{machine.kernel}: only x86-64 flushes by interrupt; no fit, only measured.csv")
    fitted = fit(measured, settings, machine, lines)
    write_own(own / "measure" / "measured_vs_simulated.csv", fitted.table.to_csv(index=False))
    prior = {**settings.prior_of(machine).quantities, **lines}
    costs = joint_costs(fitted, prior, machine)
    known = {key: prior[key.partition("/")[2]] for key in costs.keys}
    for suffix, written in files(costs, known, "Costs measured by `sweep measure`, which vary together").items():
        write_own(own / "costs" / f"{THIS}.{suffix}", written)
    write_own(own / "machine" / f"{THIS}.yaml", machine_file(fitted, prior, machine, lines))
    write_own(own / "grid" / f"{THIS}.yaml", GRID)
    print(one_broadcast(fitted, prior), end="\n\n")
    columns = "call callers spinners think_ns pages used measured_p50_ns simulated_p50_ns error_pct".split()
    print(as_text(fitted.table[columns].rename(columns={"simulated_p50_ns": "simulated"}), rows=len(fitted.table)))
    for line in [*verdict(fitted, settings.tolerance), *of_guest(fitted)]:
        print(line)
    return fitted


def joint_costs(fitted: Fitted, prior: Mapping[str, Quantity], machine: Facts) -> Costs:
    """Joint draws of the fitted costs, and the values of fixed ones: each draw reproduces the curves."""
    values = np.vstack([[cost.central for cost in fitted.costs.values()], fitted.draws])
    drawn = dict(zip(fitted.costs, values.T, strict=True))
    drawn |= {name: np.full(len(values), value) for name, value in fitted.known.items()}
    drawn |= {name: drawn[near] for name, near in CROSS.items() if name not in drawn}
    uncertain = sorted(name for name in drawn if name in prior and prior[name].uncertain)
    by_key = {f"{'any' if PARAMETERS[name].of_kernel else THIS}/{name}": drawn[name] for name in uncertain}
    stamp = {
        "measured_on": THIS,
        "processor": machine.title,
        "residual": round(fitted.residual, 3),
        "draws": len(fitted.draws),
    }
    return Costs(THIS, tuple(by_key), np.stack(list(by_key.values()), axis=1), stamp)


def one_broadcast(fitted: Fitted, prior: Mapping[str, Quantity]) -> str:
    """The time of a broadcast to the fewest other CPUs, with its parts in the model."""
    calm = fitted.table[(fitted.table["call"] == "membarrier") & (fitted.table["callers"] == 1)]
    calm = calm[calm["spinners"] >= 1].sort_values(["spinners", "think_ns"], ascending=[True, False])
    if calm.empty:
        return "no broadcast by one caller to a busy CPU was measured"
    row = calm.iloc[0]
    known = {**prior, **fitted.costs}
    parts = {words: sum(known[n].central for n in names if n in known) for words, names in BROADCAST_PARTS.items()}
    said = [f"{words} {duration(ns)}" for words, ns in parts.items() if ns > 0]
    others = f"{row['spinners']:g} other CPU{'' if row['spinners'] == 1 else 's'}"
    return (
        f"One broadcast to {others} takes {duration(row['measured_p50_ns'])} here (membarrier, median), "
        f"{duration(row['simulated_p50_ns'])} simulated, of which {enumerated(said)}."
    )


def verdict(fitted: Fitted, tolerance: float) -> list[str]:
    """The accuracy of the prediction of points left out, and the points with large errors."""
    predicted = fitted.table[fitted.table["used"] == "predicted"]
    error = predicted["error_pct"].abs()
    far = predicted[predicted["within"] == "no"]
    if predicted.empty:
        return ["no point was left out of the fit: every curve has one point"]
    lines = [
        f"\n{len(predicted) - len(far)} of {len(predicted)} points left out of the fit are predicted within "
        f"{tolerance:.0%} (p50; median {error.median():.0f} %, worst {error.max():.0f} %)"
    ]
    lines += [
        f"  not: {row.call}, {row.callers} callers, {row.spinners} others, think {row.think_ns:.0f} ns, "
        f"{row.pages} pages: {row.error_pct:+.0f} %"
        for row in far.itertuples()
    ]
    if fitted.residual > 2.0:
        lines.append(
            f"residuals of the fitted half are {fitted.residual:.1f} times the stated noise and widen the intervals"
        )
    return lines


def of_guest(fitted: Fitted) -> list[str]:
    """The hypervisor's costs, and whether the measurement could separate them from others."""
    lines = []
    for name, cost in fitted.costs.items():
        said = "still its prior: the measurement shows only its sum with other costs of an interrupt"
        if cost.source == FITTED_HERE:
            said = f"{cost.central:.0f} ns, {cost.low:.0f} to {cost.high:.0f}"
        lines += [f"{name}: {said}"] if name in OF_GUEST else []
    return lines


def machine_file(fitted: Fitted, prior: Mapping[str, Quantity], machine: Facts, lines: Latencies) -> str:
    """machine/this_machine.yaml: measured lines, fitted costs, and priors of the others."""
    host = machine.host
    head = ["This machine, measured by `sweep measure`. Half of the measured p50s were fitted.", *machine.lines()]
    head += ["`fitted`: narrowed by the measurement. `prior`: from the literature for another machine."]
    virtual = f", under {machine.hypervisor}" if machine.hypervisor else ""
    tick_hz = {"central": machine.tick_hz, "unit": "Hz", "source": "kernel configuration"}
    known: dict[str, Any] = {
        "title": f"{machine.cpu_model}, {host.cpus} CPUs{virtual}",
        "cores": host.cpus, "sockets": host.sockets, "threads_per_core": host.threads_per_core,
        "apic": "auto",
        "cluster_cores": host.cluster_cores,
        "delivery": (machine.delivery or "apic") if machine.hypervisor else None,
        "accounting": machine.accounting,
        "tick_hz": tick_hz if machine.tick_hz else None,
        "clock_scale": {"central": 1.0, "unit": "factor", "source": "measured costs need none"},
    }  # fmt: skip
    known = {name: value for name, value in known.items() if value is not None}
    known |= {name: rounded(quantity) for name, quantity in lines.items()}
    for name, quantity in prior.items():
        near = CROSS.get(name, name)
        if name in known:
            continue
        if name in fitted.costs:
            known[name] = rounded(fitted.costs[name])
        elif near in fitted.costs:
            known[name] = rounded(fitted.costs[near]) | {"source": f"one socket: as {near}, never read"}
        else:
            known[name] = quantity.model_dump(exclude={"owner"}, exclude_defaults=True)
            known[name]["source"] = f"prior: {quantity.source}"
    return yaml_text(head, known)
