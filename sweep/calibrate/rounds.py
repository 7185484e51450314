"""`+grid=calibrate`: what published system times say about the uncertain costs, and how well they predict one another.

Two rounds of simulation, each a sweep like any other. The first takes the beginning of a long Sobol sequence over the
priors. An emulator fitted to it says which later points of that sequence are likely under some fit; the second round
simulates a random sample of these, each with a known probability. A fit weighs every simulated draw by its likelihood,
from its simulated times, over the probability with which it was chosen: the emulator decides what is simulated, never
what is reported. Ref: Poisson sampling with the Horvitz-Thompson estimator.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator

from sim.policies import policy_module, reads
from sim.quantities import MADE_FROM
from sweep.calibrate import emulator
from sweep.calibrate.plots import plots
from sweep.calibrate.pool import Fit, Pool, fitted_rows
from sweep.calibrate.representative import representative_draw
from sweep.calibrate.tables import tables, write_costs
from sweep.errors import BadInput
from sweep.inputs.catalog import Quantity
from sweep.inputs.costs import LITERATURE, Costs, priors
from sweep.inputs.door import Checked, admit
from sweep.inputs.likelihood import log_likelihood
from sweep.inputs.measured import FILE, published
from sweep.inputs.prior import sobol, values_at
from sweep.inputs.reader import NAME
from sweep.inputs.weights import effective_size, pareto_k
from sweep.plan.code import code_hash
from sweep.plan.open import open_plan
from sweep.plan.plan import Plan
from sweep.report.page import page
from sweep.run import dry_run
from sweep.run.compute import compute
from sweep.run.driver import carry_out, default_out, out_of, say_unless_quiet
from sweep.run.record import describe
from sweep.run.request import Request
from sweep.store.folder import Folder, open_folder
from sweep.store.results import read_results
from sweep.tables.make import write
from sweep.tables.text import as_text

LEAST_SIZE, MOST_K = 500.0, 0.7  # effective draws and Pareto k of a fit that is reported
FIXED = ("draws", "costs", "policy", "machine", "workload", "cores", "jobs", "base_system_s")  # by the measured rows
DEFENCE = 1 / 512  # of the candidates are simulated whatever the emulator says


class Settings(Checked):
    """`fit:` of the grid."""

    name: str = "calibrated"
    draws: Annotated[int, Field(ge=64)] = 4096
    candidates: Annotated[int, Field(ge=64, le=1 << 24)] = 1 << 19
    draws_a_fit: Annotated[int, Field(ge=64)] = 1200
    keep: Annotated[int, Field(ge=64)] = 512
    rows: Literal["all", "own", "published"] = "all"

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not NAME.fullmatch(name) or name == LITERATURE:
            raise ValueError(f"must be a plain word, and not {LITERATURE}")
        return name

    @model_validator(mode="after")
    def _holds_the_first_round(self) -> Settings:
        if self.candidates <= self.draws:
            raise ValueError(f"fit.candidates={self.candidates}: must be above fit.draws={self.draws}")
        return self


class _Grid(Checked):
    fit: Settings


@dataclass(frozen=True)
class Candidates:
    """Points of the priors that may be simulated, and the measured rows that they are held to."""

    rows: pd.DataFrame
    known: Mapping[str, Quantity]  # priors by OWNER/QUANTITY
    values: np.ndarray  # [candidate, key]

    def costs(self, which: slice | np.ndarray) -> dict[str, Costs]:
        """Some of the candidates as the draws of a sweep."""
        return {LITERATURE: Costs(LITERATURE, tuple(self.known), self.values[which])}


def calibrate(request: Request) -> int:
    """Both rounds, the tables, and costs that later runs use by name; the exit code."""
    settings = admit(_Grid, {"fit": request.composition.content["fit"]}).fit
    _refuse_what_the_rows_fix(request)
    rows = _rows(request, settings)
    prior = _open(request, rows, {})
    known = priors(prior.space.machines.values(), prior.space.workloads.values())
    candidates = Candidates(rows, known, values_at(known, sobol(len(known), settings.candidates, prior.seed)))
    first = _open(request, rows, candidates.costs(slice(settings.draws)))
    out = (request.out or default_out(first)).rstrip("/")
    if request.dry_run:
        print(dry_run.describe(first, request.runner, f"{out}/literature"))
        most = settings.draws_a_fit * len(fitted_rows(rows))
        print(f"These are {settings.draws} draws; then a second round, of {settings.draws_a_fit} to {most} more.")
        return 0
    if code := carry_out(request, first, f"{out}/literature"):
        return code
    folder = open_folder(out_of(out))
    added = _added(folder, "literature", rows)
    emulators = _emulators(candidates, settings, added)
    for (_, row), fitted in zip(rows.iterrows(), emulators, strict=True):
        say_unless_quiet(
            request, f"emulator of {row['policy']} on {row['machine']}: residual {100 * fitted.residual:.1f} %"
        )
    chance = _chances(candidates.values, emulators, rows, settings)
    chosen = np.flatnonzero(np.random.default_rng([first.seed, 1]).random(len(chance)) < chance)
    second = _open(request, rows, candidates.costs(chosen[chosen >= settings.draws]))
    if code := carry_out(request, second, f"{out}/likely"):
        return code
    added = np.concatenate([added, _added(folder, "likely", rows)], axis=1)
    pool = Pool(known, candidates.values[chosen], added, chance[chosen], settings.draws, rows)
    _finish(request, settings, folder, pool, emulators, [first, second])
    return 0


def _rows(request: Request, settings: Settings) -> pd.DataFrame:
    """The measured rows that are fitted: of the package, of the user's own folder, or of both."""
    builds = request.composition.measured.builds
    theirs = published().builds
    own = ~builds.apply(tuple, axis=1).isin(theirs.apply(tuple, axis=1))
    chosen = {"all": builds, "own": builds[own], "published": theirs}[settings.rows]
    rows = chosen[(chosen["fitted"] == "yes") & (chosen["policy"] != "vanilla")].reset_index(drop=True)
    if rows.empty:
        raise BadInput(f"fit.rows={settings.rows}: holds no row with fitted=yes; {FILE} of --config-dir is read")
    return rows


def _finish(
    request: Request, settings: Settings, folder: Folder, pool: Pool, emulators: list[emulator.Emulator],
    rounds: list[Plan],
) -> None:  # fmt: skip
    """Weigh the pool's draws, and write tables, costs and the page."""
    fits = {name: _fit(pool, name, mine) for name, mine in fitted_rows(pool.rows).items()}
    for name, fit in fits.items():
        say_unless_quiet(request, f"fitted on {name}: {fit.size:.0f} effective draws, Pareto k {fit.k:.2f}")
    tables_by_name = tables(pool, fits, emulators)
    write(folder, tables_by_name)

    def simulated(costs: np.ndarray) -> np.ndarray:
        plan = _open(request, pool.rows, {LITERATURE: Costs(LITERATURE, tuple(pool.known), costs[None])})
        return np.asarray(compute(plan, range(len(pool.rows)))["added_s"].to_numpy())

    read = _read_by_row(pool.known, pool.rows)
    single = representative_draw(pool, fits["all rows"], read, simulated)
    code = code_hash(request.composition.policy_path)
    stamp = {"plans": [plan.hash for plan in rounds], "code": code, "seed": rounds[0].seed}
    write_costs(folder, settings.name, settings.keep, pool, fits["all rows"], single, stamp)
    run = describe(rounds[0], request)
    run["points"] |= {"costs": [], "draws": len(pool.chance)}
    folder.write("run.json", json.dumps(run, indent=1).encode())
    if request.report:
        folder.write("report.html", page(run, plots(tables_by_name)).encode())
    if not request.quiet:
        print(f"\n{request.composition.question}\n\n{as_text(tables_by_name['validation'])}\n\n{folder}")
        print(f"use them: sweep --config-dir {folder} costs={settings.name} ...")


def _refuse_what_the_rows_fix(request: Request) -> None:
    given = {
        "points": request.composition.points,
        "reuse": request.reuse,
        **{name: request.composition.pinned.get(name) for name in FIXED},
    }
    strange = [f"{name}=" for name, value in given.items() if value is not None]
    if strange:
        raise BadInput(f"{', '.join(strange)}: no meaning for a calibration, whose points are the measured rows")


def _read_by_row(known: Mapping[str, Quantity], rows: pd.DataFrame) -> list[np.ndarray]:
    """Which keys move each of the measured rows."""
    return [read_by(known, row["policy"], row["machine"], set(rows["machine"])) for _, row in rows.iterrows()]


def _emulators(candidates: Candidates, settings: Settings, added: np.ndarray) -> list[emulator.Emulator]:
    """An emulator of each measured row, fitted to the first round."""
    names = np.array([quantity.alternative is not None for quantity in candidates.known.values()])
    return [
        emulator.fit(candidates.values[: settings.draws], columns, names, seconds)
        for columns, seconds in zip(_read_by_row(candidates.known, candidates.rows), added, strict=True)
    ]


def _open(request: Request, rows: pd.DataFrame, costs: Mapping[str, Costs]) -> Plan:
    """The points of the measured rows, under every draw of these costs."""
    content = {key: value for key, value in request.composition.content.items() if key != "fit"}
    names = ["machine", "workload", "policy", "cores", "jobs"]
    content["blocks"] = [
        {name: getattr(row[name], "item", lambda name=name, row=row: row[name])() for name in names}
        | {"base_system_s": float(row["vanilla_s"])}
        for _, row in rows.iterrows()
    ]
    return open_plan(replace(request.composition, content=content), costs)


def _added(folder: Folder, part: str, rows: pd.DataFrame) -> np.ndarray:
    """Simulated added seconds, [row, draw]."""
    table = read_results(Folder(folder.filesystem, folder.child(part))).read(["point", "added_s", "status"]).to_pandas()
    failed = table[table["status"] != "ok"]
    if len(failed):
        raise BadInput(f"{folder}/{part}: {len(failed)} draws failed, like point {failed['point'].iloc[0]}")
    return table.sort_values("point")["added_s"].to_numpy().reshape(len(rows), -1)


def read_by(known: Mapping[str, Any], policy: str, machine: str, machines: Collection[str]) -> np.ndarray:
    """Which keys OWNER/QUANTITY move a policy on one of these machines."""
    read = set(reads(policy_module(policy)))
    columns = []
    for at, key in enumerate(known):
        owner, _, name = key.partition("/")
        of_another = owner.partition("+")[0] in set(machines) - {machine}
        if not of_another and read & {name, *MADE_FROM.get(name, ())}:
            columns.append(at)
    return np.array(columns)


def _chances(
    values: np.ndarray, emulators: list[emulator.Emulator], rows: pd.DataFrame, settings: Settings
) -> np.ndarray:
    """With what probability each candidate is simulated, [candidate]; 1 for those of the first round."""
    likely = np.stack(
        [
            log_likelihood(row["measured_s"], row["vanilla_s"], np.exp(each.log_added(values)), row["cores"])
            for (_, row), each in zip(rows.iterrows(), emulators, strict=True)
        ]
    )  # [row, candidate]
    chance = np.full(len(values), DEFENCE)
    for mine in fitted_rows(rows).values():
        log = likely[mine].sum(axis=0)
        likelihood = np.exp(log - log.max())
        chance = np.maximum(chance, settings.draws_a_fit * likelihood / likelihood.sum())
    chance[: settings.draws] = 1.0
    return np.minimum(chance, 1.0)


def _fit(pool: Pool, name: str, mine: np.ndarray) -> Fit:
    """A fit's weights; BadInput where they cannot be trusted."""
    log = np.zeros(len(pool.chance))
    for at in np.flatnonzero(mine):
        row = pool.rows.iloc[at]
        log += log_likelihood(row["measured_s"], row["vanilla_s"], pool.added[at], row["cores"])
    weights = np.exp(log - log.max()) / pool.chance
    fit = Fit(name, weights / weights.sum(), effective_size(weights), pareto_k(weights))
    if fit.size < LEAST_SIZE or fit.k > MOST_K:
        raise BadInput(
            f"fitted on {name}: {fit.size:.0f} effective draws and Pareto k {fit.k:.2f}; {LEAST_SIZE:.0f} or more and "
            f"{MOST_K} or less are needed: give more grid.fit.draws, .candidates or .draws_a_fit"
        )
    return fit
