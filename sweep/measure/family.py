"""A machine file for another host: CPUs from its `lscpu`, costs from its family's core file."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sweep.errors import BadInput, did_you_mean
from sweep.inputs.catalog import CORE, Entry, Quantity, catalog
from sweep.inputs.conf import conf_dir
from sweep.inputs.reader import read_yaml
from sweep.measure.topology import DISTANCES, Latencies, Topology
from sweep.measure.workload import comment


def read_family() -> Any:
    """`conf/family.yaml`."""
    return read_yaml(conf_dir() / "family.yaml", "family.yaml").content


def core_of(host: Topology, given: str | None, where: str) -> str:
    """The given core file, or that of this processor; BadInput if there is none."""
    known = sorted({_core(machine) for machine in catalog([conf_dir()])["machine"].values()})
    if given is not None and given not in known:
        raise BadInput(f"--core={given!r}: no such core{did_you_mean(given, known)}")
    found = given or known_core(host)
    if found is None:
        what = f"{host.processor.strip(' /')!r} has no core file" if host.name else "the processor has no name"
        raise BadInput(f"{where}: {what}: give --core NAME; there are: {', '.join(known)}")
    return found


def known_core(host: Topology) -> str | None:
    """The core file of this processor; None if there is none, or it has no name."""
    rows = read_family()["cores"]
    return next((row["core"] for row in rows if re.search(row["pattern"], host.processor, re.IGNORECASE)), None)


def _core(machine: Entry) -> str:
    """The microarchitecture of a machine."""
    while not machine.name.endswith(f" {CORE}") and machine.parent is not None:
        machine = machine.parent
    return machine.name.removesuffix(f" {CORE}")


def relatives(host: Topology, core: str) -> tuple[Topology, list[Entry]]:
    """The host, and the bare-metal machines with this core, the nearest first: by sockets, then by CPUs.

    If `lscpu` does not show shared caches, the host has the clusters of its nearest relative.
    """

    def far(machine: Entry) -> tuple[float, float]:
        sockets, cpus = (float(machine.quantities[name].central) for name in ("sockets", "cores"))
        return abs(sockets - host.sockets), abs(np.log(cpus / host.cpus))

    machines = [each for each in catalog([conf_dir()])["machine"].values() if _core(each) == core]
    near = sorted((each for each in machines if "delivery" not in each.quantities), key=far)
    cores = near[0].quantities.get("cluster_cores") if near and host.places[:, 1].min() < 0 else None
    if cores is None:
        return host, near
    places = host.places.copy()
    places[:, 1] = np.unique(places[:, 2], return_inverse=True)[1] // int(cores.central)
    remark = f"The file does not show shared last-level caches: {cores.central} cores each, as on {near[0].name}."
    return replace(host, places=places, remarks=(*host.remarks, remark)), near


def machine_text(host: Topology, core: str, machines: list[Entry], measured: Latencies) -> str:
    """The text of the machine file: times of cache lines as measured, else of the nearest relative, wider."""
    cores = host.cpus // host.threads_per_core
    needed = {"sibling": host.threads_per_core > 1, "cluster": host.cluster_cores, "socket": True}
    needed["cross"] = host.sockets > 1
    known: dict[str, Any] = {
        "title": f"{host.sockets} x {host.name or core}, {cores} cores, {host.cpus} logical CPUs",
        "cores": host.cpus, "sockets": host.sockets, "threads_per_core": host.threads_per_core,
    }  # fmt: skip
    if host.cluster_cores is not None:
        known["cluster_cores"] = host.cluster_cores
    known["apic"] = "auto"
    family_wider = read_family()["wider"]
    for name in ("clock_scale", *(f"line_{each}_ns" for each in DISTANCES if needed[each])):
        relative = next((each for each in machines if name in each.quantities), None)
        if name in measured:
            known[name] = rounded(measured[name])
        elif relative is not None:
            quantity = relative.quantities[name]
            wider = 1.0 if name == "clock_scale" else family_wider
            known[name] = rounded(quantity, wider) | {"source": f"family: {relative.name}: {quantity.source}"}
    head = ["Another host, from its `lscpu`. Its costs are those of its core file, not measured.", *host.remarks]
    order = "by `lscpu -e`" if host.numbered else "as usual on Linux, the second threads of all cores after the first"
    head += [f"CPUs are numbered {order}."] * bool(measured)
    return yaml_text(head, {}) + f"defaults: [/{CORE}/{core}, _self_]\n" + yaml_text([], known)


def rounded(quantity: Quantity, wider: float = 1.0) -> dict[str, Any]:
    """A quantity of a machine file, to four digits, with an interval that is wider by this factor on each side."""
    low, high = (quantity.central if end is None else end for end in (quantity.low, quantity.high))
    ends = {"low": low / wider, "central": quantity.central, "high": high * wider}
    digits = {name: float(f"{value:.4g}") for name, value in ends.items()}
    return digits | {"unit": quantity.unit, "source": quantity.source}


def yaml_text(head: Iterable[str], known: Mapping[str, Any]) -> str:
    """A file of values by name, with comments above; YAML reads JSON."""
    lines = [*map(comment, head), *(f"{name}: {json.dumps(value)}" for name, value in known.items())]
    return "".join(f"{line}\n" for line in lines)
