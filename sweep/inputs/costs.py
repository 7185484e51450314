"""Cost samples, from the literature's intervals or from a posterior fitted to measurements.

A quantity's `low` and `high` are the 5th and 95th percentile of a log-normal split at `central`, its median, cut off at
its hard bounds. Machines are independent of each other; a workload's quantities and the kernel's are the same on all.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from sweep.errors import BadInput
from sweep.inputs.catalog import QUANTITIES, Entry, Quantity, quantities_of
from sweep.inputs.conf import Files
from sweep.inputs.prior import central, sobol, values_at

LITERATURE = "literature"  # the costs whose row 0 are the central values
REPRESENTATIVE = 0  # the draw that represents the others
ANY = "any"  # the owner of the kernel's costs


@dataclass(frozen=True)
class Costs:
    """Values of uncertain quantities by owner and name. Row 0 is the representative draw.

    A quantity that is one of two names is 0 for the central one and 1 for the alternative.
    """

    name: str
    keys: tuple[str, ...] = ()  # OWNER/QUANTITY
    values: np.ndarray = field(default_factory=lambda: np.empty((1, 0)))  # [draw, key]
    stamp: Mapping[str, Any] = field(default_factory=dict)  # the measurements that it was fitted to

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.keys).encode() + np.ascontiguousarray(self.values).tobytes()).hexdigest()

    def column(self, key: str) -> np.ndarray | None:
        """The values of a key, [draw], or None if it is not among these costs."""
        return self.values[:, self.keys.index(key)] if key in self.keys else None


def owner_of(name: str, quantity: Quantity) -> str:
    """The owner of a quantity's draws: the kernel's costs are the same on any machine."""
    return ANY if QUANTITIES[name].of_kernel else quantity.owner


def uncertain(machine: Entry, workload: Entry) -> dict[str, Quantity]:
    """Uncertain quantities of a workload on a machine, by OWNER/QUANTITY."""
    return {
        f"{owner_of(name, quantity)}/{name}": quantity
        for name, quantity in quantities_of(machine, workload).items()
        if quantity.uncertain
    }


def draw_values(costs: Costs, machine: Entry, workload: Entry) -> dict[str, np.ndarray]:
    """The draws of every quantity of these costs, [draw]; a quantity that is a plain number in a file has none."""
    drawn = {}
    for key, quantity in uncertain(machine, workload).items():
        values = costs.column(key)
        if values is not None and quantity.alternative is not None:
            values = np.where(values == 0, quantity.central, quantity.alternative).astype(object)
        if values is not None:
            drawn[key.partition("/")[2]] = values
    return drawn


def priors(machines: Iterable[Entry], workloads: Iterable[Entry], reads: Collection[str] = ()) -> dict[str, Quantity]:
    """Every uncertain quantity, by OWNER/QUANTITY; those seldom read only if they are in `reads`."""
    workloads = list(workloads)
    quantities = {
        key: quantity
        for machine in machines
        for workload in workloads
        for key, quantity in uncertain(machine, workload).items()
        if not QUANTITIES[name := key.partition("/")[2]].seldom or name in reads
    }
    return dict(sorted(quantities.items()))


def literature(known: Mapping[str, Quantity], draws: int, seed: int) -> Costs:
    """Central values, and as many draws of the priors, by a scrambled Sobol sequence."""
    if not draws:
        return Costs(LITERATURE)
    values = np.empty((draws + 1, len(known)))
    values[1:] = values_at(known, sobol(len(known), draws, seed))
    values[0] = [central(quantity) for quantity in known.values()]
    return Costs(LITERATURE, tuple(known), values)


def posterior(stored: Costs, known: Mapping[str, Quantity], draws: int, seed: int) -> Costs:
    """Stored draws, with priors for all other quantities; BadInput if fewer are stored."""
    if draws >= len(stored.values):
        raise BadInput(f"draws={draws}: must be at most {len(stored.values) - 1} with costs={stored.name}")
    rest = {key: quantity for key, quantity in known.items() if key not in stored.keys}
    fresh = literature(rest, draws, seed) if rest else None
    columns = [
        stored.values[: draws + 1, stored.keys.index(key)] if key in stored.keys
        else fresh.values[:, fresh.keys.index(key)] if fresh is not None and draws
        else np.array([central(known[key])])
        for key in known
    ]  # fmt: skip
    return Costs(stored.name, tuple(known), np.stack(columns, axis=1), stored.stamp)


def stored(folders: Sequence[Path]) -> Mapping[str, Costs]:
    """The costs in `costs/` of these folders by name."""
    return Files("costs", folders, read)


def read(name: str, path: Path) -> Costs:
    """Costs in the form of `written_costs`: NAME.yaml with the stamp and row 0, NAME.parquet with all draws."""
    try:
        stamp = yaml.safe_load(path.read_text(encoding="utf-8"))
        table = pq.ParquetFile(path.with_suffix(".parquet")).read()
        values = np.stack([column.to_numpy() for column in table.columns], axis=1)
        costs = Costs(name, tuple(table.column_names), values, stamp)
        wanted = stamp["digest"]
    except (OSError, yaml.YAMLError, pa.ArrowException, ValueError, TypeError, KeyError) as error:
        raise BadInput(f"costs={name}: cannot be read: {type(error).__name__}: {error}") from None
    if costs.digest != wanted:
        raise BadInput(f"costs={name}: {name}.parquet must have the digest in {path.name}")
    return costs
