"""Earlier measured.csv and lines.csv: every row checked by its columns' types and ranges."""

import math
from pathlib import Path
from typing import Annotated, Literal, Self

import pandas as pd
from pydantic import model_validator

from sweep.errors import BadInput
from sweep.inputs.door import Written
from sweep.inputs.measured import csv_rows
from sweep.measure.experiment import REGION_PAGES, Call, within
from sweep.measure.topology import MOST_CPUS

Time = Annotated[float, within(1e-3, 1e12, text=True)]
Count = Annotated[float, within(0, 1e15, text=True, unknown=True)]


class MeasuredCall(Written):
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


class MeasuredTransfer(Written):
    """A row of lines.csv: a pair's one-way time, or the time between writes of several CPUs to one line."""

    kind: Literal["pair", "plain", "atomic", "test_first"]
    cpus: Annotated[int, within(1, MOST_CPUS, whole=True, text=True)]
    one: Annotated[int, within(0, 1e6, whole=True, text=True)]
    other: Annotated[int, within(0, 1e6, whole=True, text=True)]
    ns: Annotated[float, within(1e-4, 1e9, text=True)]


def read_measured(path: Path, cpus: int) -> pd.DataFrame:
    """The points of a measured.csv of this machine, in order; BadInput with line, column and allowed values."""
    rows = []
    for here, row in csv_rows(path, f"--measured={path}", MeasuredCall, "measured.csv of `sweep measure`"):
        if row.callers + row.spinners > cpus:
            raise BadInput(f"{here}: {row.callers} callers and {row.spinners} others: this machine has {cpus} CPUs")
        rows.append(row.model_dump())
    if not rows:
        raise BadInput(f"--measured={path}: has no point")
    return pd.DataFrame(rows)


def read_lines(path: Path) -> pd.DataFrame:
    """An earlier lines.csv; BadInput with line, column and allowed values."""
    rows = [row.model_dump() for _, row in csv_rows(path, str(path), MeasuredTransfer, "lines.csv of `sweep measure`")]
    return pd.DataFrame(rows, columns=list(MeasuredTransfer.model_fields))
