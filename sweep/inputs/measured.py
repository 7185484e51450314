"""What was measured, in `measurements.csv` and `validation/`: system times of builds, and tables that are predicted.

Both come from the package and from the user's own folder, whose rows and tables come first.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, model_validator

from sim.metrics import METRICS
from sweep.errors import BadInput, did_you_mean
from sweep.inputs.conf import conf_dir, paths_of
from sweep.inputs.door import Checked, Written, admit, shorten
from sweep.inputs.reader import check_resolvers, read_yaml

FILE = "measurements.csv"
Positive = Annotated[float, Field(gt=0, le=1e15)]
Role = Literal["predict", "input", "at_least"]  # is predicted; went into the point; bounds from below


class Build(Checked):
    """A measured system time: a row of `measurements.csv`."""

    source: str
    machine: str
    workload: str
    cores: Annotated[int, Field(ge=1)]
    jobs: Positive
    policy: str
    vanilla_s: Positive
    measured_s: Positive
    fitted: Literal["yes", "no"]
    note: str = ""


class RowFile(Written):
    """A row of a table in `validation/`; every other key is one of its point."""

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


@dataclass(frozen=True)
class Row:
    """A measured value, and the point that predicts it."""

    point: Mapping[str, Any]
    metric: str
    measured: float
    less: Mapping[str, Any] | None = None  # the point whose metric is taken off
    between: tuple[float, float] | None = None  # where the measured value is only known to lie
    role: Role = "predict"
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows that one author measured."""

    name: str
    title: str
    source: str
    rows: tuple[Row, ...]
    curve: str | None = None  # the key that varies along it
    times: float = 1.0  # the metric is multiplied by this


@dataclass(frozen=True)
class Measured:
    """All that was measured."""

    builds: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(Build.model_fields)))
    tables: tuple[Table, ...] = ()

    @property
    def fitted_machines(self) -> set[str]:
        """Machines that the costs are fitted to."""
        return set(self.builds.loc[self.builds["fitted"] == "yes", "machine"])

    def choose(self, which: Any) -> tuple[Table, ...]:
        """The tables of these names, or `all`; BadInput where there is none of a name."""
        if which == "all":
            return self.tables
        wanted = which if isinstance(which, list) else [which]
        names = [table.name for table in self.tables]
        for name in wanted:
            if name not in names:
                raise BadInput(f"validation={shorten(name)}: no such table{did_you_mean(str(name), ['all', *names])}")
        return tuple(table for table in self.tables if table.name in wanted)


def points_of(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """Every point that some row needs, once, as a block of a grid."""
    points: list[dict[str, Any]] = []
    for table in tables:
        for row in table.rows:
            points += [dict(each) for each in (row.point, row.less) if each is not None and each not in points]
    return points


def read_measured(folders: Sequence[Path]) -> Measured:
    """All that was measured, of these folders; those given first come first."""
    rows = list(dict.fromkeys(row for folder in folders for row in _builds(folder)))
    builds = pd.DataFrame([row.model_dump() for row in rows], columns=list(Build.model_fields))
    return Measured(builds, tuple(read_table(name, path) for name, path in paths_of("validation", folders).items()))


def published() -> Measured:
    """What comes with the package."""
    return read_measured([conf_dir()])


def _builds(folder: Path) -> Iterator[Build]:
    """The rows of a folder's `measurements.csv`, if it has one."""
    path = folder / FILE
    if not path.is_file():
        return
    try:
        lines = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{FILE}: cannot be read: {error}") from None
    for number, line in enumerate(lines, start=2):
        where = f"{FILE}, line {number}"
        if None in line or None in line.values():
            raise BadInput(f"{where}: needs one value for each of {', '.join(Build.model_fields)}")
        yield admit(Build, {name: _number(name, value) for name, value in line.items()}, where)


def _number(name: str, value: str) -> Any:
    """A cell of a column of numbers as a number, if it is one."""
    if name not in ("cores", "jobs", "vanilla_s", "measured_s"):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() and name == "cores" else number


def read_table(name: str, path: Path) -> Table:
    """A table of `validation/`; BadInput naming key, value and what is allowed."""
    document = read_yaml(path, f"validation/{name}")
    check_resolvers(document)
    content = admit(TableFile, document)
    rows = []
    for number, given in enumerate(content.rows):
        where = f"validation/{name}: rows.{number}"
        row = admit(RowFile, given, where)
        point = content.point | {key: value for key, value in given.items() if key not in RowFile.model_fields}
        between = None if row.between is None else (row.between[0], row.between[1])
        less = None if content.less is None else point | content.less
        rows.append(Row(point, row.metric or content.metric, row.measured, less, between, row.role, row.note))
    return Table(name, content.title, content.source, tuple(rows), content.curve, content.times)


def as_json(measured: Measured, which: Any = None) -> dict[str, Any]:
    """What a run keeps, so that its tables can be made wherever it is carried."""
    tables = () if which is None else measured.choose(which)
    return {"builds": measured.builds.to_dict("records"), "tables": [asdict(table) for table in tables]}


class Kept(Written):
    """`measured` of a run.json."""

    builds: list[dict[str, Any]] = Field(default_factory=list)
    tables: list[dict[str, Any]] = Field(default_factory=list)


def from_json(content: Any, where: str) -> Measured:
    """The same again; what the package has where a run keeps nothing."""
    if content is None:
        return published()
    kept = admit(Kept, content, where)
    builds = pd.DataFrame(
        [admit(Build, row, where).model_dump() for row in kept.builds], columns=list(Build.model_fields)
    )
    try:
        tables = tuple(Table(**{**table, "rows": tuple(_row(row) for row in table["rows"])}) for table in kept.tables)
    except (TypeError, KeyError, ValueError) as error:
        raise BadInput(f"{where}: its tables cannot be read: {error}") from None
    return Measured(builds, tables)


def _row(content: Mapping[str, Any]) -> Row:
    between = content["between"]
    return Row(**{**content, "between": None if between is None else (float(between[0]), float(between[1]))})
