"""One chunk of a plan: points in, an Arrow table of parameters and metrics out, a row per point and replica."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from sim import METRICS, PARAMETERS, simulate
from sim.policy import add_policies
from sweep.plan import CONTROLS, NAMES, Plan

PARAMETER_COLUMNS = tuple(name for name in PARAMETERS if name not in CONTROLS)


def _field(name: str, kind: pa.DataType, unit: str, meaning: str) -> pa.Field:
    return pa.field(name, kind, metadata={"unit": unit, "description": meaning})


def schema() -> pa.Schema:
    """The columns of parts and results, with units; the same for every plan."""
    fields = [
        _field("point", pa.int64(), "1", "index of the point in the plan"),
        _field("replica", pa.int32(), "1", "independent repetition"),
    ]
    fields += [_field(name, pa.string(), "name", f"{name} of the point") for name in NAMES]
    for name in PARAMETER_COLUMNS:
        parameter = PARAMETERS[name]
        text = name == "range_pages" or bool(parameter.choices)
        fields.append(_field(name, pa.string() if text else pa.float64(), parameter.unit, parameter.meaning))
    fields += [_field(name, pa.float64(), unit, meaning) for name, (unit, meaning) in METRICS.items()]
    return pa.schema(fields)


def compute(plan: Plan, chunk: int) -> pa.Table:
    """Simulate the points of a chunk."""
    if plan.policy_path:
        add_policies(plan.policy_path)
    begin, end = int(plan.chunks[chunk]), int(plan.chunks[chunk + 1])
    columns = plan.columns(begin, end)
    parameters = {name: column for name, column in columns.items() if name in PARAMETERS}
    metrics = simulate(policy=columns["policy"].tolist(), seed=plan.seed, replicas=plan.replicas, **parameters)
    return to_table(plan, begin, end, columns, metrics)


def to_table(
    plan: Plan, begin: int, end: int, columns: dict[str, np.ndarray], metrics: dict[str, np.ndarray]
) -> pa.Table:
    """Parameters [point] and metrics [point, replica] side by side."""
    points, replicas = end - begin, plan.replicas
    data: dict[str, Any] = {
        "point": np.repeat(np.arange(begin, end, dtype=np.int64), replicas),
        "replica": np.tile(np.arange(replicas, dtype=np.int32), points),
    }
    for name in (*NAMES, *PARAMETER_COLUMNS):
        column = columns.get(name)
        if column is None:
            column = np.full(points, np.nan)
        if name == "range_pages":
            text = {each: json.dumps({str(p): w for p, w in each}) for each in set(column.tolist())}
            column = np.array([text[each] for each in column.tolist()], dtype=object)
        data[name] = np.repeat(column, replicas)
    data |= {name: metrics[name].reshape(-1) for name in METRICS}
    form = schema()
    return pa.table({name: pa.array(data[name], form.field(name).type) for name in form.names}, schema=form)
