"""`+grid=calibrate`: uncertain costs fitted to published measurements, and predictions of rows left out.

Two rounds of simulation, each a sweep like any other. The first takes the beginning of a long Sobol sequence over the
priors. An emulator fitted to it finds later points of that sequence that are likely under some fit; the second round
simulates a random sample of these, each with a known probability. A fit weighs every simulated draw by its simulated
likelihood over its probability of being chosen: the emulator affects only the choice, never the reported numbers.
Ref: Poisson sampling with the Horvitz-Thompson estimator.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator, model_validator

from sim.policies import Policies
from sim.reading import reads
from sweep.calibrate import emulator
from sweep.calibrate.plots import plots
from sweep.calibrate.representative import representative_draw
from sweep.calibrate.rows import Fit, MeasuredRow, Pool, Which, fits_of, read_by, rows_to_fit
from sweep.calibrate.tables import answer, tables, write_costs
from sweep.errors import BadInput
from sweep.inputs.catalog import Quantity
from sweep.inputs.costs import LITERATURE, Costs, priors
from sweep.inputs.door import Checked, admit
from sweep.inputs.likelihood import log_likelihood
from sweep.inputs.prior import sobol, values_at
from sweep.inputs.reader import NAME
from sweep.inputs.weights import effective_size, pareto_k
from sweep.plan.code import code_hash
from sweep.plan.open import open_plan
from sweep.plan.plan import Plan
from sweep.report.page import page
from sweep.run import dry_run
from sweep.run.compute import compute
from sweep.run.driver import carry_out, default_out, out_of, paragraphs
from sweep.run.record import describe
from sweep.run.request import Request
from sweep.store.folder import Folder, open_folder
from sweep.store.results import read_results
from sweep.tables.make import write
from sweep.tables.text import as_text

LEAST_SIZE, MOST_K = 500.0, 0.7  # effective draws and Pareto k of a reported fit
FIXED = ("draws", "costs", "cores")  # by the measured rows, besides the keys of their points
DEFENCE = 1 / 512  # share of candidates simulated without regard to the emulator


class FitSettings(Checked):
    """`fit:` of the grid."""

    name: str = "calibrated"
    draws: Annotated[int, Field(ge=64)] = 4096
    candidates: Annotated[int, Field(ge=64, le=1 << 24)] = 1 << 20
    draws_a_fit: Annotated[int, Field(ge=64)] = 1200
    keep: Annotated[int, Field(ge=64)] = 512
    rows: Which = "all"

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if not NAME.fullmatch(name) or name == LITERATURE:
            raise ValueError(f"must be a plain word, and not {LITERATURE}")
        return name

    @model_validator(mode="after")
    def _holds_the_first_round(self) -> FitSettings:
        if self.candidates <= self.draws:
            raise ValueError(f"fit.candidates={self.candidates}: must be above fit.draws={self.draws}")
        return self


class _Grid(Checked):
    fit: FitSettings


def calibrate(request: Request) -> int:
    """Run both rounds, write the tables, and costs for later runs by name; return the exit code."""
    settings = admit(_Grid, {"fit": request.composition.content["fit"]}).fit
    rows = rows_to_fit(request.composition, settings.rows)
    _refuse_what_the_rows_fix(request, rows)
    prior = _open(request, rows)
    machines, workloads = prior.space.machines, prior.space.workloads
    policies = {name for row in rows for name in reads(Policies()[row.policy])}
    known = priors(machines.values(), workloads.values(), policies)
    read = [read_by(known, row, machines[row.machine], workloads[row.point["workload"]]) for row in rows]
    candidates = values_at(known, sobol(len(known), settings.candidates, prior.seed))  # [candidate, key]
    first = _open(request, rows, known, candidates[: settings.draws])
    out = (request.settings.out or default_out(first)).rstrip("/")
    if request.settings.dry_run:
        print(dry_run.describe(first, request.runner, f"{out}/literature"))
        most = settings.draws_a_fit * len(fits_of(rows))
        print(f"The first round has {settings.draws} draws, the second {settings.draws_a_fit} to {most} more.")
        return 0
    if code := carry_out(request, first, f"{out}/literature"):
        return code
    folder = open_folder(out_of(out))
    added = _added(folder, "literature", rows)
    names = np.array([quantity.alternative is not None for quantity in known.values()])
    emulators = []
    for row, columns, each in zip(rows, read, added, strict=True):
        emulators.append(emulator.fit(candidates[: settings.draws], columns, names, each))
        request.say(f"emulator of {row}: residual {100 * emulators[-1].residual:.1f} %")
    likely = _log_likelihoods(rows, [np.exp(each.log_added(candidates)) for each in emulators])
    chance = _chances(likely, rows, settings)
    chosen = np.flatnonzero(np.random.default_rng([first.seed, 1]).random(len(chance)) < chance)
    second = _open(request, rows, known, candidates[chosen[chosen >= settings.draws]])
    if code := carry_out(request, second, f"{out}/likely"):
        return code
    added = np.concatenate([added, _added(folder, "likely", rows)], axis=1)
    pool = Pool(known, candidates[chosen], added, chance[chosen], settings.draws, rows, read)
    _finish(request, settings, folder, pool, emulators, [first, second])
    return 0


def _finish(
    request: Request, settings: FitSettings, folder: Folder, pool: Pool, emulators: list[emulator.Emulator],
    rounds: list[Plan],
) -> None:  # fmt: skip
    """Weigh the pool's draws, and write tables, costs and the page."""
    likely = _log_likelihoods(pool.rows, pool.added)
    fits = {name: _fit(name, likely[mine].sum(axis=0), pool.chance) for name, mine in fits_of(pool.rows).items()}
    for name, fit in fits.items():
        request.say(f"fitted on {name}: {fit.size:.0f} effective draws, Pareto k {fit.k:.2f}")
    made = tables(pool, fits, emulators)
    found = answer(made)
    write(folder, made, found)

    def simulated(costs: np.ndarray) -> np.ndarray:
        table = compute(_open(request, pool.rows, pool.known, costs[None]), range(len(pool.rows)))
        return np.array([table[row.added][at].as_py() for at, row in enumerate(pool.rows)])

    single = representative_draw(pool, fits["all rows"], simulated)
    code = code_hash(request.composition.policy_path)
    stamp = {"plans": [plan.hash for plan in rounds], "code": code, "seed": rounds[0].seed}
    write_costs(folder, settings.name, settings.keep, pool, fits["all rows"], single, stamp)
    run = describe(rounds[0], request)
    run["points"] |= {"costs": [], "draws": len(pool.chance)}
    folder.write("run.json", json.dumps(run, indent=1).encode())
    if request.settings.report:
        folder.write("report.html", page(run, plots(made), found.text).encode())
    if not request.settings.quiet:
        print(f"\n{request.composition.question}", *paragraphs(found), "", sep="\n")
        print(as_text(made["validation"] if found.table is None else found.table), f"\n{folder}", sep="\n")
        print(f"next: sweep --config-dir {folder} costs={settings.name} ...")


def _refuse_what_the_rows_fix(request: Request, rows: Sequence[MeasuredRow]) -> None:
    fixed = [*FIXED, *dict.fromkeys(name for row in rows for name in row.point)]
    given = {
        "points": request.composition.points,
        "reuse": request.settings.reuse,
        **{name: request.composition.pinned.get(name) for name in fixed},
    }
    strange = [f"{name}=" for name, value in given.items() if value is not None]
    if strange:
        raise BadInput(f"{', '.join(strange)}: not allowed in a calibration, whose points are the measured rows")


def _open(
    request: Request, rows: Sequence[MeasuredRow], known: Mapping[str, Quantity] | None = None,
    values: np.ndarray | None = None,
) -> Plan:  # fmt: skip
    """The points of the measured rows, under the priors or under each of these values [draw, key]."""
    content = {key: value for key, value in request.composition.content.items() if key != "fit"}
    content["blocks"] = [dict(row.point) for row in rows]
    costs = {} if known is None or values is None else {LITERATURE: Costs(LITERATURE, tuple(known), values)}
    return open_plan(replace(request.composition, content=content), costs)


def _added(folder: Folder, part: str, rows: Sequence[MeasuredRow]) -> np.ndarray:
    """The simulated time added by flush events, each row in its own unit, [row, draw]."""
    columns = ["point", "status", *dict.fromkeys(row.added for row in rows)]
    table = read_results(Folder(folder.filesystem, folder.child(part))).read(columns).to_pandas()
    failed = table[table["status"] != "ok"]
    if len(failed):
        raise BadInput(f"{folder}/{part}: {len(failed)} draws failed, like point {failed['point'].iloc[0]}")
    table = table.sort_values("point")
    return np.array([table[row.added].to_numpy().reshape(len(rows), -1)[at] for at, row in enumerate(rows)])


def _log_likelihoods(rows: Sequence[MeasuredRow], added: Iterable[np.ndarray]) -> np.ndarray:
    """The log likelihood of each measured row under each draw, [row, draw]."""
    pairs = zip(rows, added, strict=True)
    return np.stack([log_likelihood(row.measured, row.base, each, row.cores) for row, each in pairs])


def _chances(likely: np.ndarray, rows: Sequence[MeasuredRow], settings: FitSettings) -> np.ndarray:
    """The probability of simulating each candidate, [candidate]; 1 in the first round."""
    chance = np.full(likely.shape[1], DEFENCE)
    for mine in fits_of(rows).values():
        log = likely[mine].sum(axis=0)
        likelihood = np.exp(log - log.max())
        chance = np.maximum(chance, settings.draws_a_fit * likelihood / likelihood.sum())
    chance[: settings.draws] = 1.0
    return np.minimum(chance, 1.0)


def _fit(name: str, log: np.ndarray, chance: np.ndarray) -> Fit:
    """A fit's weights from log likelihoods [draw]; BadInput if they are unreliable."""
    weights = np.exp(log - log.max()) / chance
    fit = Fit(name, weights / weights.sum(), effective_size(weights), pareto_k(weights))
    if fit.size < LEAST_SIZE or fit.k > MOST_K:
        raise BadInput(
            f"fitted on {name}: {fit.size:.0f} effective draws and Pareto k {fit.k:.2f}: must be at least "
            f"{LEAST_SIZE:.0f} and at most {MOST_K}; give more grid.fit.draws, .candidates or .draws_a_fit"
        )
    return fit
