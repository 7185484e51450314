"""One plot: a table with a row per mark, the roles of its columns, and its fixed columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

PLACE = ["machine", "workload"]


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
        """The label of a column on an axis."""
        return self.labels.get(name, name)

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
