"""Another host's CPUs from the output of `lscpu`, in English, German or French, and their distances.

`lscpu`, `lscpu -J` and `lscpu -e` are read, also several of them in one file. Offline CPUs do not count.
"""

import csv
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sweep.errors import BadInput
from sweep.inputs.catalog import Quantity

LABELS = {  # of a line, in any case
    "cpus": r"cpu\(s\)|processeur\(s\)",
    "online": r"on-?line cpu\(s\) list|liste der online-cpu\(s\)|liste de processeur\(s\) en ligne",
    "threads": r"thread\(s\) (per core|pro kern|par c(œ|oe)ur)",
    "cores": r"(core\(s\) per|kern\(e\) pro|c(œ|oe)ur\(s\) par) (socket|sockel|support cpu)",
    "sockets": r"socket\(s\)|sockel|support\(s\) cpu",
    "vendor": r"vendor id|anbieterkennung|identifiant constructeur",
    "family": r"cpu family|prozessorfamilie|famille de processeur",
    "model": r"model|modell|modèle",
    "name": r"model name|modellname|nom de modèle",
    "caches": r"l3|l3[ -]cache|cache l3",
    "hypervisor": r".*hypervis\w+.*",
}
MOST_CPUS = 4096
NODE = r"n\w*.numa.*?(\d+).*|numa.*?(\d+).*"  # a line with the CPUs of a NUMA node
NUMBER = re.compile(r"\d{1,9}")
OFFLINE = ("no", "nein", "non", "n", "false")
Latencies = Mapping[str, Quantity]  # times of a cache line, by the name of the parameter
DISTANCES = ("sibling", "cluster", "socket", "cross")  # as in the parameters line_*_ns


@dataclass(frozen=True)
class Topology:
    """A host's CPUs."""

    name: str  # of the processor; empty if unknown
    processor: str  # VENDOR FAMILY/MODEL NAME
    places: np.ndarray  # socket, last-level cache (-1: unknown) and core of every CPU that is online, [cpu, 3]
    numbered: bool = True  # whether the file has the place of each CPU
    remarks: tuple[str, ...] = ()  # properties that the model lacks

    @property
    def cpus(self) -> int:
        return len(self.places)

    @property
    def sockets(self) -> int:
        return self._divisor(len(np.unique(self.places[:, 0])))

    @property
    def threads_per_core(self) -> int:
        return self._divisor(int(self.threads.max()))

    @property
    def threads(self) -> np.ndarray:
        """The number of CPUs of each core, [core]."""
        return np.unique(self.places[:, [0, 2]], axis=0, return_counts=True)[1]

    @property
    def cluster_cores(self) -> int | None:
        """The number of cores that share a last-level cache; None if it is one, or all of a socket."""
        cores = np.unique(self.places, axis=0)
        most = int(np.unique(cores[:, :2], axis=0, return_counts=True)[1].max())
        return most if 1 < most < len(cores) // self.sockets else None

    @property
    def distances(self) -> np.ndarray:
        """The distance of each two CPUs, as an index of DISTANCES, [cpu, cpu]."""
        socket, cache, core = (column[:, None] == column[None, :] for column in self.places.T)
        near = np.where(cache, 1, 2) if self.cluster_cores else 2
        return np.where(~socket, 3, np.where(core, 0, near))

    def _divisor(self, number: int) -> int:
        """The number if it divides the CPUs, as the model needs, else one."""
        return number if self.cpus % number == 0 else 1


def topology_here(cpus: Sequence[int] = (), root: Path = Path("/sys/devices/system/cpu")) -> Topology:
    """These CPUs of this machine, or all, from the kernel's files; without files, each is a core of one socket."""
    online = sorted(int(path.parent.name.removeprefix("cpu")) for path in root.glob("cpu[0-9]*/topology"))
    cpus = cpus or online or range(os.cpu_count() or 1)

    def number(cpu: int, name: str, otherwise: int) -> int:
        path = root / f"cpu{cpu}" / name
        found = re.match(r"-?\d+", path.read_text()) if path.is_file() else None
        return int(found[0]) if found else otherwise

    socket, cache, core = "topology/physical_package_id", "cache/index3/shared_cpu_list", "topology/core_id"
    places = [(number(cpu, socket, 0), number(cpu, cache, -1), number(cpu, core, cpu)) for cpu in cpus]
    return Topology("", "", np.array(places))


def read_lscpu(text: str, where: str) -> Topology:
    """The CPUs of a host; BadInput with the file if its CPUs, sockets or threads cannot be read."""
    labelled, rows = (_json if text.lstrip().startswith("{") else _lines)(text, where)
    fields: dict[str, str] = {}  # the first of each of our names
    nodes: dict[int, str] = {}
    models = set()
    for label, value in labelled:
        if node := re.fullmatch(NODE, label, re.IGNORECASE):
            nodes[int(node[1] or node[2])] = value
        for name, pattern in LABELS.items():
            if value and re.fullmatch(pattern, label, re.IGNORECASE):
                fields.setdefault(name, value)
                models |= {value} if name == "name" else set()
    if not rows and not {"cpus", "online"} & {*fields}:
        raise BadInput(f"{where}: no output of lscpu in English, German or French: give that of `LC_ALL=C lscpu`")
    places, alike = (_numbered(rows, where), True) if rows else _counted(fields, nodes, where)
    alike &= bool(rows) or len(models) < 2
    if not 1 <= len(places) <= MOST_CPUS:
        raise BadInput(f"{where}: {len(places)} CPUs are online: must be from 1 to {MOST_CPUS}")
    name = fields.get("name", "")
    processor = f"{fields.get('vendor', '')} {fields.get('family', '')}/{fields.get('model', '')} {name}"
    host = Topology(name, processor, places, bool(rows))
    remarks = []
    if not alike or len({*host.threads.tolist()}) > 1:
        remarks.append("The host has cores of more than one kind, and the model has one: all count as the first.")
    if "hypervisor" in fields:
        remarks.append(
            "The host is a guest, but its costs are those of bare metal: give `delivery` and its costs, or a machine "
            "like kvm_guest."
        )
    return replace(host, remarks=tuple(remarks))


def _json(text: str, where: str) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """Labels with values of `lscpu -J`, nested or not, and rows of `lscpu -e -J` by column."""
    objects: list[dict[str, Any]] = []
    try:
        json.loads(text, object_hook=objects.append)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: must be JSON as of `lscpu -J`: {str(error)[:100]}") from None
    fields = [each for each in objects if "field" in each]
    labelled = [(str(each["field"]).rstrip(": \xa0"), str(each.get("data") or "").strip()) for each in fields]
    return labelled, [{key.upper(): str(value) for key, value in each.items()} for each in objects if "cpu" in each]


def _lines(text: str, where: str) -> tuple[list[tuple[str, str]], list[dict[str, str]]]:
    """Labels with values of `lscpu`, and rows of `lscpu -e` by column."""
    labelled, rows = [], []
    head: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["CPU"] and "CORE" in words:
            head = words
        elif head and words and words[0].isdecimal():
            rows.append(dict(zip(head, words, strict=False)))
        else:
            label, _, value = line.partition(":")
            labelled.append((label.strip(), value.strip()))
    return labelled, rows


def _numbered(rows: list[dict[str, str]], where: str) -> np.ndarray:
    """Places from `lscpu -e`."""
    places = []
    for row in rows:
        cache = next((value.rpartition(":")[2] for name, value in row.items() if name.endswith(":L3")), "")
        numbers = [row.get(name, "") for name in ("CPU", "SOCKET", "CORE")]
        if row.get("ONLINE", "").lower() not in OFFLINE and all(map(NUMBER.fullmatch, numbers)):
            cpu, socket, core = map(int, numbers)
            places.append((cpu, socket, int(cache) if NUMBER.fullmatch(cache) else -1, core))
    if not places:
        raise BadInput(f"{where}: `lscpu -e` has no CPU that is online, with numbers below SOCKET and CORE")
    return np.array(sorted(places))[:, 1:]


def _counted(fields: dict[str, str], nodes: dict[int, str], where: str) -> tuple[np.ndarray, bool]:
    """The same from the numbers of `lscpu`, and whether they show equal cores.

    The numbering of CPUs is the usual one: the second threads come last.
    """
    number = {}
    for key, like in (("cpus", "CPU(s): 8"), ("threads", "Thread(s) per core: 2"), ("sockets", "Socket(s): 1")):
        value = "1" if fields.get(key) == "-" else fields.get(key, "not there")  # `-` on Arm, without firmware's table
        if not re.fullmatch(r"[1-9]\d{0,5}", value):
            raise BadInput(f"{where}: {key}: {value[:40]}: must be a line like `{like}`: give the whole of lscpu")
        number[key] = int(value)
    cpus, threads, sockets = number.values()
    online = _cpus(fields["online"], where) if "online" in fields else list(range(min(cpus, MOST_CPUS + 1)))
    cores = -(-len(online) // threads)
    core = np.arange(len(online)) % cores
    socket = core // -(-cores // sockets)
    if len(nodes) % sockets == 0:  # some machines number the CPUs of sockets alternately
        share = sockets / max(1, len(nodes))
        known = {cpu: int(at * share) for at, node in enumerate(sorted(nodes)) for cpu in _cpus(nodes[node], where)}
        socket = np.array([known.get(cpu, usual) for cpu, usual in zip(online, socket.tolist(), strict=True)])
    instances = re.search(r"\((\d{1,4}) ", fields.get("caches", ""))
    size = -(-cores // int(instances[1])) if instances and int(instances[1]) > sockets else cores
    cache = core // size if instances else np.full_like(core, -1)
    expected = int(fields["cores"]) * sockets * threads if fields.get("cores", "").isdecimal() else cpus
    return np.stack([socket, cache, core], axis=1), len(online) < cpus or expected == cpus


def _cpus(ranges: str, where: str) -> list[int]:
    """The CPUs of a list like 0-3,8."""
    if not re.fullmatch(r"\d{1,4}(-\d{1,4})?( ?, ?\d{1,4}(-\d{1,4})?)*", ranges):
        raise BadInput(f"{where}: {ranges[:60]!r}: must be a list of CPUs, like 0-3,8")
    ends = [[int(end) for end in part.split("-")] for part in ranges.split(",")]
    return [cpu for end in ends for cpu in range(end[0], end[-1] + 1)]


def read_matrix(text: str, where: str, cpus: int) -> np.ndarray:
    """Times between each two CPUs, [cpu, cpu], ns, NaN if not measured; BadInput for another form."""
    rows = [row for row in csv.reader(text.splitlines()) if row]
    if not 1 < len(rows) == cpus or any(len(row) != cpus for row in rows):
        raise BadInput(f"{where}: has {len(rows)} rows: must have {cpus} rows and columns, one of each CPU of lscpu")
    cells = np.char.strip(np.array(rows))
    times = pd.to_numeric(cells.ravel(), errors="coerce").reshape(cells.shape)
    np.fill_diagonal(cells, "")
    wrong = np.argwhere((cells != "") & ~((times > 0) & (times <= 1e6)))
    if len(wrong):
        at, to = wrong[0]
        raise BadInput(f"{where}, line {at + 1}: {rows[at][to][:40]!r}: must be a time in ns, or blank")
    return np.where(cells == "", np.nan, times)


def by_distance(matrix: np.ndarray, host: Topology, where: str, source: str) -> Latencies:
    """The median over the pairs of each distance, and as its interval the 5th and the 95th percentile."""
    found = {}
    for at, name in enumerate(DISTANCES):
        times = matrix[(host.distances == at) & ~np.isnan(matrix)]
        if len(times):
            low, central, high = np.percentile(times, [5, 50, 95]).tolist()
            ends = {"low": low, "central": central, "high": high}
            found[f"line_{name}_ns"] = Quantity(**ends, unit="ns", source=f"measured: {source}")
    if not found:
        raise BadInput(f"{where}: has no time between two CPUs")
    first = next(iter(found))
    if not host.numbered and found[first].central > min(each.central for each in found.values()):
        raise BadInput(f"{where}: {first} is not the shortest: CPUs have unusual numbers here: give `lscpu -e` as well")
    return found
