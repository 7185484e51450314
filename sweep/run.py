"""One run: open the plan, simulate what is missing, commit, make results and tables."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sweep import __version__, dry_run, runner, store, tables
from sweep.catalog import BadInput, Entry
from sweep.frame import load
from sweep.plan import Plan, code_hash, open_plan
from sweep.point import breakdown
from sweep.progress import progress
from sweep.report import read_plots, write_page
from sweep.runner import Runner


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
    runner: Runner
    overrides: tuple[str, ...]
    out: str | None
    chunk_s: float
    quiet: bool
    report: bool = False
    dry_run: bool = False


def run(request: Request) -> int:
    """Do what was asked for; the exit code."""
    plan = open_plan(
        request.grid, request.question, request.content, request.pinned, request.defaults,
        request.machines, request.workloads, request.chunk_s,
    )  # fmt: skip
    if request.dry_run:
        print(dry_run.describe(plan, request.runner, request.out or default_out(plan)))
        return 0
    folder = store.open_folder(request.out or default_out(plan))
    store.claim(folder, describe(plan, request))
    good, bad = store.finished(folder, plan)
    for chunk, wrong in bad.items():
        _say(request, f"part {chunk}: {wrong}: set aside as {store.set_aside(folder, chunk)}")
    chunks = len(plan.chunks) - 1
    cost = plan.chunk_cost_s()
    todo = sorted(set(range(chunks)) - good, key=lambda chunk: (-cost[chunk], chunk))  # most expensive first
    kind, why = request.runner.choose(float(cost[todo].sum()) if todo else 0.0)
    if good:
        _say(request, f"{len(good)} of {chunks} chunks are there already")
    if todo:
        _say(request, f"{plan.name}: {len(plan)} points x {plan.replicas} replicas in {chunks} chunks; {why}")
        carried = runner.serial(plan, todo) if kind == "serial" else runner.ray(plan, todo, request.runner)
        points = np.diff(plan.chunks)
        with progress(int(points[todo].sum()), request.quiet) as advance:
            for chunk, table in carried:
                folder.write(store.part_name(chunk), store.part_bytes(plan, chunk, table))
                advance(int(points[chunk]), cpus=runner.cpus_busy() if kind == "ray" else None)
    if todo or not folder.exists("results.parquet"):
        store.compact(folder, plan)
    made = tables.write_tables(folder)
    if request.report:
        write_page(folder, read_plots(folder))
    if not request.quiet:
        report(plan, folder, made)
    return 0


def report(plan: Plan, folder: store.Folder, made: Mapping[str, Any]) -> None:
    """The main table and where the rest is."""
    name, table = next(iter(made.items()))
    print(f"\n{plan.question}")
    if name == "reproduction":
        print(tables.UNCALIBRATED)
    text = breakdown(load(folder.path)) if len(plan) == 1 and folder.local else tables.as_text(table)
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
            "seed": plan.seed,
            "replicas": plan.replicas,
            "machines": list(plan.machines),
            "workloads": list(plan.workloads),
        },
        "code": code_hash(),
        "versions": {"sweep": __version__, "python": platform.python_version()}
        | {name: version(name) for name in ("numpy", "pandas", "pyarrow", "hydra-core")},
        "commit": commit(),
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


def _say(request: Request, text: str) -> None:
    if not request.quiet:
        print(text, file=sys.stderr, flush=True)


__all__ = ["BadInput", "Request", "commit", "default_out", "describe", "report", "run"]
