"""The folder of a run: parts committed once, results made from them, what the run was.

run.json         the plan's hash, configuration, overrides, seed, versions, commit
parts/           part-<chunk>.parquet, a row per point and replica; a part counts only if it verifies
results.parquet  all rows, sorted by point and replica; the same bytes for any chunks, workers and crashes
tables/          CSV and Parquet, functions of results.parquet
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from sweep.catalog import BadInput
from sweep.chunk import schema
from sweep.plan import Plan

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

    def write(self, name: str, content: bytes) -> None:
        """All or nothing: a temp file renamed; where there is no rename, the PUT is the commit."""
        target = self.child(name)
        self.filesystem.create_dir(os.path.dirname(target), recursive=True)
        if not self.local:
            with self.filesystem.open_output_stream(target) as stream:
                stream.write(content)
            return
        temporary = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}.{os.getpid()}")
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            Path(temporary).unlink(missing_ok=True)


def open_folder(out: str) -> Folder:
    """The folder of a path or URI, made if it is not there; BadInput where it cannot be written."""
    try:
        if "://" in out:
            filesystem, path = fs.FileSystem.from_uri(out)
        else:
            filesystem, path = fs.LocalFileSystem(), os.path.abspath(out)
        filesystem.create_dir(path, recursive=True)
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"out={out!r}: cannot be opened for writing: {error}") from None
    folder = Folder(filesystem, path.rstrip("/"))
    if folder.local and not os.access(folder.path, os.W_OK | os.X_OK):
        raise BadInput(f"out={out!r}: is not writable")
    return folder


def part_name(chunk: int) -> str:
    return f"parts/part-{chunk:08d}.parquet"


def part_bytes(plan: Plan, chunk: int, table: pa.Table) -> bytes:
    """A part as it is committed: plain pages, and a checksum of the whole file in its footer.

    Compression comes with the results. The checksum is taken with NO_CHECKSUM in its place.
    """
    metadata = {
        "plan": plan.hash,
        "chunk": str(chunk),
        "begin": str(plan.chunks[chunk]),
        "end": str(plan.chunks[chunk + 1]),
        "checksum": NO_CHECKSUM,
    }
    sink = pa.BufferOutputStream()
    plain = {"use_dictionary": False, "compression": "none", "write_statistics": False, "store_schema": False}
    with pq.ParquetWriter(sink, table.schema, **plain) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)
    content = bytes(sink.getvalue())
    return content.replace(NO_CHECKSUM.encode(), _checksum(content).encode())


def _checksum(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def read_part(folder: Folder, plan: Plan, chunk: int) -> pa.Table:
    """The rows of a part; ValueError saying what is wrong with it."""
    content = folder.read(part_name(chunk))
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"cannot be read: {error}") from None
    found = {key.decode(): value.decode() for key, value in (file.metadata.metadata or {}).items()}
    checksum = found.get("checksum", "")
    if not checksum or _checksum(content.replace(checksum.encode(), NO_CHECKSUM.encode())) != checksum:
        raise ValueError("its checksum is wrong")
    begin, end = int(plan.chunks[chunk]), int(plan.chunks[chunk + 1])
    wanted = {"plan": plan.hash, "chunk": str(chunk), "begin": str(begin), "end": str(end)}
    for key, value in wanted.items():
        if found.get(key) != value:
            raise ValueError(f"{key} is {found.get(key)!r}, not {value!r}")
    if table.num_rows != (end - begin) * plan.replicas:
        raise ValueError(f"{table.num_rows} rows, not {(end - begin) * plan.replicas}")
    return table


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


def compact(folder: Folder, plan: Plan) -> None:
    """results.parquet from all parts, in order of points, row group by row group."""
    form = schema()
    attrs = {name: form.field(name).metadata[b"unit"].decode() for name in form.names}
    metadata = {
        "plan": plan.hash,
        "seed": str(plan.seed),
        "PANDAS_ATTRS": json.dumps({"plan": plan.hash, "units": attrs}),
    }
    form = form.with_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, form, compression="zstd", write_page_checksum=True) as writer:
        for table in _regrouped(folder, plan):
            writer.write_table(table.cast(form), row_group_size=ROW_GROUP)
    folder.write("results.parquet", bytes(sink.getvalue()))


def _regrouped(folder: Folder, plan: Plan) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    rows = 0
    for chunk in range(len(plan.chunks) - 1):
        table = read_part(folder, plan, chunk).replace_schema_metadata(None)
        held.append(table)
        rows += table.num_rows
        while rows >= ROW_GROUP:
            whole = pa.concat_tables(held)
            yield whole.slice(0, ROW_GROUP).combine_chunks()
            held, rows = [whole.slice(ROW_GROUP)], rows - ROW_GROUP
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
