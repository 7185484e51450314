"""results.parquet from all parts, and failures.parquet beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from sim import METRICS
from sweep.plan.coordinates import coordinates
from sweep.plan.plan import Plan
from sweep.store.folder import Folder
from sweep.store.parts import read_part
from sweep.store.rows import failed_rows, failures, schema

ROW_GROUP = 131_072  # rows; fixed, so that results do not show how the sweep was cut


def compact(folder: Folder, plan: Plan) -> int:
    """results.parquet from all parts, in order of points, row group by row group; the number of points that failed.

    These are in failures.parquet too, with traceback. Memory holds a row group and a part, whatever the plan.
    """
    form = schema()
    units = {name: form.field(name).metadata[b"unit"].decode() for name in form.names}
    metadata = {
        "plan": plan.hash,
        "seed": str(plan.seed),
        "PANDAS_ATTRS": json.dumps({"plan": plan.hash, "units": units, "coordinates": coordinates(plan.space.blocks)}),
    }
    form = form.with_metadata(metadata)
    lost: list[tuple[int, str, str]] = []
    with folder.writing("results.parquet") as file:
        with pq.ParquetWriter(file, form, compression="zstd", write_page_checksum=True) as writer:
            for table in _regrouped(folder, plan, lost):
                writer.write_table(table.cast(form), row_group_size=ROW_GROUP)
        if lost:  # before the results are there: who finds these believes that all is done
            write_failures(folder, plan, lost)
        else:
            folder.remove("failures.parquet")
    return len(lost)


def write_failures(folder: Folder, plan: Plan, lost: Sequence[tuple[int, str, str]]) -> None:
    """failures.parquet: a row per failed point, its parameters as they were to be simulated, error and traceback."""
    names = [name for name in schema().names if name not in ("replica", "status", *METRICS)]
    form = pa.schema([schema().field(name) for name in names])
    form = form.append(pa.field("error", pa.string())).append(pa.field("traceback", pa.string()))
    with folder.writing("failures.parquet") as file, pq.ParquetWriter(file, form, compression="zstd") as writer:
        for point, error, trace in lost:
            row = failed_rows(plan, point, error, trace).slice(0, 1).select(names).replace_schema_metadata(None)
            row = row.append_column("error", pa.array([error])).append_column("traceback", pa.array([trace]))
            writer.write_table(row.cast(form))


def count_failures(folder: Folder) -> int:
    """The number of points in failures.parquet."""
    if not folder.exists("failures.parquet"):
        return 0
    with folder.filesystem.open_input_file(folder.child("failures.parquet")) as file:
        return int(pq.ParquetFile(file).metadata.num_rows)


def is_complete(folder: Folder, plan: Plan) -> bool:
    """Whether results.parquet is there and of this plan."""
    if not folder.exists("results.parquet"):
        return False
    try:
        with folder.filesystem.open_input_file(folder.child("results.parquet")) as file:
            found = pq.ParquetFile(file).metadata
    except (OSError, pa.ArrowException):
        return False
    same = (found.metadata or {}).get(b"plan") == plan.hash.encode()
    return same and bool(found.num_rows == len(plan) * plan.replicas)


def _regrouped(folder: Folder, plan: Plan, lost: list[tuple[int, str, str]]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    rows = 0
    for chunk in range(len(plan.chunks) - 1):
        table = read_part(folder, plan, chunk)
        lost += failures(table)
        table = table.replace_schema_metadata(None)
        held.append(table)
        rows += table.num_rows
        while rows >= ROW_GROUP:
            joined = pa.concat_tables(held)
            yield joined.slice(0, ROW_GROUP).combine_chunks()
            held, rows = [joined.slice(ROW_GROUP)], rows - ROW_GROUP
    if rows:
        yield pa.concat_tables(held).combine_chunks()
