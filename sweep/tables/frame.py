"""Results for a notebook: a tidy DataFrame with its units, and a Dataset if the sweep is a full grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sweep.errors import BadInput
from sweep.plan.points import NAMES
from sweep.store import results
from sweep.store.folder import Folder, look, open_run
from sweep.store.rows import PARAMETER_COLUMNS, schema
from sweep.store.run_json import read_run
from sweep.tables.coordinates import Shared, attrs_of, columns_of
from sweep.tables.selection import representative, rows_kept

if TYPE_CHECKING:
    import xarray


def load(out: str | PathLike[str]) -> pd.DataFrame:
    """A row per point and replica; `attrs["units"]` by column, `attrs["run"]` the content of run.json.

    Raises BadInput if `out` is not the folder of a finished run.
    """
    with reading(out):
        folder = open_run(str(out))
        run = read_run(folder)
        frame = read_results(folder)
    frame.attrs["run"] = Shared(run)
    return frame


def concat(outs: Iterable[str | PathLike[str]]) -> pd.DataFrame:
    """The rows of several runs, one run after the other, with a column `run`: the folder as given here.

    `attrs["units"]` is by column, `attrs["runs"]` the content of each run.json by folder. A point's index counts within
    its run. Raises BadInput if a folder is not that of a finished run or is given twice, or if two runs were simulated
    by different code, and so by different models.
    """
    folders = [str(out) for out in ([outs] if isinstance(outs, str | PathLike) else outs)]
    if not folders:
        raise BadInput("no run given: concat needs at least one folder")
    places = [look(out).path for out in folders]
    if twice := next((out for at, out in enumerate(folders) if places[at] in places[:at]), None):
        raise BadInput(f"{twice}: is given twice; its rows would count as two runs")
    frames = {out: load(out) for out in folders}
    runs = {out: dict(frame.attrs["run"]) for out, frame in frames.items()}
    first = folders[0]
    if other := next((out for out in folders if runs[out]["code"] != runs[first]["code"]), None):
        raise BadInput(
            f"{first} and {other}: simulated by different code ({runs[first]['code'][:8]} and "
            f"{runs[other]['code'][:8]}); simulate both with this version"
        )
    joined = pd.concat([frame.assign(run=out) for out, frame in frames.items()], ignore_index=True)
    joined.insert(0, "run", joined.pop("run"))
    units = {name: unit for frame in frames.values() for name, unit in frame.attrs.get("units", {}).items()}
    joined.attrs = {"units": Shared(units | {"run": "name"}), "runs": Shared(runs)}
    return joined


def read_results(folder: Folder) -> pd.DataFrame:
    """results.parquet with `attrs["units"]` and `attrs["coordinates"]` from its metadata."""
    file = open_results(folder, schema().names)
    with reading(folder.child("results.parquet")):
        return as_frame(file.read())


def read_once(folder: Folder, names: Callable[[int], Collection[str]]) -> pd.DataFrame:
    """The columns that `names` gives for so many rows, and coordinates, of points that equal no earlier one.

    `attrs["copies"]` counts the others. Columns are read one by one, to save memory.
    """
    file = open_results(folder, schema().names)
    attrs, there = attrs_of(file.schema_arrow.metadata), file.schema_arrow.names

    def column(name: str) -> pd.Series:
        return file.read([name])[name].to_pandas()

    with reading(folder.child("results.parquet")):
        kept, copied = rows_kept(there, column)
        rows = slice(None) if kept.all() else kept
        wanted = {*names(file.metadata.num_rows), *columns_of(attrs)}
        frame = pd.DataFrame({name: column(name)[rows] for name in there if name in wanted}, copy=False)
    frame.attrs |= attrs if kept.all() else attrs | {"copies": copied}
    return frame


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Rows as a DataFrame; `attrs` are the table's metadata."""
    attrs = attrs_of(table.schema.metadata)
    frame = table.replace_schema_metadata(None).to_pandas()
    frame.attrs = attrs
    return frame


def open_results(folder: Folder, needed: Sequence[str]) -> pq.ParquetFile:
    """results.parquet, to be read column by column; BadInput if it is damaged or lacks a needed column."""
    where, file = folder.child("results.parquet"), results.read_results(folder)
    with reading(where):
        found = file.schema_arrow
    attrs_of(found.metadata)
    for name in needed:
        at, is_text = found.get_field_index(name), schema().field(name).type == pa.string()
        if at < 0 or is_text == (pa.types.is_floating(found.types[at]) or pa.types.is_integer(found.types[at])):
            kind = "text" if is_text else "numbers"
            raise BadInput(f"{where}: has no column {name!r} of {kind}: another program or version wrote it")
    return file


@contextmanager
def reading(out: object) -> Iterator[None]:
    """BadInput with one sentence if a file cannot be read inside this block."""
    try:
        yield
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise BadInput(f"{out}: cannot be read: {why}") from None


def _plain(column: pd.Series) -> Any:
    """A column with NaN for missing values, whatever library's types it has."""
    if not pd.api.types.is_extension_array_dtype(column.dtype):
        return column
    kind = float if pd.api.types.is_numeric_dtype(column.dtype) else object
    return column.to_numpy(dtype=kind, na_value=float("nan"))


def to_xarray(frame: pd.DataFrame) -> xarray.Dataset:
    """Metrics over the varying parameters, [axis, ..., draw, replica]; ValueError if the points are not a full grid.

    An axis tied to another one, like sockets to cores in a zip, becomes a coordinate of it. Joined runs are an axis, if
    each has all points.
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"{type(frame).__name__}: must be a DataFrame of sweep.load()")
    units = frame.attrs.get("units", {})
    frame = frame.assign(**{str(name): _plain(column) for name, column in frame.items()})
    parameters = [name for name in (*NAMES, *PARAMETER_COLUMNS, "run") if name in frame]
    single = representative(frame)  # under other draws uncertain costs vary too
    varying = [name for name in parameters if single[name].nunique(dropna=False) > 1]
    axes: list[str] = []
    follows: dict[str, str] = {}
    for name in varying:
        owner = next((axis for axis in axes if single.groupby(axis)[name].nunique(dropna=False).max() == 1), None)
        if owner is None:
            axes.append(name)
        else:
            follows[name] = owner
    index = [*axes, *(["draw"] if len(single) < len(frame) else []), "replica"]
    rows = math.prod(frame[name].nunique(dropna=False) for name in index)
    if rows != len(frame) or frame.duplicated(index).any():
        raise ValueError(f"not a full grid: {len(frame)} rows, and {', '.join(index)} span {rows}")
    made = frame.set_index(index).drop(columns=["point", *{"draw", *parameters} - {*index}]).to_xarray()
    for name, owner in follows.items():
        values = single.drop_duplicates(owner).set_index(owner)[name].reindex(made[owner].to_index())
        made = made.assign_coords({name: (owner, values.to_numpy())})
    for name in (*made.data_vars, *made.coords):
        if units.get(str(name), "name") not in ("name", ""):
            made[name].attrs["units"] = units[str(name)]
    constant: dict[str, Any] = {name: single[name].iloc[0] for name in parameters if name not in varying}
    return made.assign_attrs({name: value for name, value in constant.items() if value == value and value is not None})
