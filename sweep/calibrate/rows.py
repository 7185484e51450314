"""The rows to fit: measured rows of builds and of tables, and the costs that each depends on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sim.metrics import METRICS
from sim.policies import Policies
from sim.reading import reads
from sweep.errors import BadInput
from sweep.inputs.catalog import QUANTITIES, Entry
from sweep.inputs.costs import uncertain
from sweep.inputs.measured import FILE, Build, Table, published
from sweep.plan.open import Composition

Which = Literal["all", "own", "published"]


@dataclass(frozen=True)
class MeasuredRow:
    """A measured value: a `base` without flush events, and the time that these add."""

    source: str
    point: Mapping[str, Any]  # its point, as a block of a grid
    cores: float
    metric: str
    base: float  # in the metric's unit
    measured: float  # in the same

    @property
    def machine(self) -> str:
        return str(self.point["machine"])

    @property
    def workload(self) -> str:
        return str(self.point["workload"])

    @property
    def policy(self) -> str:
        return str(self.point["policy"])

    @property
    def unit(self) -> str:
        return METRICS[self.metric].unit

    @property
    def added(self) -> str:
        """The metric of the time added by flush events."""
        return "added_s" if self.metric == "system_time_s" else self.metric

    @property
    def setting(self) -> str:
        """The rest of its point, in words."""
        named = ("machine", "workload", "policy", "base_system_s")
        return " ".join(f"{name}={_short(value)}" for name, value in self.point.items() if name not in named)

    def __str__(self) -> str:
        return f"{self.policy} on {self.machine}, {self.setting}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def rows_to_fit(composition: Composition, which: Which) -> list[MeasuredRow]:
    """The measured rows to fit: of the package, of the user's own folder, or of both."""
    measured, theirs = composition.measured, published()
    builds = [*measured.fitted_builds]
    tables = [*measured.tables]
    if which == "published":
        builds, tables = [*theirs.fitted_builds], [*theirs.tables]
    elif which == "own":
        builds = [row for row in builds if row not in theirs.fitted_builds]
        tables = [table for table in tables if table not in theirs.tables]
    rows = [*map(_of_build, builds), *(row for table in tables for row in _of_table(table, composition))]
    if not rows:
        raise BadInput(
            f"fit.rows={which}: needs a row with fitted=yes in {FILE}, or one with role=fitted in a table of "
            "validation/; give --config-dir"
        )
    return rows


def _of_build(build: Build) -> MeasuredRow:
    """A system time, with that of vanilla as an input."""
    names = ("machine", "workload", "policy", "cores", "jobs")
    point = {name: getattr(build, name) for name in names} | {"base_system_s": build.vanilla_s}
    return MeasuredRow(build.source, point, build.cores, "system_time_s", build.vanilla_s, build.measured_s)


def _of_table(table: Table, composition: Composition) -> Iterator[MeasuredRow]:
    """The fitted rows of a table, whose metrics are 0 without flush events."""
    for row in table.rows:
        if row.role == "fitted":
            machine = composition.check("machine", row.point.get("machine"), f"validation/{table.name}")
            cores = row.point.get("cores", composition.machines[machine].quantities["cores"].central)
            yield MeasuredRow(table.source, row.point, float(cores), row.metric, 0.0, row.measured / table.times)


def read_by(known: Collection[str], row: MeasuredRow, machine: Entry, workload: Entry) -> np.ndarray:
    """Whether a row depends on each key OWNER/QUANTITY, [key]."""
    read = set(reads(Policies()[row.policy], workload.kind))
    moving = {
        f"{owner}/{name}"
        for name, (owner, _) in uncertain(machine, workload).items()
        if read & {name, *QUANTITIES[name].makes} and name not in row.point
    }
    return np.array([at for at, key in enumerate(known) if key in moving])


def fits_of(rows: Sequence[MeasuredRow]) -> dict[str, np.ndarray]:
    """The fits by name, with their rows, [row]: all rows, and parts that predict the others."""
    machines = np.array([row.machine for row in rows])
    sync = np.array([row.policy == "xpfo" for row in rows])
    fits = {"all rows": np.ones(len(rows), dtype=bool)} | ({"sync rows": sync} if 0 < sync.sum() < len(rows) else {})
    names = list(dict.fromkeys(machines.tolist()))
    return fits | {name: machines == name for name in names if len(names) > 1}


def left_out(rows: Sequence[MeasuredRow], read: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """By fit, the rows that it predicts, [row]; for the fit to all rows, the rows themselves.

    A fit predicts a row left out if they depend on a common cost.
    """
    fits = fits_of(rows)
    every = fits.pop("all rows")
    moved = {name: np.concatenate([read[at] for at in np.flatnonzero(mine).tolist()]) for name, mine in fits.items()}
    shared = {name: np.array([np.isin(each, moved[name]).any() for each in read]) for name in fits}
    parts = {name: ~mine & shared[name] for name, mine in fits.items()}
    return {"literature alone": every, **parts, "all rows": every}
