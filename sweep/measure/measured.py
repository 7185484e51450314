"""An earlier measured.csv: every row checked by its columns' types and ranges."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import BeforeValidator, model_validator

from sweep.errors import BadInput
from sweep.inputs.door import Written, admit
from sweep.inputs.reader import read_text
from sweep.measure.experiment import MOST_CPUS, REGION_PAGES, Call


def number(low: float, high: float, whole: bool = False, known: bool = True) -> BeforeValidator:
    """A check of a field with a number; an empty one is not known, if that is allowed."""
    kind = f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}"

    def check(text: Any) -> float:
        if not known and (text is None or not str(text).strip() or str(text).strip().lower() == "nan"):
            return math.nan
        try:
            value = float(text)
        except (TypeError, ValueError):
            value = math.nan
        if not low <= value <= high or (whole and value != int(value)):
            raise ValueError(f"must be {kind}")
        return value

    return BeforeValidator(check)


Time = Annotated[float, number(1e-3, 1e12)]
Count = Annotated[float, number(0, 1e15, known=False)]


class Row(Written):
    """A point of measured.csv of `sweep measure`; other columns are ignored."""

    model_config = Written.model_config | {"allow_inf_nan": True}

    call: Call
    callers: Annotated[int, number(1, MOST_CPUS, whole=True)]
    spinners: Annotated[int, number(0, MOST_CPUS, whole=True)]
    think_ns: Annotated[float, number(0, 1e12)]
    pages: Annotated[int, number(0, REGION_PAGES, whole=True)]
    asked_think_ns: Annotated[float, number(0, 1e12)]
    measured_p50_ns: Time
    measured_p99_ns: Time
    calls_per_s: Annotated[float, number(0, 1e12)]
    call_count: Annotated[float, number(1, 1e15)]
    cal_per_call: Count = math.nan
    away_count: Count = math.nan
    away_p50_ns: Count = math.nan

    @model_validator(mode="after")
    def _pages(self) -> Row:
        if (self.pages == 0) != (self.call == "membarrier"):
            raise ValueError(f"pages={self.pages}: {self.call} has {'none' if self.call == 'membarrier' else 'some'}")
        return self


def read_measured(path: Path, cpus: int) -> pd.DataFrame:
    """The points of a measured.csv of this machine, in order; BadInput with line, column and allowed values."""
    where = f"--measured={path}"
    reader = csv.DictReader(io.StringIO(read_text(path, where)), strict=True)
    rows = []
    try:
        head = list(reader.fieldnames or [])
        missing = [name for name, about in Row.model_fields.items() if about.is_required() and name not in head]
        if missing or len(set(head)) < len(head):
            what = f"has no column {missing[0]!r}" if missing else "has two columns of one name"
            raise BadInput(f"{where}: {what}: must be a measured.csv of `sweep measure`")
        for fields in reader:
            here = f"{where}, line {reader.line_num}"
            if None in fields or None in fields.values():
                raise BadInput(f"{here}: must have {len(head)} fields, as the first line has")
            row = admit(Row, fields, here)
            if row.callers + row.spinners > cpus:
                raise BadInput(f"{here}: {row.callers} callers and {row.spinners} others: this machine has {cpus} CPUs")
            rows.append(row.model_dump())
    except csv.Error as error:
        raise BadInput(f"{where}, line {reader.line_num}: must be CSV: {error}") from None
    if not rows:
        raise BadInput(f"{where}: has no point")
    return pd.DataFrame(rows)
