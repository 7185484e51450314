"""Machines and workloads by name: quantities with unit, range and source.

The files are `conf/machine/*.yaml` and `conf/workload/*.yaml`. A quantity is a plain value, or a mapping of `central`,
`low` and `high` (its 5th and 95th percentile), `least` and `most` (hard bounds), `unit` and `source`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from sim.parameters import LARGEST, PARAMETERS, Kind, check, defining
from sim.quantities import DERIVING
from sweep.errors import BadInput, did_you_mean
from sweep.inputs.conf import Files
from sweep.inputs.door import Checked, admit, shorten
from sweep.inputs.reader import Document, read_yaml

QUANTITIES = PARAMETERS | DERIVING
CORE = "core"  # the group of microarchitectures, which machines build on
KINDS = {"build": Kind.BUILD, "loop": Kind.LOOP}


class QuantityFile(Checked):
    """A number with interval, bounds and source; `alternative` and `share` are for one of two names."""

    central: Any
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None
    unit: str = ""
    source: str = ""
    alternative: str | None = None
    share: Annotated[float, Field(ge=0.0, le=1.0)] | None = None  # probability of `central`


class Quantity(QuantityFile):
    """A quantity that has been read."""

    owner: str = ""  # the entry whose file gives it; MACHINE+WORKLOAD if it belongs to both

    @property
    def uncertain(self) -> bool:
        return self.alternative is not None or (self.low is not None and self.low != self.high)


@dataclass(frozen=True)
class Entry:
    """A machine or a workload."""

    name: str
    title: str
    quantities: Mapping[str, Quantity]
    machines: Mapping[str, Mapping[str, Quantity]]  # of a workload: quantities that differ by machine
    parent: Entry | None = None  # the entry that it builds on
    kind: Kind = Kind.BUILD  # of a workload


def check_quantity(name: str, value: Any, where: str) -> Any:
    """A checked value of a parameter or quantity; BadInput if it is out of range."""
    if name not in QUANTITIES:
        raise BadInput(f"{where}: unknown key {name!r}{did_you_mean(name, QUANTITIES)}")
    if name in PARAMETERS:
        try:
            return check(name, value)
        except ValueError as error:
            raise BadInput(f"{where}: {error}") from None
    low, high = DERIVING[name].low, min(DERIVING[name].high, LARGEST)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadInput(f"{where}: {name}={shorten(value)}: must be a number from {low:g} to {high:g}")
    return float(value)


class Catalog(Files[Entry]):
    """The machines, or the workloads, by name; each file, and its parent's, is read on first use."""

    def __init__(self, group: str, folders: Sequence[Path], bases: Catalog | None = None) -> None:
        """A file of this group builds on another one, `NAME`, or on one of `bases`, `/GROUP/NAME`."""
        super().__init__(group, folders, self._entry)
        self._group, self._bases = group, bases
        self._reading: list[str] = []  # each builds on the next

    def __getitem__(self, name: str) -> Entry:
        self._reading.append(name)
        try:
            return super().__getitem__(name)
        finally:
            self._reading.pop()

    def _entry(self, name: str, path: Path) -> Entry:
        where = f"{self._group}/{name}"
        document = read_yaml(path, where)
        content = {} if document.content is None else document.content
        if not isinstance(content, Mapping):
            raise BadInput(f"{where}: {shorten(content)}: must be a mapping of quantities")
        content = dict(content)
        parent = self._parent(document, content.pop("defaults", None))
        owner = f"{name} {CORE}" if self._group == CORE else name  # a machine and its core may have one name
        return read_entry(owner, Document(where, content, document.lines), parent)

    def _parent(self, document: Document, defaults: Any) -> Entry | None:
        """The parent of a file: `defaults: [NAME, _self_]`, or `/core/NAME`, a microarchitecture."""
        if defaults is None:
            return None
        place = document.place(("defaults",))
        if not isinstance(defaults, list) or not all(isinstance(name, str | int | float) for name in defaults):
            raise BadInput(f"{place}: defaults={shorten(defaults)}: must be a list, like [xeon_8160, _self_]")
        names = [str(name) for name in defaults if name != "_self_"]
        if len(names) > 1:
            raise BadInput(f"{place}: defaults={shorten(defaults)}: must be one file and _self_")
        for name in names:
            group, _, base = name.removeprefix("/").rpartition("/")
            if self._bases is not None and group == self._bases._group:
                if base not in self._bases:
                    raise BadInput(f"{place}: defaults: {name!r}: no such {group}{did_you_mean(base, self._bases)}")
                return self._bases[base]
            if name in self._reading:
                raise BadInput(f"{place}: {' builds on '.join([*self._reading, name])}: must not be a circle")
            if name not in self.paths:
                raise BadInput(f"{place}: defaults: {name!r}: no such {self._group}{did_you_mean(name, self.paths)}")
            return self[name]
        return None


def catalog(folders: Sequence[Path]) -> dict[str, Catalog]:
    """Every machine and workload by group and name; the first folder's comes first."""
    return {"machine": Catalog("machine", folders, Catalog(CORE, folders)), "workload": Catalog("workload", folders)}


def read_entry(name: str, document: Document, parent: Entry | None = None) -> Entry:
    """A machine or workload from the content of its file, every key checked, on top of its parent."""
    content = dict(document.content)
    title = content.pop("title", name)
    kind = parent.kind if parent else Kind.BUILD
    if "kind" in content:
        given = content.pop("kind")
        if not isinstance(given, str) or given not in KINDS:
            raise BadInput(f"{document.place(('kind',))}: kind={shorten(given)}: must be {' or '.join(KINDS)}")
        kind = KINDS[given]
    machines = parent.machines if parent else {}
    if "machines" in content:
        machines = _by_machine(name, document, content.pop("machines"), machines)
    quantities = _quantities(name, document, (), content, parent.quantities if parent else {})
    _check_kind(document, kind, {*quantities, *(name for among in machines.values() for name in among)})
    return Entry(name, str(title), quantities, machines, parent, kind)


def _check_kind(document: Document, kind: Kind, names: set[str]) -> None:
    """BadInput if a workload has a quantity of the other kind."""
    other = Kind.LOOP if kind is Kind.BUILD else Kind.BUILD
    for wrong in sorted(names & {*defining(other)})[:1]:
        raise BadInput(f"{document.place((wrong,))}: {wrong} needs {other.value}, and the workload is {kind.value}")
    if kind is Kind.LOOP and len(names & {*defining(kind)}) != 1:
        raise BadInput(f"{document.place(('kind',))}: kind=loop: needs one of {', '.join(defining(kind))}")


def _by_machine(
    owner: str, document: Document, content: Any, inherited: Mapping[str, Mapping[str, Quantity]]
) -> dict[str, dict[str, Quantity]]:
    """A workload's quantities for single machines, all of them its own."""
    if not isinstance(content, Mapping | None):
        raise BadInput(f"{document.place(('machines',))}: machines={shorten(content)}: must be a mapping of machines")
    machines = {
        machine: {name: quantity.model_copy(update={"owner": f"{machine}+{owner}"}) for name, quantity in known.items()}
        for machine, known in inherited.items()
    }
    for machine, given in (content or {}).items():
        path, name = ("machines", machine), str(machine)
        if not isinstance(given, Mapping | None):
            raise BadInput(f"{document.place(path)}: machines.{machine}={shorten(given)}: must be a mapping")
        machines[name] = _quantities(f"{name}+{owner}", document, path, given or {}, machines.get(name, {}))
    return machines


def _quantities(
    owner: str, document: Document, path: tuple[Any, ...], content: Mapping[Any, Any], inherited: Mapping[str, Quantity]
) -> dict[str, Quantity]:
    """The inherited quantities and the checked ones of `content`; a mapping adds to the inherited one."""
    own = {
        str(key): _quantity(owner, document, (*path, key), value, inherited.get(str(key)))
        for key, value in content.items()
    }
    return {**inherited, **own}


def _quantity(owner: str, document: Document, path: tuple[Any, ...], value: Any, above: Quantity | None) -> Quantity:
    name, where = str(path[-1]), document.place(path)
    if name not in QUANTITIES:
        raise BadInput(f"{where}: unknown key {name!r}{did_you_mean(name, QUANTITIES)}")
    if name == "range_pages" or not isinstance(value, Mapping):
        return Quantity(central=check_quantity(name, value, where), owner=owner)
    before = {} if above is None else above.model_dump(exclude={"owner"}, exclude_none=True)
    quantity = Quantity(**admit(QuantityFile, {**before, **value}, f"{where}: {name}").model_dump(), owner=owner)
    unit = QUANTITIES[name].unit
    if quantity.unit and quantity.unit != unit:
        raise BadInput(f"{where}: {name}: unit {quantity.unit!r}: must be {unit!r}")
    for given in ("central", "low", "high", "least", "most", "alternative"):
        if getattr(quantity, given) is not None:
            check_quantity(name, getattr(quantity, given), f"{where}, {given}")
    if quantity.uncertain and QUANTITIES[name].certain:
        raise BadInput(f"{where}: {name}: must be one number: a size of the point has no interval")
    bounds = (quantity.least, quantity.low, quantity.central, quantity.high, quantity.most)
    ordered = [bound for bound in bounds if bound is not None]
    if quantity.alternative is None and ordered != sorted(ordered):
        raise BadInput(f"{where}: {name}: needs least <= low <= central <= high <= most, and has {ordered}")
    if quantity.alternative is None and (quantity.low is None) != (quantity.high is None):
        raise BadInput(f"{where}: {name}: needs both low and high, or neither")
    return quantity


def quantities_of(machine: Entry, workload: Entry) -> dict[str, Quantity]:
    """The quantities of a workload on a machine: the workload's replace the machine's, those for both replace all."""
    return {**machine.quantities, **workload.quantities, **workload.machines.get(machine.name, {})}
