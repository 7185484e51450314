"""One plot: a table with a row per mark, the roles of its columns, and its fixed columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sim.metrics import METRICS
from sim.parameters import PARAMETERS

PLACE = ["machine", "workload"]
WORDS = {
    "ratio": "system time relative to vanilla's", "added_s": "added system time, s",
    "overhead_ns_per_operation": "CPU time lost per operation",
    "stale_window_p99_ns": "stale window, 99th percentile", "cores": "logical CPUs", "jobs": "make -j",
    "jobs_per_core": "make -j per CPU", "ceiling": "tlb_single_page_flush_ceiling, pages",
}  # fmt: skip


@dataclass(frozen=True)
class Plot:
    """One plot: its data and their presentation.

    `kind` is dots, lines, heat, front, scatter, stack or table. Columns `<y>_lo` and `<y>_hi`, if present, are an
    interval. A plot shows one value at a time of every `fixed` column; with `choices`, these follow from the column of
    its x axis.
    """

    name: str
    title: str
    note: str
    kind: str
    table: pd.DataFrame
    x: str = ""
    y: str = ""
    z: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)  # of columns, with units
    series: str = "policy"
    log: tuple[str, ...] = ()  # columns on a logarithmic axis
    fixed: tuple[str, ...] = ()
    chosen: Mapping[str, Any] = field(default_factory=dict)  # the first value shown of each fixed column
    choices: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)  # of x and y: columns to choose
    lit: tuple[str, ...] = ()  # names of the coloured series; none: all
    beyond: Mapping[str, float] = field(default_factory=dict)  # by column: the largest measured value

    def label(self, name: str) -> str:
        """The label of a column on an axis; by default of a parameter or metric, with its unit."""
        if name in self.labels or name in WORDS:
            return self.labels.get(name) or WORDS[name]
        if name in METRICS:
            text, unit = METRICS[name].meaning.partition(";")[0].partition(":")[0], METRICS[name].unit
            return text if unit == "1" or name.endswith("_ns") else f"{text}, {unit}"
        return f"{name}, {PARAMETERS[name].unit}" if name in PARAMETERS else name

    def columns(self) -> list[str]:
        """The columns of its marks, with those of an interval."""
        shown = [self.series, *self.fixed, self.x, self.y, f"{self.y}_lo", f"{self.y}_hi", self.z]
        return [name for name in dict.fromkeys(shown) if name in self.table]

    def shown(self, chosen: Mapping[str, Any]) -> pd.DataFrame:
        """The rows with these values of the fixed columns."""
        keep = np.ones(len(self.table), dtype=bool)
        for name in self.fixed:
            if name in chosen:
                keep &= same(self.table[name], chosen[name])
        return self.table[keep]


def same(column: pd.Series, value: Any) -> np.ndarray:
    """Whether each row of a column has this value; missing values are equal."""
    return (column.isna() if value != value or value is None else column == value).to_numpy()
