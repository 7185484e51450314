"""Measurements in `measurements.csv` and `validation/`: system times of builds, and tables to predict.

Both come from the package and from the user's own folder, whose rows and tables come first.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import pandas as pd
from pydantic import BeforeValidator, Field, model_validator

from sim.metrics import METRICS
from sim.parameters import PARAMETERS, is_number
from sweep.errors import BadInput, did_you_mean
from sweep.inputs.conf import conf_dir, paths_of
from sweep.inputs.door import Checked, Written, admit, shorten
from sweep.inputs.reader import read_text, read_yaml

FILE = "measurements.csv"
FITTED_HERE = "fitted"  # source of a machine's quantity fitted to measurements of that machine
NAMES = ("policy", "machine", "workload")
Positive = Annotated[float, Field(gt=0, le=1e15)]
Model = TypeVar("Model", bound=Checked)
Point = dict[str, str | int | float]  # values by parameter, policy, machine and workload
# A role: predicted; input of the point; lower bound; fitted.
Role = Literal["predict", "input", "at_least", "fitted"]
FITTED = ("flush_wait_ns", "flush_wait_p50_ns", "flush_wait_p99_ns")  # metrics of flush events alone


def _number(cell: Any) -> Any:
    """The number in a cell; anything else as it is."""
    if isinstance(cell, str):
        with suppress(ValueError):
            number = float(cell)
            return int(number) if number.is_integer() else number
    return cell


class MeasuredBuild(Checked):
    """A measured system time: a row of `measurements.csv`."""

    source: str
    machine: str
    workload: str
    cores: Annotated[int, Field(ge=1), BeforeValidator(_number)]
    jobs: Annotated[Positive, BeforeValidator(_number)]
    policy: str
    vanilla_s: Annotated[Positive, BeforeValidator(_number)]
    measured_s: Annotated[Positive, BeforeValidator(_number)]
    fitted: Literal["yes", "no"]
    note: str = ""


class RowFile(Written):
    """A row of a table in `validation/`; all other keys belong to its point."""

    measured: Positive
    between: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None
    role: Role = "predict"
    metric: str | None = None
    note: str = ""


class TableFile(Checked):
    """A table in `validation/`."""

    title: str
    source: str
    metric: str
    point: dict[str, Any] = Field(default_factory=dict)
    less: dict[str, Any] | None = None
    curve: str | None = None
    times: Positive = 1.0
    rows: Annotated[list[dict[str, Any]], Field(min_length=1)]

    @model_validator(mode="after")
    def _measures_something(self) -> TableFile:
        for metric in (self.metric, *(row.get("metric") for row in self.rows)):
            if metric is not None and metric not in METRICS:
                raise ValueError(f"metric={metric!r}: no such metric{did_you_mean(str(metric), METRICS)}")
        return self


class Row(Written):
    """A measured value, and the point that predicts it."""

    point: Point
    metric: str
    measured: Positive
    less: Point | None = None  # the point whose metric is subtracted
    between: tuple[float, float] | None = None  # bounds, if the value is not known exactly
    role: Role = "predict"
    note: str = ""


class Table(Written):
    """Rows that one author measured."""

    name: str
    title: str
    source: str
    rows: list[Row]
    curve: str | None = None  # the key that varies along the curve
    times: Positive = 1.0  # the metric is multiplied by this


@dataclass(frozen=True)
class Measured:
    """All measurements."""

    builds: pd.DataFrame = field(default_factory=lambda: _frame([]))
    tables: tuple[Table, ...] = ()
    fitted_machines: frozenset[str] = frozenset()  # machines of fitted rows

    @property
    def fitted_builds(self) -> list[MeasuredBuild]:
        """The fitted system times; those of vanilla are inputs."""
        rows = self.builds.query("fitted == 'yes' and policy != 'vanilla'").to_dict("records")
        return [MeasuredBuild(**{str(name): value for name, value in row.items()}) for row in rows]

    def choose(self, which: Any) -> tuple[Table, ...]:
        """The tables of these names, or `all`; BadInput for an unknown name."""
        if which == "all":
            return self.tables
        wanted = which if isinstance(which, list) else [which]
        names = [table.name for table in self.tables]
        for name in wanted:
            if name not in names:
                raise BadInput(f"validation={shorten(name)}: no such table{did_you_mean(str(name), ['all', *names])}")
        return tuple(table for table in self.tables if table.name in wanted)


def points_of(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Every point of the rows, once, as a block of a grid."""
    points: list[dict[str, Any]] = []
    for table in tables:
        for row in table.rows:
            points += [dict(each) for each in (row.point, row.less) if each is not None and each not in points]
    return points


def read_measured(folders: Sequence[Path]) -> Measured:
    """All measurements in these folders, in their order."""
    rows = list(dict.fromkeys(row for folder in folders for row in _builds(folder)))
    tables = tuple(read_table(name, path) for name, path in paths_of("validation", folders).items())
    return Measured(_frame(rows), tables, _fitted_machines(rows, tables))


def _fitted_machines(builds: Sequence[MeasuredBuild], tables: Sequence[Table]) -> frozenset[str]:
    rows = [row for table in tables for row in table.rows if row.role == "fitted"]
    return frozenset(
        [*(row.machine for row in builds if row.fitted == "yes"), *(str(row.point.get("machine")) for row in rows)]
    )


def published() -> Measured:
    """The package's measurements."""
    return read_measured([conf_dir()])


def _builds(folder: Path) -> Iterator[MeasuredBuild]:
    """The rows of a folder's `measurements.csv`, if it has one."""
    path = folder / FILE
    return (row for _, row in csv_rows(path, FILE, MeasuredBuild, FILE)) if path.is_file() else iter(())


def csv_rows(path: Path, where: str, model: type[Model], form: str) -> Iterator[tuple[str, Model]]:
    """The checked rows of a CSV file, each after its place; BadInput if the file is not of this form."""
    reader = csv.DictReader(io.StringIO(read_text(path, where)), strict=True)
    try:
        head = list(reader.fieldnames or [])
        missing = [name for name, about in model.model_fields.items() if about.is_required() and name not in head]
        if missing or len(set(head)) < len(head):
            what = f"has no column {missing[0]!r}" if missing else "has two columns of one name"
            raise BadInput(f"{where}: {what}: must be a {form}")
        for fields in reader:
            here = f"{where}, line {reader.line_num}"
            if None in fields or None in fields.values():
                raise BadInput(f"{here}: must have {len(head)} fields, as the first line has")
            yield here, admit(model, fields, here)
    except csv.Error as error:
        raise BadInput(f"{where}, line {reader.line_num}: must be CSV: {error}") from None


def read_table(name: str, path: Path) -> Table:
    """A table of `validation/`; BadInput with key, value and allowed values."""
    document = read_yaml(path, f"validation/{name}")
    content = admit(TableFile, document)
    rows = []
    for number, given in enumerate(content.rows):
        where = f"validation/{name}: rows.{number}"
        row = admit(RowFile, given, where)
        point = content.point | {key: value for key, value in given.items() if key not in RowFile.model_fields}
        less = None if content.less is None else point | content.less
        for each in (point, less or {}):
            _check_point(each, where)
        if content.curve is not None and content.curve not in point:
            raise BadInput(f"{where}: {content.curve}: not given, and the curve varies it")
        if row.role == "fitted":
            _check_fitted(content, row, where)
        given = {"metric": content.metric, **row.model_dump(exclude_none=True)}
        rows.append(Row(point=point, less=less, **given))
    return Table(name=name, rows=rows, **content.model_dump(include={"title", "source", "curve", "times"}))


def _check_point(point: Mapping[str, Any], where: str) -> None:
    """BadInput if a key is no column of results, or its value is not a single number or name."""
    for key, value in point.items():
        if key not in NAMES and key not in PARAMETERS:
            raise BadInput(
                f"{where}: unknown key {key!r}{did_you_mean(key, [*RowFile.model_fields, *NAMES, *PARAMETERS])}"
            )
        number = is_number(key)
        if isinstance(value, bool) or not isinstance(value, int | float if number else str):
            raise BadInput(f"{where}: {key}={shorten(value)}: must be one {'number' if number else 'name'}")


def _check_fitted(table: TableFile, row: RowFile, where: str) -> None:
    """BadInput if a row to fit is not a single value of a metric of flush events alone."""
    metric = row.metric or table.metric
    if metric not in FITTED:
        raise BadInput(f"{where}: role=fitted: metric={metric}: must be {', '.join(FITTED[:-1])} or {FITTED[-1]}")
    for key, given in (("less", table.less), ("between", row.between)):
        if given is not None:
            raise BadInput(f"{where}: role=fitted: {key}={shorten(given)}: a fitted row must be one unchanged value")


class Kept(Written):
    """`measured` of a run.json, from which a run's tables can be made anywhere."""

    builds: list[MeasuredBuild] = Field(default_factory=list)
    tables: list[Table] = Field(default_factory=list)
    fitted_machines: list[str] | None = None  # None: written when builds alone were fitted


def as_json(measured: Measured, which: Any = None, machines: Collection[str] = ()) -> dict[str, Any]:
    """`measured` of a run that predicts these tables; costs of `machines` were fitted to their own measurements."""
    tables = () if which is None else measured.choose(which)
    return {
        "builds": measured.builds.to_dict("records"),
        "tables": [table.model_dump() for table in tables],
        "fitted_machines": sorted({*measured.fitted_machines, *machines}),
    }


def from_json(content: Any, where: str) -> Measured:
    """The measurements of a run.json; the package's if it has none."""
    if content is None:
        return published()
    kept = admit(Kept, content, where)
    machines = _fitted_machines(kept.builds, ()) if kept.fitted_machines is None else frozenset(kept.fitted_machines)
    return Measured(_frame(kept.builds), tuple(kept.tables), machines)


def _frame(builds: Sequence[MeasuredBuild]) -> pd.DataFrame:
    return pd.DataFrame([row.model_dump() for row in builds], columns=list(MeasuredBuild.model_fields))
