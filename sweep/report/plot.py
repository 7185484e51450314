"""One plot: a small table with a row per mark, and which of its columns go where."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Plot:
    """One plot: its data and how they are to be drawn.

    `kind` is dots, lines, heat, scatter, stack or table. Columns `<y>_lo` and `<y>_hi`, where there, are an interval.
    """

    name: str
    title: str
    note: str
    kind: str
    table: pd.DataFrame
    x: str = ""
    y: str = ""
    z: str = ""
    labels: dict[str, str] = field(default_factory=dict)  # of columns, with units
    series: str = "policy"
    log: tuple[str, ...] = ()  # columns drawn on a logarithmic axis
