"""One run: open the plan, simulate what is missing, commit, make results and tables."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sweep import __version__, dry_run, lock, reuse, runner, store, tables
from sweep.catalog import BadInput, Entry
from sweep.caveats import basis
from sweep.chunk import failures
from sweep.costs import Costs
from sweep.frame import load
from sweep.journal import Journal
from sweep.plan import Plan, code_hash, open_plan
from sweep.point import breakdown
from sweep.progress import progress
from sweep.report import read_plots, write_page
from sweep.runner import Runner
from sweep.stop import Signals, Stopped

MOST_ROWS = 3_000_000  # of results that tables and a page are made of without being asked: they take memory


@dataclass(frozen=True)
class Request:
    """What the user asked for, checked as far as the command line goes."""

    grid: str
    question: str
    content: Mapping[str, Any]
    pinned: Mapping[str, Any]
    defaults: Mapping[str, Any]
    machines: Mapping[str, Entry]
    workloads: Mapping[str, Entry]
    costs: Mapping[str, Costs]
    runner: Runner
    overrides: tuple[str, ...]
    out: str | None
    policy_path: str | None
    max_points: float
    max_cpu_hours: float
    chunk_s: float
    quiet: bool
    points: str | None = None
    reuse: str | None = None
    max_failures: int | None = None
    retry_failed: bool = False
    commit: str | None = None
    report: bool = False
    dry_run: bool = False


def run(request: Request) -> int:
    """Do what was asked for; the exit code."""
    plan = open_plan(
        request.grid, request.question, request.content, request.pinned, request.defaults,
        request.machines, request.workloads, request.chunk_s, request.policy_path, request.points,
        request.costs,
    )  # fmt: skip
    out = request.out or default_out(plan)
    if request.dry_run:
        print(dry_run.describe(plan, request.runner, out))
        return 0

    def finish(folder: store.Folder) -> None:
        if len(plan) * plan.replicas > MOST_ROWS:
            say(request, f"more than {MOST_ROWS} rows: neither tables nor a page; python -m sweep.tables {folder}")
            return
        made = tables.write_tables(folder)
        if request.report:
            write_page(folder, read_plots(folder))
        if not request.quiet:
            report(plan, folder, made)

    return carry_out(request, plan, out, finish)


def carry_out(
    request: Request, plan: Plan, out: str, finish: Callable[[store.Folder], None] = lambda folder: None
) -> int:
    """Simulate a plan into a folder, then `finish` it; the exit code."""
    _check_size(plan, request)
    if request.runner.choose(float(plan.chunk_cost_s().sum()))[0] == "ray":
        runner.reach(request.runner)
    folder = open_out(out)
    with lock.held(folder) as held:
        journal = Journal(folder)
        try:
            failed = _carry(request, plan, folder, held, journal)
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
        finally:
            journal.close()
    if runner.stuck:  # Ray's threads would hold the process
        sys.stdout.flush()
        os._exit(code)
    return code


def _carry(request: Request, plan: Plan, folder: store.Folder, held: lock.Lock, journal: Journal) -> int:
    """Simulate what is missing, commit it, make the results; the number of points that failed."""
    store.claim(folder, describe(plan, request))
    old = reuse.Old(store.open_folder(request.reuse, make=False), plan) if request.reuse else None
    good, bad = store.finished(folder, plan)
    for chunk, wrong in bad.items():
        say(request, f"part {chunk}: {wrong}: set aside as {store.set_aside(folder, chunk)}")
    chunks = len(plan.chunks) - 1
    known = old.find if old else runner.nothing_known
    if request.retry_failed and (again := store.with_failures(folder, good)):
        say(request, f"failed points in {len(again)} chunks are computed again")
        known = partial(_good_rows, folder, plan, again, known)
        for name in ("results.parquet", "failures.parquet"):  # they would be of the parts that are replaced
            folder.remove(name)
        good -= again
    cost = plan.chunk_cost_s()
    todo = sorted(set(range(chunks)) - good, key=lambda chunk: (-cost[chunk], chunk))  # most expensive first
    kind, why = request.runner.choose(float(cost[todo].sum()) if todo else 0.0)
    if good:
        say(request, f"{len(good)} of {chunks} chunks are there already")
    failed = 0
    if todo:
        say(request, f"{plan.name}: {len(plan)} points x {plan.replicas} replicas in {chunks} chunks; {why}")
        journal.note("start", runner=kind, chunks=chunks, todo=len(todo), commit=request.commit or commit())
        points = np.diff(plan.chunks)
        write = partial(store.write_part, folder) if request.runner.commit == "workers" else store.part_bytes
        with (
            Signals() as signals,
            progress(int(points[todo].sum()), request.quiet) as advance,
            closing(
                runner.serial(plan, todo, known)
                if kind == "serial"
                else runner.ray(plan, todo, request.runner, known, write)
            ) as carried,
        ):
            for chunk, table, note in carried:
                lost = note.pop("failed") if "failed" in note else len(failures(table))
                held.running = note.pop("running", 0)
                with signals.commit():
                    held.check()
                    if isinstance(table, bytearray):
                        folder.write(store.part_name(chunk), table)
                    elif table is not None:
                        store.write_part(folder, plan, chunk, table)
                    elif not folder.exists(store.part_name(chunk)):
                        where = note["worker_host"]
                        raise Stopped(
                            1, f"chunk {chunk} was committed on {where} and is not in {folder}: "
                            "with runner.commit=workers out= must be the same folder on all machines"
                        )  # fmt: skip
                    journal.note("chunk", chunk=chunk, points=int(points[chunk]), failed=lost, **note)
                failed += lost
                if request.max_failures is not None and failed > request.max_failures:
                    raise Stopped(3, f"{failed} points failed, and max_failures={request.max_failures}")
                advance(int(points[chunk]), failures=lost, cpus=runner.cpus_busy() if kind == "ray" else None)
    if old:
        say(request, f"{old.taken} of {len(plan)} points were taken over from {request.reuse}")
    if todo or not store.whole(folder, plan):
        with Signals():
            store.remove_unfinished(folder)
            return store.compact(folder, plan)
    return store.failed_before(folder)


def _good_rows(
    folder: store.Folder, plan: Plan, again: set[int], otherwise: runner.Known, chunk: int
) -> pa.Table | None:
    """Of a chunk that is computed again, the rows that did not fail."""
    if chunk not in again:
        return otherwise(chunk)
    table = store.read_part(folder, plan, chunk)
    good = pa.array([status == "ok" for status in table["status"].to_pylist()])
    return table.filter(good).replace_schema_metadata(None)


def left(folder: store.Folder, plan: Plan) -> str:
    """How to go on."""
    there = sum(name.startswith("part-") for name in folder.names("parts"))
    return f"{there} of {len(plan.chunks) - 1} chunks are committed in {folder}; the same command continues"


def open_out(out: str) -> store.Folder:
    """The folder of a run; a relative one is refused inside a Ray job, whose working folder is thrown away."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and "://" not in out and not os.path.isabs(out):
        raise BadInput(
            f"out={out!r}: inside a Ray job this is in Ray's own folder and lost with it; give an absolute path that "
            f"all drivers see, or a URI, like out=/shared/{out}"
        )
    return store.open_folder(out)


def _check_size(plan: Plan, request: Request) -> None:
    """Stop before a sweep that is larger than the user may mean."""
    if len(plan) > request.max_points:
        raise BadInput(
            f"{plan.name}: {len(plan)} points, and max_points={request.max_points:g}; "
            f"give max_points={len(plan)} to go on"
        )
    hours = float(plan.chunk_cost_s().sum()) / 3600  # of a cut, only what it cuts out
    if hours > request.max_cpu_hours:
        raise BadInput(
            f"{plan.name}: about {hours:.1f} CPU-hours, and max_cpu_hours={request.max_cpu_hours:g}; "
            f"give max_cpu_hours={hours * 1.1:.0f} to go on"
        )


def report(plan: Plan, folder: store.Folder, made: Mapping[str, Any]) -> None:
    """The main table and where the rest is."""
    name, table = next(iter(made.items()))
    print(f"\n{plan.question}")
    if name == "reproduction":
        print(textwrap.fill(basis(list(plan.costs), plan.draws), 100))
        if plan.draws:
            print("lo and hi: where 90 % of measurements would lie, run spread and the model's error in.")
    text = breakdown(load(folder.path)) if len(plan) == 1 + plan.draws and folder.local else tables.as_text(table)
    print(f"\n{text}\n\n{folder}")


def default_out(plan: Plan) -> str:
    """outputs/<grid>/<first 8 of the plan's hash>: the same command again continues there."""
    return str(Path("outputs") / plan.name / plan.hash[:8])


def describe(plan: Plan, request: Request) -> dict[str, Any]:
    """run.json: what a reader needs to trust or repeat the run."""
    return {
        "plan": plan.hash,
        "grid": plan.name,
        "question": plan.question,
        "overrides": list(request.overrides),
        "points": {
            "blocks": [
                {
                    name: _short(values)
                    for axis in block.axes
                    for name, values in zip(axis.names, axis.values, strict=True)
                }
                for block in plan.blocks
            ],
            "defaults": dict(plan.defaults),
            "cut": list(plan.cut) if plan.cut else None,
            "seed": plan.seed,
            "replicas": plan.replicas,
            "machines": list(plan.machines),
            "workloads": list(plan.workloads),
            "costs": list(plan.costs),
            "draws": plan.draws,
        },
        "code": code_hash(plan.policy_path),
        "versions": {"sweep": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "pandas", "pyarrow", "hydra-core")},
        "commit": request.commit or commit(),
        "chunk_s": plan.chunk_s,
        "chunk_bounds": len(plan.chunks) - 1,
    }


def _short(values: Any) -> Any:
    return (
        [str(value) if not isinstance(value, int | float | str) else value for value in values]
        if len(values) <= 50
        else f"{len(values)} values from {values[0]} to {values[len(values) - 1]}"
    )


def commit() -> str | None:
    """The commit of this checkout and whether it is dirty, or None outside one."""
    root = Path(__file__).resolve().parent.parent
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, text=True, timeout=10, check=True,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(root.parent)},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def say(request: Request, text: str) -> None:
    """A line of progress, unless quiet."""
    if not request.quiet:
        print(text, file=sys.stderr, flush=True)


__all__ = ["BadInput", "Request", "commit", "default_out", "describe", "report", "run"]
