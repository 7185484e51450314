"""An estimate of a run from its plan and a pilot of a few points; nothing is written."""

import time
from collections.abc import Collection
from math import isnan, nan
from typing import Any

import numpy as np
from rich.filesize import decimal

from sim import PARAMETERS, simulate
from sim.parameters import default_warmup
from sweep.errors import BadInput
from sweep.inputs.settings import Runner
from sweep.plan.plan import Plan
from sweep.plan.points import NAMES
from sweep.run.progress import duration
from sweep.store.folder import look
from sweep.store.parts import check_parts
from sweep.store.rows import to_table
from sweep.store.run_json import NAME, read_run

PILOT_POINTS = 3
EVENTS = ("window_events", "warmup_events")
PILOT_WINDOW = 512  # flush events; a pilot measures speed, not the model
ROW_BYTES = 500.0  # without a pilot
PARQUET_SHARE = 0.3  # size of results.parquet over that of its parts; measured on our grids


def describe(plan: Plan, runner: Runner, out: str) -> str:
    """Points, lanes, chunks, bytes, CPU-hours, elapsed time, finished chunks, the first and the last point."""
    cost = plan.chunk_cost_s()
    done, other = _done(plan, out)
    todo = [chunk for chunk in range(len(cost)) if chunk not in done]
    try:
        speed, row_bytes, piloted = pilot(plan)
    except Exception as error:  # in a run, a failed point
        speed, row_bytes = 1.0, ROW_BYTES
        piloted = f"no pilot, because a point fails: {type(error).__name__}: {' '.join(str(error).split())}"
    work_s = float(cost[todo].sum()) * speed
    kind, _ = runner.choose(float(cost[todo].sum()) if todo else 0.0)
    from loky import cpu_count

    cpus = 1 if kind == "serial" else runner.cpus or cpu_count()
    longest_s = float(cost[todo].max()) * speed if todo else 0.0
    elapsed_s = max(work_s / cpus, longest_s)
    rows = len(plan) * plan.replicas
    size = int(rows * row_bytes)
    where = "one process" if kind == "serial" else "on Ray"
    lines = [
        f"{plan.name}: {plan.question}",
        "",
        f"points     {len(plan)} x {plan.replicas} replicas = {rows} lanes, one row each",
        f"chunks     {len(cost)}, {len(done)} already done in {out}" + (f" ({other})" if other else ""),
        f"bytes      about {decimal(size)} of parts, {decimal(int(size * PARQUET_SHARE))} of results",
        f"work       about {work_s / 3600:.3g} CPU-hours ({work_s:.3g} CPU s); formula x {speed:.2f}, from {piloted}",
        f"elapsed    about {duration(elapsed_s)} on {cpus} CPU{'s' if cpus > 1 else ''} ({where})",
        f"first      {_point(plan, 0)}",
        f"last       {_point(plan, len(plan) - 1)}",
        "",
        "Nothing was written.",
    ]
    return "\n".join(lines)


def pilot(plan: Plan) -> tuple[float, float, str]:
    """Measured over estimated time, bytes of a row, and the points that were run: some from cheap to expensive.

    Windows are cut to PILOT_WINDOW events; warm-up is not.
    """
    segments = plan.segments
    costly = np.flatnonzero(segments.fixed_s > 0) if (segments.fixed_s > 0).any() else np.arange(len(segments.first))
    ranked = costly[np.argsort((segments.fixed_s + segments.point_s)[costly], kind="stable")]
    picked = ranked[np.unique(np.linspace(0, len(ranked) - 1, min(PILOT_POINTS, len(ranked))).astype(int))]
    estimated_s = measured_s = row_bytes = 0.0
    for at in picked.tolist():
        first, fixed_s, point_s = int(segments.first[at]), float(segments.fixed_s[at]), float(segments.point_s[at])
        columns = plan.columns(first, first + 1)
        window, warmup = (float(columns[name][0]) if name in columns else nan for name in EVENTS)
        if isnan(warmup):
            warmup = float(default_warmup(window, float(columns["cores"][0])))
        short = min(window, PILOT_WINDOW)
        share = (short + warmup) / (window + warmup)  # both costs are per step
        parameters: dict[str, Any] = {name: column for name, column in columns.items() if name in PARAMETERS}
        parameters |= {"window_events": short, "warmup_events": warmup, "precision": PARAMETERS["precision"].low}
        parameters |= {"policy": columns["policy"].tolist(), "seed": plan.seed}
        parameters |= {"engine": plan.engine, "policies": plan.policies}
        if plan.engine == "compiled":  # compiling and loading come before timing
            simulate(**parameters | {"window_events": 32, "warmup_events": 0, "replicas": 1})
        took_s = np.inf
        for _ in range(2):  # the first call does work that later calls share
            begin_s = time.perf_counter()
            metrics = simulate(**parameters, replicas=plan.replicas)
            took_s = min(took_s, time.perf_counter() - begin_s)
        measured_s += took_s
        estimated_s += (fixed_s + point_s) * share
        table = to_table(plan, range(first, first + 1), columns, metrics)
        row_bytes = max(row_bytes, table.nbytes / table.num_rows)
    speed = measured_s / estimated_s if estimated_s > 0 else 1.0
    return speed, row_bytes, f"a pilot of {len(picked)} point{'s' if len(picked) > 1 else ''}"


def _done(plan: Plan, out: str) -> tuple[Collection[int], str]:
    folder = look(out)
    if not folder.exists(NAME):
        return (), ""
    try:
        found = read_run(folder)["plan"]
    except BadInput as error:
        return (), f"{error}: a run would refuse this folder"
    if found != plan.hash:
        return (), "of another plan: a run would refuse this folder"
    good, bad = check_parts(folder, plan)
    return good, f"{len(bad)} broken" if bad else ""


def _point(plan: Plan, at: int) -> str:
    columns = plan.columns(at, at + 1)
    axes = [name for block in plan.space.blocks for axis in block.axes for name in axis.names]
    names = [*NAMES, *(name for name in dict.fromkeys([*axes, "cores", "jobs"]) if name in columns)]
    point = {name: columns[name][0] for name in names}
    return " ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in point.items()
    )
