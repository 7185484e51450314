"""Machines and workloads by name: quantities with unit, range and source, and the model's parameters made from them.

The files are `conf/machine/*.yaml` and `conf/workload/*.yaml`. A quantity is a plain value, or a mapping of `central`,
`low` and `high` (its 5th and 95th percentile), `least` and `most` (hard bounds), `unit` and `source`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sim.parameters import PARAMETERS, Parameter, check
from sweep.errors import BadInput, did_you_mean

# Quantities that the model does not read itself: others are made from them, see `derive`.
DERIVING = {
    "clock_scale": Parameter("factor", "multiplies all instruction costs of the machine", low=1e-3),
    "alloc_per_kunmap": Parameter("ratio", "alloc events per kunmap event"),
    "large_range_share": Parameter("share", "share of alloc events over 33 pages", high=1.0),
    "user_s_over_xeon": Parameter("factor", "user seconds of the build here over those on xeon_8160", low=1e-3),
}
INSTRUCTION_COSTS = (
    "alloc_bookkeeping_ns kunmap_bookkeeping_ns flush_fixed_ns invlpg_ns flush_all_ns mask_scan_ns enqueue_ns "
    "enqueue_busy_ns ipi_send_ns irq_entry_ns handler_ns irq_exit_ns"
).split()
QUANTITIES = PARAMETERS | DERIVING


@dataclass(frozen=True)
class Quantity:
    """A number with what is known of it; `alternative` and `share` for one of two names."""

    central: Any
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None
    unit: str = ""
    source: str = ""
    alternative: str | None = None
    share: float | None = None  # probability of `central`

    @property
    def uncertain(self) -> bool:
        return self.alternative is not None or (self.low is not None and self.low != self.high)


@dataclass(frozen=True)
class Entry:
    """A machine or a workload."""

    name: str
    title: str
    quantities: Mapping[str, Quantity]
    machines: Mapping[str, Mapping[str, Quantity]]  # of a workload: what differs by machine
    parent: Entry | None = None  # what it builds on
    own: frozenset[str] = frozenset()  # quantities that its own file gives

    def origin(self, name: str) -> str:
        """The entry whose file a quantity comes from."""
        return self.name if self.parent is None or name in self.own else self.parent.origin(name)


def check_quantity(name: str, value: Any, where: str) -> Any:
    """A checked value of a parameter or deriving quantity; BadInput where it is out of range."""
    if name not in QUANTITIES:
        raise BadInput(f"{where}: unknown key {name!r}{did_you_mean(name, QUANTITIES)}")
    if name in PARAMETERS:
        try:
            return check(name, value)
        except ValueError as error:
            raise BadInput(f"{where}: {error}") from None
    low, high = DERIVING[name].low, DERIVING[name].high
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadInput(f"{where}: {name}={value!r}: must be a number from {low:g} to {high:g}")
    return float(value)


def read_entry(name: str, content: Mapping[str, Any], where: str) -> Entry:
    """A machine or workload from the content of its file, every key checked."""
    content = dict(content)
    title = str(content.pop("title", name))
    machines = {
        machine: {key: _quantity(key, value, f"{where}, machines.{machine}") for key, value in (some or {}).items()}
        for machine, some in (content.pop("machines", None) or {}).items()
    }
    quantities = {key: _quantity(key, value, where) for key, value in content.items()}
    return Entry(name, title, quantities, machines)


def inherit(entry: Entry, own: set[str], parent: Entry) -> Entry:
    """The entry with what its own file does not say labelled as taken over from the parent."""
    quantities = {
        name: quantity if name in own or not quantity.source
        else replace(quantity, source=f"judgement, taken over: {quantity.source}")
        for name, quantity in entry.quantities.items()
    }  # fmt: skip
    return replace(entry, quantities=quantities, parent=parent, own=frozenset(own))


def _quantity(name: str, value: Any, where: str) -> Quantity:
    if name == "range_pages" or not isinstance(value, Mapping):
        return Quantity(check_quantity(name, value, where))
    unknown = sorted(set(value) - set(Quantity.__dataclass_fields__))
    if unknown:
        raise BadInput(
            f"{where}: {name}: unknown key {unknown[0]!r}{did_you_mean(unknown[0], Quantity.__dataclass_fields__)}"
        )
    if "central" not in value:
        raise BadInput(f"{where}: {name}: needs `central`")
    quantity = Quantity(**value)
    unit = QUANTITIES[name].unit if name in QUANTITIES else quantity.unit
    if quantity.unit and quantity.unit != unit:
        raise BadInput(f"{where}: {name}: unit {quantity.unit!r}: must be {unit!r}")
    for given in ("central", "low", "high", "least", "most", "alternative"):
        if getattr(quantity, given) is not None:
            check_quantity(name, getattr(quantity, given), f"{where}, {given}")
    ordered = [
        x for x in (quantity.least, quantity.low, quantity.central, quantity.high, quantity.most) if x is not None
    ]
    if quantity.alternative is None and ordered != sorted(ordered):
        raise BadInput(f"{where}: {name}: needs least <= low <= central <= high <= most, and has {ordered}")
    return quantity


def quantities_of(machine: Entry, workload: Entry) -> dict[str, Quantity]:
    """What is known of a workload on a machine: the workload's own first, then what it says of this machine."""
    return {name: quantity for name, (_, quantity) in origin(machine, workload).items()}


def origin(machine: Entry, workload: Entry) -> dict[str, tuple[str, Quantity]]:
    """The same with the name of the entry that each comes from; MACHINE+WORKLOAD where it belongs to both."""
    both = workload.machines.get(machine.name, {})
    return (
        {name: (machine.origin(name), quantity) for name, quantity in machine.quantities.items()}
        | {name: (workload.origin(name), quantity) for name, quantity in workload.quantities.items()}
        | {name: (f"{machine.name}+{workload.origin('machines')}", quantity) for name, quantity in both.items()}
    )
