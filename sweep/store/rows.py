"""The rows of points: columns with units, and Arrow tables of parameters and metrics."""

import json
from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from sim import METRICS, PARAMETERS
from sweep.plan.columns import constant, pointwise
from sweep.plan.plan import Plan
from sweep.plan.points import CONTROLS, NAMES

PARAMETER_COLUMNS = tuple(name for name in PARAMETERS if name not in CONTROLS)
FAILURES = b"failures"  # key of a table's metadata: [[point, error, traceback], ...]
Points = range | np.ndarray  # indices of points, ascending


@cache
def schema() -> pa.Schema:
    """The columns of parts and results, with units; the same for every plan."""
    number, text = pa.float64(), pa.string()
    parameters = [(name, PARAMETERS[name]) for name in PARAMETER_COLUMNS]
    columns = [
        ("point", pa.int64(), "1", "index of the point in the plan"),
        ("replica", pa.int32(), "1", "independent repetition"),
        *((name, text, "name", f"{name} of the point") for name in NAMES),
        ("draw", pa.int32(), "1", "number of the cost sample; 0 is the representative one"),
        *((name, number if each.is_number else text, each.unit, each.meaning) for name, each in parameters),
        *((name, number, metric.unit, metric.description) for name, metric in METRICS.items()),
        ("status", text, "name", "ok, or failed: and the reason; then its metrics are NaN"),
    ]
    return pa.schema(
        [pa.field(name, kind, metadata={"unit": unit, "description": about}) for name, kind, unit, about in columns]
    )


def columns_of(plan: Plan, points: Points) -> dict[str, np.ndarray]:
    """Names and model parameters of these points, ascending, as arrays [point]."""
    columns = plan.columns(int(points[0]), int(points[-1]) + 1)
    if isinstance(points, range):
        return columns
    return {name: column[points - points[0]] for name, column in columns.items()}


def failed_rows(plan: Plan, point: int, error: str, trace: str) -> pa.Table:
    """The rows of a failed point."""
    error, trace = (text.encode("utf-8", "replace").decode() for text in (error, trace))  # Parquet's text is UTF-8
    one = range(point, point + 1)
    try:
        columns = columns_of(plan, one)
    except Exception:  # decoding itself may have failed
        columns = {}
    metrics = {name: np.full((1, plan.replicas), np.nan) for name in METRICS}
    table = to_table(plan, one, columns, metrics, f"failed: {' '.join(error.split())[:500]}")
    return table.replace_schema_metadata({FAILURES: json.dumps([[point, error, trace]])})


def failures(table: pa.Table) -> list[tuple[int, str, str]]:
    """Point, error and traceback of every failed point of a table."""
    found = json.loads((table.schema.metadata or {}).get(FAILURES, b"[]"))
    return [(point, error, trace) for point, error, trace in found]


def join_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of different points as one, sorted by point and replica."""
    if len(tables) == 1:
        return tables[0]
    whole = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    points = whole["point"].to_numpy()
    if (np.diff(points) < 0).any():
        whole = whole.take(np.argsort(points, kind="stable"))
    lost = sorted(each for table in tables for each in failures(table))
    return whole.replace_schema_metadata({FAILURES: json.dumps(lost)} if lost else None).combine_chunks()


def to_table(
    plan: Plan, points: Points, columns: dict[str, np.ndarray], metrics: dict[str, np.ndarray], status: str = "ok"
) -> pa.Table:
    """Parameters [point] and metrics [point, replica] side by side."""
    replicas = plan.replicas
    data: dict[str, pa.Array] = {
        "point": pa.array(np.repeat(np.asarray(points, dtype=np.int64), replicas)),
        "replica": pa.array(np.tile(np.arange(replicas, dtype=np.int32), len(points))),
    }
    number, text = pa.float64(), pa.string()
    unknown = {number: np.nan, pa.int32(): 0, text: None}
    columns = columns | {"status": constant(status, len(points))}
    for name, kind in setting_columns().items():
        column = columns[name] if name in columns else constant(unknown[kind], len(points))
        if name == "range_pages":
            column = pointwise(_as_text, column)
        data[name] = pa.array(np.repeat(column, replicas), kind)
    data |= {name: pa.array(metrics[name].reshape(-1)) for name in METRICS}
    return pa.Table.from_arrays([data[name] for name in schema().names], schema=schema())


@cache
def setting_columns() -> dict[str, pa.DataType]:
    """Columns of names, parameters and status: all but indices and metrics."""
    return {name: schema().field(name).type for name in (*NAMES, "draw", *PARAMETER_COLUMNS, "status")}


def _as_text(pages: np.ndarray) -> np.ndarray:
    """Pages and their weights as JSON; null if they are not known."""
    listed = pages.tolist()
    text = {each: None if each is None else json.dumps({str(p): w for p, w in each}) for each in set(listed)}
    return np.array([text[each] for each in listed], dtype=object)
