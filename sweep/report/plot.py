"""One plot: a table with a row per mark, which of its columns go where, and which of its columns are held fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

PLACE = ["machine", "workload"]


@dataclass(frozen=True)
class Plot:
    """One plot: its data and how they are to be drawn.

    `kind` is dots, lines, heat, front, scatter, stack or table. Columns `<y>_lo` and `<y>_hi`, where there, are an
    interval. A plot shows one value at a time of every column that is `fixed`; of a plot with `choices`, these follow
    from the column that is its x.
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
    chosen: Mapping[str, Any] = field(default_factory=dict)  # a value of each fixed column, which is shown first
    choices: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)  # of x and y: columns to choose
    lit: tuple[str, ...] = ()  # names of the series that are coloured; none: all are
    beyond: Mapping[str, float] = field(default_factory=dict)  # by column: from where on nothing was measured

    def label(self, name: str) -> str:
        """What an axis says of a column."""
        return self.labels.get(name, name)

    def shown(self, chosen: Mapping[str, Any]) -> pd.DataFrame:
        """The rows with these values of the fixed columns."""
        keep = np.ones(len(self.table), dtype=bool)
        for name in self.fixed:
            if name in chosen:
                keep &= same(self.table[name], chosen[name])
        return self.table[keep]


def same(column: pd.Series, value: Any) -> np.ndarray:
    """Where a column has this value; one that is not there equals itself."""
    return (column.isna() if value != value or value is None else column == value).to_numpy()
