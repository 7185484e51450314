"""The rows to fit: measured rows of builds and of tables, the costs that each depends on, and simulated draws."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sim.metrics import METRICS
from sim.policies import Policies
from sim.reading import reads
from sweep.errors import BadInput
from sweep.inputs.catalog import QUANTITIES, Entry, Quantity
from sweep.inputs.costs import uncertain
from sweep.inputs.measured import FILE, published
from sweep.plan.composition import Composition

NAMES = ("machine", "workload", "policy")
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
        rest = {name: value for name, value in self.point.items() if name not in (*NAMES, "base_system_s")}
        short = {name: f"{value:g}" if isinstance(value, float) else value for name, value in rest.items()}
        return " ".join(f"{name}={value}" for name, value in short.items())

    def __str__(self) -> str:
        return f"{self.policy} on {self.machine}, {self.setting}"


@dataclass(frozen=True)
class Pool:
    """Draws of uncertain costs, and their simulated times in the measured rows."""

    known: Mapping[str, Quantity]  # priors by OWNER/QUANTITY
    values: np.ndarray  # [draw, key]
    added: np.ndarray  # time added by flush events, each row in its own unit, [row, draw]
    chance: np.ndarray  # probability of choosing a draw, [draw]
    first: int  # draws of the first round, from the prior
    rows: Sequence[MeasuredRow]
    read: Sequence[np.ndarray]  # the keys that each row depends on


@dataclass(frozen=True)
class Fit:
    """Weights of the pool's draws under some rows."""

    name: str
    weights: np.ndarray  # [draw], with sum 1
    size: float  # effective draws
    k: float  # Pareto's


def rows_to_fit(composition: Composition, which: Which) -> list[MeasuredRow]:
    """The measured rows to fit: of the package, of the user's own folder, or of both."""
    theirs = published()
    measured = theirs if which == "published" else composition.measured
    rows = []
    for build in measured.fitted_builds:
        if which != "own" or build not in theirs.fitted_builds:
            point = {name: getattr(build, name) for name in (*NAMES, "cores", "jobs")}
            point["base_system_s"] = build.vanilla_s
            base, measured_s = build.vanilla_s, build.measured_s
            rows.append(MeasuredRow(build.source, point, build.cores, "system_time_s", base, measured_s))
    for table in measured.tables:
        for row in table.rows if which != "own" or table not in theirs.tables else []:
            if row.role == "fitted":  # its metric is 0 without flush events
                machine = composition.check("machine", row.point.get("machine"), f"validation/{table.name}")
                cores = row.point.get("cores", composition.machines[machine].quantities["cores"].central)
                value = row.measured / table.times
                rows.append(MeasuredRow(table.source, row.point, float(cores), row.metric, 0.0, value))
    if not rows:
        raise BadInput(
            f"fit.rows={which}: needs a row with fitted=yes in {FILE}, or one with role=fitted in a table of "
            "validation/; give --config-dir"
        )
    return rows


def read_by(known: Collection[str], row: MeasuredRow, machine: Entry, workload: Entry) -> np.ndarray:
    """Whether a row depends on each key OWNER/QUANTITY, [key]."""
    read = set(reads(Policies()[row.policy], workload.kind))
    moving = {
        key
        for key in uncertain(machine, workload)
        if read & {name := key.partition("/")[2], *QUANTITIES[name].makes} and name not in row.point
    }
    return np.array([at for at, key in enumerate(known) if key in moving], dtype=int)


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
