"""One run: open the plan, simulate what is missing, commit, make results and tables."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sweep.errors import BadInput, Stopped
from sweep.plan.open import open_plan
from sweep.plan.plan import Plan
from sweep.report.caveats import basis
from sweep.report.page import read_plots, write_page
from sweep.run import dry_run, reuse, runner
from sweep.run.progress import progress
from sweep.run.ray import Cluster, reach
from sweep.run.record import claim, commit, describe
from sweep.run.request import Request
from sweep.run.signals import Signals
from sweep.store import lock
from sweep.store.folder import Folder, open_folder
from sweep.store.journal import Journal
from sweep.store.parts import (
    check_parts,
    chunks_with_failures,
    part_bytes,
    part_name,
    read_part,
    remove_unfinished,
    set_aside,
    write_part,
)
from sweep.store.results import compact, count_failures, is_complete
from sweep.tables.frame import load
from sweep.tables.make import write_tables
from sweep.tables.text import as_text, breakdown

MOST_ROWS = 3_000_000  # of results that tables and a page are made of without being asked: they take memory


def run(request: Request) -> int:
    """Do what was asked for; the exit code."""
    plan = open_plan(request.composition)
    out = request.out or default_out(plan)
    if request.dry_run:
        print(dry_run.describe(plan, request.runner, out))
        return 0

    def finish(folder: Folder) -> None:
        if len(plan) * plan.replicas > MOST_ROWS:
            say(request, f"more than {MOST_ROWS} rows: neither tables nor a page; sweep tables {folder}")
            return
        tables = write_tables(folder)
        if request.report:
            write_page(folder, read_plots(folder))
        if not request.quiet:
            report(plan, folder, tables)

    return carry_out(request, plan, out, finish)


def carry_out(request: Request, plan: Plan, out: str, finish: Callable[[Folder], None] = lambda folder: None) -> int:
    """Simulate a plan into a folder, then `finish` it; the exit code."""
    _check_size(plan, request)
    if request.runner.choose(float(plan.chunk_cost_s().sum()))[0] == "ray":
        reach(request.runner)
    folder = open_out(out)
    cluster = Cluster(request.runner)
    with lock.held(folder) as held, closing(Journal(folder)) as journal:
        run = _Run(request, plan, folder, held, journal, cluster)
        try:
            failed = run.carry()
        except (Stopped, SystemError) as raised:
            stop = raised if isinstance(raised, Stopped) else raised.__cause__ or raised.__context__
            if not isinstance(stop, Stopped):  # a signal that arrives inside Ray's C code comes out wrapped
                raise
            journal.note("stop", why=str(stop))
            print(f"sweep: {stop}; {left(folder, plan)}", file=sys.stderr, flush=True)
            code = stop.code
        else:
            journal.note("end", failed=failed)
            finish(folder)
            if failed:
                print(f"sweep: {failed} points failed: see {folder}/failures.parquet", file=sys.stderr, flush=True)
            code = 3 if failed else 0
    if cluster.hung:
        sys.stdout.flush()
        os._exit(code)
    return code


@dataclass
class _Run:
    """A plan on its way into its folder."""

    request: Request
    plan: Plan
    folder: Folder
    held: lock.Lock
    journal: Journal
    cluster: Cluster

    def carry(self) -> int:
        """Simulate what is missing, commit it, make the results; the number of points that failed."""
        request, plan, folder = self.request, self.plan, self.folder
        claim(folder, describe(plan, request))
        old = reuse.Old(open_folder(request.reuse, make=False), plan) if request.reuse else None
        good, bad = check_parts(folder, plan)
        for chunk, wrong in bad.items():
            say(request, f"part {chunk}: {wrong}: set aside as {set_aside(folder, chunk)}")
        known = old.find if old else runner.nothing_known
        if request.retry_failed and (again := chunks_with_failures(folder, good)):
            say(request, f"failed points in {len(again)} chunks are computed again")
            known = partial(_good_rows, folder, plan, again, known)
            for name in ("results.parquet", "failures.parquet"):  # they would be of the parts that are replaced
                folder.remove(name)
            good -= again
        chunks = len(plan.chunks) - 1
        cost = plan.chunk_cost_s()
        todo = sorted(set(range(chunks)) - good, key=lambda chunk: (-cost[chunk], chunk))  # most expensive first
        if good:
            say(request, f"{len(good)} of {chunks} chunks are there already")
        if todo:
            self._simulate(todo, float(cost[todo].sum()), known)
        if old:
            say(request, f"{old.taken} of {len(plan)} points were taken over from {request.reuse}")
        if todo or not is_complete(folder, plan):
            with Signals():
                remove_unfinished(folder)
                return compact(folder, plan)
        return count_failures(folder)

    def _simulate(self, todo: list[int], estimate_s: float, known: runner.Known) -> None:
        """Carry these chunks to processors and commit what comes back."""
        request, plan, folder = self.request, self.plan, self.folder
        kind, why = request.runner.choose(estimate_s)
        chunks = len(plan.chunks) - 1
        say(request, f"{plan.name}: {len(plan)} points x {plan.replicas} replicas in {chunks} chunks; {why}")
        self.journal.note("start", runner=kind, chunks=chunks, todo=len(todo), commit=request.commit or commit())
        points = np.diff(plan.chunks)
        write = partial(write_part, folder) if request.runner.commit == "workers" else part_bytes
        failed = 0
        with (
            Signals() as signals,
            progress(int(points[todo].sum()), request.quiet) as advance,
            closing(
                runner.serial(plan, todo, known) if kind == "serial" else self.cluster.carry(plan, todo, known, write)
            ) as carried,
        ):
            for each in carried:
                with signals.commit():
                    self._commit(each, int(points[each.chunk]))
                failed += each.failed
                if request.max_failures is not None and failed > request.max_failures:
                    raise Stopped(3, f"{failed} points failed, and max_failures={request.max_failures}")
                cpus = self.cluster.cpus_busy() if kind == "ray" else None
                advance(int(points[each.chunk]), failures=each.failed, cpus=cpus)

    def _commit(self, carried: runner.Carried, points: int) -> None:
        """Commit a chunk, or see that the worker that computed it has done so."""
        self.held.running = carried.running
        self.held.check()
        name = part_name(carried.chunk)
        if carried.part is not None:
            self.folder.write(name, carried.part)
        elif not self.folder.exists(name):
            raise Stopped(
                1, f"chunk {carried.chunk} was committed on {carried.note['worker_host']} and is not in {self.folder}: "
                "with runner.commit=workers out= must be the same folder on all machines"
            )  # fmt: skip
        self.journal.note("chunk", chunk=carried.chunk, points=points, failed=carried.failed, **carried.note)


def _good_rows(folder: Folder, plan: Plan, again: set[int], otherwise: runner.Known, chunk: int) -> pa.Table | None:
    """Of a chunk that is computed again, the rows that did not fail."""
    if chunk not in again:
        return otherwise(chunk)
    table = read_part(folder, plan, chunk)
    good = pa.array([status == "ok" for status in table["status"].to_pylist()])
    return table.filter(good).replace_schema_metadata(None)


def left(folder: Folder, plan: Plan) -> str:
    """How to go on."""
    there = sum(name.startswith("part-") for name in folder.names("parts"))
    return f"{there} of {len(plan.chunks) - 1} chunks are committed in {folder}; the same command continues"


def open_out(out: str) -> Folder:
    """The folder of a run; a relative one is refused inside a Ray job, whose working folder is thrown away."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and "://" not in out and not os.path.isabs(out):
        raise BadInput(
            f"out={out!r}: inside a Ray job this is in Ray's own folder and lost with it; give an absolute path that "
            f"all drivers see, or a URI, like out=/shared/{out}"
        )
    return open_folder(out)


def _check_size(plan: Plan, request: Request) -> None:
    """Stop before a sweep that takes longer than the user may mean."""
    hours = float(plan.chunk_cost_s().sum()) / 3600  # of a cut, only what it cuts out
    if hours > request.max_cpu_hours:
        raise BadInput(
            f"{plan.name}: about {hours:.1f} CPU-hours, and max_cpu_hours={request.max_cpu_hours:g}; "
            f"give max_cpu_hours={hours * 1.1:.0f} to go on"
        )


def report(plan: Plan, folder: Folder, made: Mapping[str, Any]) -> None:
    """The main table and where the rest is."""
    name, table = next(iter(made.items()))
    print(f"\n{plan.question}")
    if name == "reproduction":
        print(textwrap.fill(basis(list(plan.space.costs), plan.draws), 100))
        if plan.draws:
            print("lo and hi: where 90 % of measurements would lie, run spread and the model's error in.")
    text = breakdown(load(folder.path)) if len(plan) == 1 + plan.draws and folder.local else as_text(table)
    print(f"\n{text}\n\n{folder}")


def default_out(plan: Plan) -> str:
    """outputs/<grid>/<first 8 of the plan's hash>: the same command again continues there."""
    return str(Path("outputs") / plan.name / plan.hash[:8])


def say(request: Request, text: str) -> None:
    """A line of progress, unless quiet."""
    if not request.quiet:
        print(text, file=sys.stderr, flush=True)
