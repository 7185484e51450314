"""Parts: a chunk committed once, under a name of its own, with a checksum in its footer."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sweep.errors import Stopped
from sweep.plan.columns import one_value
from sweep.plan.plan import Plan
from sweep.store.folder import Folder, reason
from sweep.store.rows import FAILURES, failures, schema, setting_columns

FAILURE = "failure"  # column of a part in which points failed: error and traceback as JSON
NO_CHECKSUM = "sha256:" + "0" * 64


def part_name(chunk: int) -> str:
    return f"parts/part-{chunk:08d}.parquet"


def part_bytes(plan: Plan, chunk: int, table: pa.Table) -> bytearray:
    """The bytes of a part: plain pages, and a footer with values common to all rows and a checksum.

    Only results are compressed. The checksum is computed with NO_CHECKSUM in its place. The place is found by a digest
    of the footer, which no error text in it can contain.
    """
    same = constants(table)
    metadata = {
        "plan": plan.hash,
        "chunk": str(chunk),
        "begin": str(plan.chunks[chunk]),
        "end": str(plan.chunks[chunk + 1]),
        "constants": json.dumps(same),
    }
    place = _checksum(json.dumps(metadata).encode())
    metadata["checksum"] = place
    sink = pa.BufferOutputStream()
    plain = {"use_dictionary": False, "compression": "none", "write_statistics": False, "store_schema": False}
    varying = table.select([name for name in table.column_names if name not in same])
    if lost := failures(table):
        varying = varying.append_column(FAILURE, _failure_column(table, lost))
    with pq.ParquetWriter(sink, varying.schema, **plain) as writer:
        writer.write_table(varying)
        writer.add_key_value_metadata(metadata)
    content = bytearray(sink.getvalue())
    at = content.rindex(place.encode())
    content[at : at + len(place)] = NO_CHECKSUM.encode()
    content[at : at + len(place)] = _checksum(content).encode()
    return content


def write_part(folder: Folder, plan: Plan, chunk: int, table: pa.Table) -> None:
    """Commit a chunk: always the same bytes under the same name, from any process."""
    folder.write(part_name(chunk), part_bytes(plan, chunk, table))


def constants(table: pa.Table) -> dict[str, Any]:
    """Parameters and names with one value in all rows; not metrics, whose NaN differ."""
    return {name: table[name][0].as_py() for name in setting_columns() if one_value(table[name].to_numpy())}


def _checksum(content: bytes | bytearray) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def read_part(folder: Folder, plan: Plan, chunk: int) -> pa.Table:
    """The rows of a part; ValueError with its error."""
    bounds = {"begin": str(plan.chunks[chunk]), "end": str(plan.chunks[chunk + 1])}
    return read_part_of(folder, plan.hash, chunk, plan.replicas, **bounds)


def read_part_of(folder: Folder, plan: str, chunk: int, replicas: int, **bounds: str) -> pa.Table:
    """The rows of a part of the plan with this hash; ValueError with its error."""
    table, found = verify(folder.read(part_name(chunk)))
    for key, value in ({"plan": plan, "chunk": str(chunk)} | bounds).items():
        if found.get(key) != value:
            raise ValueError(f"{key} is {found.get(key)!r}, not {value!r}")
    rows = (int(found["end"]) - int(found["begin"])) * replicas
    if table.num_rows != rows:
        raise ValueError(f"{table.num_rows} rows, not {rows}")
    return table


def verify(content: bytes) -> tuple[pa.Table, dict[str, str]]:
    """Rows and footer of a part of any plan with a correct checksum; ValueError with its error."""
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        found = {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise ValueError(f"cannot be read: {reason(error)}") from None
    checksum = found.get("checksum", "")
    blank = bytearray(content)
    at = blank.rfind(checksum.encode())
    blank[at : at + len(checksum)] = NO_CHECKSUM.encode()
    if not checksum or _checksum(blank) != checksum:
        raise ValueError("its checksum is wrong")
    try:
        table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"cannot be read: {reason(error)}") from None
    same = json.loads(found.get("constants", "{}"))
    form = schema()
    columns = [
        pa.repeat(pa.scalar(same[name], form.field(name).type), table.num_rows) if name in same else table[name]
        for name in form.names
    ]
    whole = pa.Table.from_arrays(columns, schema=form)
    if FAILURE in table.column_names:
        rows = zip(whole["point"].to_pylist(), table[FAILURE].to_pylist(), strict=True)
        lost = [(point, *json.loads(text)) for point, text in rows if text is not None]
        whole = whole.replace_schema_metadata({FAILURES: json.dumps(lost)})
    return whole, found


def _failure_column(table: pa.Table, lost: Sequence[tuple[int, str, str]]) -> pa.Array:
    """Error and traceback as JSON in the first row of each failed point; a column may be larger than a footer."""
    texts = {point: json.dumps([error, trace]) for point, error, trace in lost}
    return pa.array([texts.pop(point, None) for point in table["point"].to_pylist()], pa.string())


def check_parts(folder: Folder, plan: Plan) -> tuple[dict[int, int], dict[int, str]]:
    """The number of failed points of each chunk with a valid part, and the errors of the other parts."""
    good, bad = {}, {}
    for chunk in committed(folder):
        if chunk >= len(plan.chunks) - 1:
            bad[chunk] = "no such chunk in this plan"
            continue
        try:
            good[chunk] = len(failures(read_part(folder, plan, chunk)))
        except ValueError as error:
            bad[chunk] = str(error)
    return good, bad


def committed(folder: Folder, chunks: int | None = None) -> list[int]:
    """Chunks that have a part, among the first `chunks`; similar names do not count."""
    found = [chunk_of(name) for name in folder.names("parts")]
    return [chunk for chunk in found if chunk is not None and (chunks is None or chunk < chunks)]


def chunk_of(name: str) -> int | None:
    """The chunk whose part has this name in parts/; None if there is none."""
    number = name.removeprefix("part-").removesuffix(".parquet")
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        return None
    return int(number) if part_name(int(number)) == f"parts/{name}" else None


def set_aside(folder: Folder, chunk: int) -> str:
    """Rename a broken part; return its new name."""
    name = part_name(chunk)
    aside = name.replace("parts/", "broken/")
    try:
        folder.make_folder(folder.child("broken"))
        folder.filesystem.move(folder.child(name), folder.child(aside))
    except (OSError, pa.ArrowException) as error:
        raise Stopped(1, f"{folder.child(name)}: cannot be moved to {aside}: {reason(error)}") from None
    return aside
