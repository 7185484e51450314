"""A simulation of a host's TLB flushes: its counted load, on a similar machine, under every suitable policy."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sweep.errors import BadInput, did_you_mean
from sweep.inputs.catalog import Entry, catalog
from sweep.measure.family import known_core, relatives
from sweep.measure.flushes import Counted, Load
from sweep.measure.simulate import SHOOTDOWNS
from sweep.measure.topology import DISTANCES, MOST_CPUS, Topology
from sweep.plan.composition import read_config
from sweep.run.notebook import simulate

GROWTH = 4  # factor of CPUs that is also simulated
WORKLOAD = "kernel_ranges"  # flushes at a rate
HARDWARE = "xpfo_broadcast"
REQUESTS = 2.5e6  # simulated for one size and load, roughly: a second or two
OF_ALL = ["overhead_share", "handler_share"]  # shares of the time of all busy CPUs
EVENTS, DRAWS = (512, 4096), (8, 32)  # the fewest and the most of flush events and cost samples


class Host(NamedTuple):
    """The machine of the catalogue for a host, and the host's own parameters."""

    entry: Entry
    keys: Mapping[str, Any]
    why: str


def machine_of(counted: Counted, cpus: int, given: str | None, folders: Sequence[Path]) -> Host:
    """The given machine, else the nearest with the host's core, else the default; with as many CPUs as the host."""
    known = catalog(folders)["machine"]
    if given is not None and given not in known:
        raise BadInput(f"--machine={given!r}: no such machine{did_you_mean(given, known)}")
    host, kin = counted.host, list[Entry]()
    core = known_core(host) if host is not None and given is None else None
    if host is not None and core is not None:
        host, kin = relatives(host, core)
        name, why = kin[0].name, f"the nearest with the cores of {host.name or core}"
    else:
        name = given or str(read_config(folders)["machine"])
        why = "as given" if given else "the default, since no lscpu names the processor; --machine NAME gives another"
    entry = known[name]
    missing = {f"line_{each}_ns" for each in DISTANCES} - {*entry.quantities}
    lines = {
        name: float(quantity.central)  # of the nearest relative that has it
        for each in reversed(kin)
        for name, quantity in each.quantities.items()
        if name in missing
    }
    return Host(entry, _shape(entry, host, cpus) | lines, f"{name}, {why}")


def _shape(entry: Entry, host: Topology | None, cpus: int) -> dict[str, Any]:
    """Sockets and threads of the host, else the fewest sockets of the machine's size for this many CPUs."""
    if host is not None:
        return {name: getattr(host, name) for name in ("sockets", "threads_per_core", "cluster_cores")}
    shape = ("cores", "sockets", "threads_per_core")
    cores, most, threads = (int(entry.quantities[name].central) if name in entry.quantities else 1 for name in shape)
    sockets = min(most, math.ceil(cpus / (cores // most)))
    sockets = sockets if cpus % sockets == 0 else 1
    return {"sockets": sockets, "threads_per_core": threads if cpus // sockets % threads == 0 else 1}


def policies_for(machine: Host) -> list[str]:
    """The kernels' own policies, and the hardware's where the machine has its costs."""
    return [*SHOOTDOWNS, *([HARDWARE] if "broadcast_ns" in machine.entry.quantities else [])]


def simulated(
    counted: Counted, loads: Sequence[Load], machine: Host, cpus: int, busy: int, config_dir: str | None
) -> pd.DataFrame:
    """Rows of every load and size, by `load` and `times`.

    A load has equal processes, each on one CPU more than its flush events notify. With more CPUs the same number of
    processes has more threads, which flush as often. If few CPUs send, a process has at least one sender, and the other
    busy CPUs lose no time.
    """
    parts = []
    named = policies_for(machine)
    for times in (1, *([GROWTH] if GROWTH * cpus <= MOST_CPUS else [])):
        for at, load in enumerate(loads):
            group = min(busy, max(1, round(load.targets)) + 1)
            senders = counted.senders or busy
            mine = min(group, math.ceil(senders * group / busy))
            targets = group * times - 1
            events = REQUESTS / (len(named) * targets)
            draws = min(max(int(events / EVENTS[0]), DRAWS[0]), DRAWS[1])
            window = int(min(max(events / draws, EVENTS[0]), EVENTS[1]))
            keys = {
                "machine": machine.entry.name, "workload": WORKLOAD, "policy": named,
                "cores": cpus * times, "jobs": group * times, "senders": mine * times,
                "rate_per_s": load.events_per_s * times * mine / senders, "range_pages": counted.pages or {1: 1},
                **machine.keys, "draws": draws, "window_events": window, "warmup_events": min(2 * targets + 32, window),
                "precision": 0, "replicas": 1,
            }  # fmt: skip
            try:
                rows = simulate(keys, config_dir)
            except ValueError as error:
                raise BadInput(f"{times * cpus} CPUs: {error}") from None
            rows[OF_ALL] *= senders * group / (mine * busy)  # the share of busy CPUs in processes with senders
            parts.append(rows.assign(load=at, times=times))
    return pd.concat(parts, ignore_index=True)
