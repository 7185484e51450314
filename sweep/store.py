"""The folder of a run: parts committed once, results made from them, what the run was.

run.json         the plan's hash, configuration, overrides, seed, versions, commit
parts/           part-<chunk>.parquet, a row per point and replica; a part counts only if it verifies
journal.jsonl    when what was computed, where and how long it took; nothing is made from it
results.parquet  all rows, sorted by point and replica; the same bytes for any chunks, workers and crashes
failures.parquet the points that failed, with traceback; only if there are any
tables/          CSV and Parquet, functions of results.parquet
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from sim import METRICS
from sweep.catalog import BadInput
from sweep.chunk import CONSTANTS, FAILURES, failures, given, schema
from sweep.chunk import failed as rows_of_failure
from sweep.plan import Plan
from sweep.stop import Stopped

NO_CHECKSUM = "sha256:" + "0" * 64
ROW_GROUP = 131_072  # rows; fixed, so that results do not show how the sweep was cut


@dataclass(frozen=True)
class Folder:
    """A run's folder on any filesystem that pyarrow opens."""

    filesystem: fs.FileSystem
    path: str

    @property
    def local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def __str__(self) -> str:
        if not self.local:
            return self.path
        relative = os.path.relpath(self.path)
        return self.path if relative.startswith("..") else relative

    def child(self, name: str) -> str:
        return f"{self.path}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self.filesystem.get_file_info(self.child(name)).type != fs.FileType.NotFound)

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; hidden ones left out."""
        selector = fs.FileSelector(self.child(folder), allow_not_found=True)
        files = [info.base_name for info in self.filesystem.get_file_info(selector) if info.is_file]
        return sorted(name for name in files if not name.startswith("."))

    def read(self, name: str) -> bytes:
        with self.filesystem.open_input_stream(self.child(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, content: bytes | bytearray) -> None:
        """All or nothing: a temp file renamed; where there is no rename, the PUT is the commit."""
        with self.writing(name) as file:
            file.write(content)

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write in pieces that is there under its name only when whole; Stopped where there is no room."""
        target = self.child(name)
        self.filesystem.create_dir(os.path.dirname(target), recursive=True)
        directory = os.path.dirname(target) if self.local else tempfile.gettempdir()
        temporary = os.path.join(directory, f".{os.path.basename(target)}.{socket.gethostname()}.{os.getpid()}")
        written = 0
        try:
            with open(temporary, "wb") as file:
                yield file
                written = file.tell()
                file.flush()
                os.fsync(file.fileno())
            if self.local:
                os.replace(temporary, target)
            else:
                with open(temporary, "rb") as file, self.filesystem.open_output_stream(target) as stream:
                    while piece := file.read(1 << 23):
                        stream.write(piece)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            size = written or os.path.getsize(temporary)
            raise Stopped(
                1, f"no room in {directory} for {name}: {size} bytes or more are needed ({error.strerror}); nothing of "
                "it was kept"
            ) from None  # fmt: skip
        finally:
            Path(temporary).unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self.exists(name):
            self.filesystem.delete_file(self.child(name))


def open_folder(out: str, make: bool = True) -> Folder:
    """The folder of a path or URI, made if it is not there; BadInput where it cannot be written."""
    try:
        if "://" in out:
            filesystem, path = fs.FileSystem.from_uri(out)
        else:
            filesystem, path = fs.LocalFileSystem(), os.path.abspath(out)
        if make:
            filesystem.create_dir(path, recursive=True)
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"out={out!r}: cannot be opened for writing: {error}") from None
    folder = Folder(filesystem, path.rstrip("/"))
    if not make:
        return folder
    if folder.local and not os.access(folder.path, os.W_OK | os.X_OK):
        raise BadInput(f"out={out!r}: is not writable")
    return folder


def part_name(chunk: int) -> str:
    return f"parts/part-{chunk:08d}.parquet"


def part_bytes(plan: Plan, chunk: int, table: pa.Table) -> bytearray:
    """A part as it is committed: plain pages, and in its footer what is the same in all rows, and a checksum.

    Compression comes with the results. The checksum is taken with NO_CHECKSUM in its place.
    """
    known = (table.schema.metadata or {}).get(CONSTANTS)
    same = json.loads(known) if known else constants(table)
    metadata = {
        "plan": plan.hash,
        "chunk": str(chunk),
        "begin": str(plan.chunks[chunk]),
        "end": str(plan.chunks[chunk + 1]),
        "checksum": NO_CHECKSUM,
        "constants": json.dumps(same),
    }
    if lost := (table.schema.metadata or {}).get(FAILURES):
        metadata[FAILURES.decode()] = lost.decode()
    sink = pa.BufferOutputStream()
    plain = {"use_dictionary": False, "compression": "none", "write_statistics": False, "store_schema": False}
    varying = table.select([name for name in table.column_names if name not in same])
    with pq.ParquetWriter(sink, varying.schema, **plain) as writer:
        writer.write_table(varying)
        writer.add_key_value_metadata(metadata)
    content = bytearray(sink.getvalue())
    at = content.rindex(NO_CHECKSUM.encode())
    content[at : at + len(NO_CHECKSUM)] = _checksum(content).encode()
    return content


def write_part(folder: Folder, plan: Plan, chunk: int, table: pa.Table) -> None:
    """Commit a chunk: the same bytes under the same name, whoever does it and how often."""
    folder.write(part_name(chunk), part_bytes(plan, chunk, table))


def remove_unfinished(folder: Folder) -> None:
    """Temp files that workers left when they were killed in a commit; only while nobody commits."""
    if folder.local:
        for path in Path(folder.child("parts")).glob(".part-*"):
            path.unlink(missing_ok=True)


def constants(table: pa.Table) -> dict[str, Any]:
    """Parameters and names that are one value in all rows; metrics are left out, whose NaN are not all alike."""
    found = {}
    for name in given():
        column = table[name].combine_chunks() if table[name].num_chunks > 1 else table[name].chunk(0)
        first = column[0].as_py()
        if pa.types.is_string(column.type):
            one = column.null_count == len(column) if first is None else pc.all(pc.equal(column, first)).as_py()
            one = one and column.null_count in (0, len(column))
        else:
            bits = column.to_numpy().view(np.int64 if column.type == pa.float64() else np.int32)
            one = bits[-1] == bits[0] and bool((bits == bits[0]).all())
        if one:
            found[name] = first
    return found


def _checksum(content: bytes | bytearray) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def read_part(folder: Folder, plan: Plan, chunk: int) -> pa.Table:
    """The rows of a part; ValueError saying what is wrong with it."""
    table, found = verified(folder.read(part_name(chunk)))
    begin, end = int(plan.chunks[chunk]), int(plan.chunks[chunk + 1])
    wanted = {"plan": plan.hash, "chunk": str(chunk), "begin": str(begin), "end": str(end)}
    for key, value in wanted.items():
        if found.get(key) != value:
            raise ValueError(f"{key} is {found.get(key)!r}, not {value!r}")
    if table.num_rows != (end - begin) * plan.replicas:
        raise ValueError(f"{table.num_rows} rows, not {(end - begin) * plan.replicas}")
    lost = found.get(FAILURES.decode())
    return table.replace_schema_metadata({FAILURES: lost} if lost else None)


def verified(content: bytes) -> tuple[pa.Table, dict[str, str]]:
    """Rows and footer of any plan's part whose checksum is right; ValueError saying what is wrong."""
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"cannot be read: {error}") from None
    found = {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}
    checksum = found.get("checksum", "")
    blank = bytearray(content)
    at = blank.rfind(checksum.encode())
    blank[at : at + len(checksum)] = NO_CHECKSUM.encode()
    if not checksum or _checksum(blank) != checksum:
        raise ValueError("its checksum is wrong")
    same = json.loads(found.get("constants", "{}"))
    form = schema()
    columns = [
        pa.repeat(pa.scalar(same[name], form.field(name).type), table.num_rows) if name in same else table[name]
        for name in form.names
    ]
    return pa.Table.from_arrays(columns, schema=form), found


def with_failures(folder: Folder, chunks: Iterable[int]) -> set[int]:
    """Those of these chunks whose parts hold points that failed."""
    out = set()
    for chunk in chunks:
        with folder.filesystem.open_input_file(folder.child(part_name(chunk))) as file:
            if FAILURES in (pq.ParquetFile(file).metadata.metadata or {}):
                out.add(chunk)
    return out


def finished(folder: Folder, plan: Plan) -> tuple[set[int], dict[int, str]]:
    """Chunks whose parts verify, and what is wrong with the parts that do not."""
    good, bad = set(), {}
    for name in folder.names("parts"):
        number = name.removeprefix("part-").removesuffix(".parquet")
        if not (name.startswith("part-") and number.isdigit()):
            continue
        chunk = int(number)
        if chunk >= len(plan.chunks) - 1:
            bad[chunk] = "no such chunk in this plan"
            continue
        try:
            read_part(folder, plan, chunk)
            good.add(chunk)
        except ValueError as error:
            bad[chunk] = str(error)
    return good, bad


def set_aside(folder: Folder, chunk: int) -> str:
    """Give a broken part a name that says so; the new name."""
    name = part_name(chunk)
    aside = name.replace("parts/", "broken/")
    folder.filesystem.create_dir(folder.child("broken"), recursive=True)
    folder.filesystem.move(folder.child(name), folder.child(aside))
    return aside


def compact(folder: Folder, plan: Plan) -> int:
    """results.parquet from all parts, in order of points, row group by row group; the number of points that failed.

    These are in failures.parquet too, with traceback. Memory holds a row group and a part, whatever the plan.
    """
    form = schema()
    attrs = {name: form.field(name).metadata[b"unit"].decode() for name in form.names}
    metadata = {
        "plan": plan.hash,
        "seed": str(plan.seed),
        "PANDAS_ATTRS": json.dumps({"plan": plan.hash, "units": attrs}),
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
            row = rows_of_failure(plan, point, error, trace).slice(0, 1).select(names).replace_schema_metadata(None)
            row = row.append_column("error", pa.array([error])).append_column("traceback", pa.array([trace]))
            writer.write_table(row.cast(form))


def failed_before(folder: Folder) -> int:
    """The number of points in failures.parquet."""
    if not folder.exists("failures.parquet"):
        return 0
    with folder.filesystem.open_input_file(folder.child("failures.parquet")) as file:
        return int(pq.ParquetFile(file).metadata.num_rows)


def whole(folder: Folder, plan: Plan) -> bool:
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


def claim(folder: Folder, run: dict[str, Any]) -> None:
    """Write run.json, or check that the one there is of the same plan; BadInput naming the first difference."""
    if folder.exists("run.json"):
        try:
            before = json.loads(folder.read("run.json"))
        except ValueError:
            raise BadInput(f"out={folder}: holds a run.json that is not JSON; choose another folder") from None
        if before.get("plan") != run["plan"]:
            raise BadInput(f"out={folder}: holds another plan: {_first_difference(before, run)}; choose another folder")
        if before.get("chunk_bounds") != run["chunk_bounds"]:
            raise BadInput(f"out={folder}: its parts are cut at chunk_s={before['chunk_s']}, not {run['chunk_s']}")
        return
    if folder.names("parts") or folder.exists("results.parquet"):
        raise BadInput(f"out={folder}: holds parts or results without a run.json; choose another folder")
    folder.write("run.json", json.dumps(run, indent=2, default=str).encode() + b"\n")


def _first_difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    for part in ("points", "code", "versions"):
        old, new = before.get(part), after.get(part)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            for key in [*old, *new]:
                if old.get(key) != new.get(key):
                    return f"{part}.{key} was {old.get(key)!r} and is {new.get(key)!r}"
        return f"{part} was {old!r} and is {new!r}"
    return f"its plan hash is {str(before.get('plan'))[:8]}, not {str(after['plan'])[:8]}"
