"""Earlier measured.csv and lines.csv: every row checked by its columns' types and ranges."""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import pandas as pd
from pydantic import model_validator

from sweep.errors import BadInput
from sweep.inputs.door import Written, admit
from sweep.inputs.reader import read_text
from sweep.measure.experiment import REGION_PAGES, Call, within
from sweep.measure.topology import MOST_CPUS

Time = Annotated[float, within(1e-3, 1e12, text=True)]
Count = Annotated[float, within(0, 1e15, text=True, unknown=True)]
Row = TypeVar("Row", bound=Written)


class Measured(Written):
    """A point of measured.csv of `sweep measure`; other columns are ignored."""

    model_config = Written.model_config | {"allow_inf_nan": True}

    call: Call
    callers: Annotated[int, within(1, MOST_CPUS, whole=True, text=True)]
    spinners: Annotated[int, within(0, MOST_CPUS, whole=True, text=True)]
    think_ns: Annotated[float, within(0, 1e12, text=True)]
    pages: Annotated[int, within(0, REGION_PAGES, whole=True, text=True)]
    asked_think_ns: Annotated[float, within(0, 1e12, text=True)]
    measured_p50_ns: Time
    measured_p99_ns: Time
    calls_per_s: Annotated[float, within(0, 1e12, text=True)]
    call_count: Annotated[float, within(1, 1e15, text=True)]
    cal_per_call: Count = math.nan
    away_count: Count = math.nan
    away_p50_ns: Count = math.nan

    @model_validator(mode="after")
    def _pages(self) -> Self:
        if (self.pages == 0) != (self.call == "membarrier"):
            raise ValueError(f"pages={self.pages}: {self.call} has {'none' if self.call == 'membarrier' else 'some'}")
        return self


class Line(Written):
    """A row of lines.csv: a pair's one-way time, or the time between writes of several CPUs to one line."""

    kind: Literal["pair", "plain", "atomic", "test_first"]
    cpus: Annotated[int, within(1, MOST_CPUS, whole=True, text=True)]
    one: Annotated[int, within(0, 1e6, whole=True, text=True)]
    other: Annotated[int, within(0, 1e6, whole=True, text=True)]
    ns: Annotated[float, within(1e-4, 1e9, text=True)]


def read_measured(path: Path, cpus: int) -> pd.DataFrame:
    """The points of a measured.csv of this machine, in order; BadInput with line, column and allowed values."""
    rows = []
    for here, row in _rows(path, f"--measured={path}", Measured, "measured.csv"):
        if row.callers + row.spinners > cpus:
            raise BadInput(f"{here}: {row.callers} callers and {row.spinners} others: this machine has {cpus} CPUs")
        rows.append(row.model_dump())
    if not rows:
        raise BadInput(f"--measured={path}: has no point")
    return pd.DataFrame(rows)


def read_lines(path: Path) -> pd.DataFrame:
    """An earlier lines.csv; BadInput with line, column and allowed values."""
    rows = [row.model_dump() for _, row in _rows(path, str(path), Line, "lines.csv")]
    return pd.DataFrame(rows, columns=list(Line.model_fields))


def _rows(path: Path, where: str, model: type[Row], name: str) -> Iterator[tuple[str, Row]]:
    """Checked rows of a CSV file, each after its place; BadInput for another form."""
    reader = csv.DictReader(io.StringIO(read_text(path, where)), strict=True)
    try:
        head = list(reader.fieldnames or [])
        missing = [name for name, about in model.model_fields.items() if about.is_required() and name not in head]
        if missing or len(set(head)) < len(head):
            what = f"has no column {missing[0]!r}" if missing else "has two columns of one name"
            raise BadInput(f"{where}: {what}: must be a {name} of `sweep measure`")
        for fields in reader:
            here = f"{where}, line {reader.line_num}"
            if None in fields or None in fields.values():
                raise BadInput(f"{here}: must have {len(head)} fields, as the first line has")
            yield here, admit(model, fields, here)
    except csv.Error as error:
        raise BadInput(f"{where}, line {reader.line_num}: must be CSV: {error}") from None
