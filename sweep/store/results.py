"""results.parquet from all parts, its digest, and failures.parquet beside it."""

import hashlib
import json
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sim import METRICS
from sweep.errors import BadInput, Stopped
from sweep.plan.coordinates import coordinates
from sweep.plan.engine import APPROXIMATE
from sweep.plan.plan import Plan
from sweep.store.folder import Folder
from sweep.store.parts import part_name, read_part
from sweep.store.rows import failed_rows, failures, schema

NAME = "results.parquet"
DIGEST = "results.sha256"
FAILED = "failures.parquet"
ROW_GROUP = 131_072  # rows; fixed, so that results do not depend on chunks


def compact(folder: Folder, plan: Plan) -> int:
    """Make results.parquet from all parts, in order of points, by row groups; return the number of failed points.

    These are also in failures.parquet, with traceback. Only a row group and a part are in memory, for any plan. The
    digest comes last: without it the results are not valid.
    """
    form = schema_of(plan)
    lost: list[tuple[int, str, str]] = []
    folder.remove(DIGEST)
    with folder.writing(NAME) as file:
        with pq.ParquetWriter(file, form, compression="zstd", write_page_checksum=True) as writer:
            for table in _regrouped(folder, plan, lost):
                writer.write_table(table.cast(form), row_group_size=ROW_GROUP)
                del table
        if lost:
            write_failures(folder, plan, lost)
        else:
            folder.remove(FAILED)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder.write(DIGEST, f"{digest}  {NAME}\n".encode())
    return len(lost)


def schema_of(plan: Plan) -> pa.Schema:
    """The columns of results; their metadata has the plan, units and coordinates."""
    form = schema()
    units = {name: form.field(name).metadata[b"unit"].decode() for name in form.names}
    attrs = {"plan": plan.hash, "units": units, "coordinates": coordinates(plan.space.blocks)}
    attrs |= {"approximation": APPROXIMATE} if plan.is_approximate else {}
    return form.with_metadata({"plan": plan.hash, "seed": str(plan.seed), "PANDAS_ATTRS": json.dumps(attrs)})


def write_failures(folder: Folder, plan: Plan, lost: Sequence[tuple[int, str, str]]) -> None:
    """failures.parquet: a row per failed point with its parameters, error and traceback."""
    names = [name for name in schema().names if name not in ("replica", "status", *METRICS)]
    form = pa.schema([schema().field(name) for name in names])
    form = form.append(pa.field("error", pa.string())).append(pa.field("traceback", pa.string()))
    with folder.writing(FAILED) as file, pq.ParquetWriter(file, form, compression="zstd") as writer:
        for point, error, trace in lost:
            row = failed_rows(plan, point, error, trace).slice(0, 1).select(names).replace_schema_metadata(None)
            row = row.append_column("error", pa.array([error])).append_column("traceback", pa.array([trace]))
            writer.write_table(row.cast(form))


def read_results(folder: Folder) -> pq.ParquetFile:
    """results.parquet with a correct digest; BadInput with a remedy otherwise."""
    content = folder.read(NAME)
    if (wrong := _disbelief(folder, hashlib.sha256(content).hexdigest())) is not None:
        raise BadInput(f"{folder}/{NAME}: {wrong}: the command of the run rebuilds it from its parts")
    try:
        return pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    except (OSError, pa.ArrowException) as error:
        raise BadInput(f"{folder}/{NAME}: cannot be read: {error}") from None


def count_failures(folder: Folder) -> int:
    """The number of failed points of the results."""
    with folder.filesystem.open_input_file(folder.child(NAME)) as file:
        table = pq.ParquetFile(file).read(["point", "status"])
    return len(pc.unique(table["point"].filter(pc.not_equal(table["status"], "ok"))))


def is_complete(folder: Folder, failed: int) -> bool:
    """Whether there is a valid results.parquet, and failures.parquet if points failed."""
    if not folder.is_file(NAME) or (failed and not folder.is_file(FAILED)):
        return False
    with folder.filesystem.open_input_stream(folder.child(NAME)) as stream:
        return _disbelief(folder, hashlib.file_digest(stream, "sha256").hexdigest()) is None


def _disbelief(folder: Folder, digest: str) -> str | None:
    """The reason why the results are not valid; None if they are."""
    if not folder.is_file(DIGEST):
        return f"has no {DIGEST} beside it"
    words = folder.read(DIGEST).decode("ascii", "replace").split()
    return None if words[:1] == [digest] else f"was changed: it does not match {DIGEST}"


def _regrouped(folder: Folder, plan: Plan, lost: list[tuple[int, str, str]]) -> Iterator[pa.Table]:
    held = schema().empty_table().replace_schema_metadata(None)
    for chunk in range(len(plan.chunks) - 1):
        try:
            table = read_part(folder, plan, chunk)
        except (BadInput, FileNotFoundError, ValueError) as error:
            why = "does not exist any more" if isinstance(error, FileNotFoundError) else str(error)
            raise Stopped(1, f"{part_name(chunk)} was damaged or removed since it was committed: {why}") from None
        lost += failures(table)
        held = pa.concat_tables([held, table.replace_schema_metadata(None)])
        del table  # frees memory before the next part
        while held.num_rows >= ROW_GROUP:
            yield held.slice(0, ROW_GROUP).combine_chunks()
            held = held.slice(ROW_GROUP)
    if held.num_rows:
        yield held.combine_chunks()
