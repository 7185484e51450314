"""One plot: a small table with a row per mark, and which of its columns go where."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pandas as pd

from sweep.tables.setting import LINUX_CEILING

PLACE = ["machine", "workload"]


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
    spoken_of: str = ""  # the panel that the answer speaks of; empty: any
    beyond: float | None = None  # where `x` goes beyond what was measured, which is shaded; None: nowhere

    @property
    def panel(self) -> list[str]:
        """The columns by which one part is drawn at a time, chosen from a list; none: all is drawn at once."""
        among = {"heat": ["policy", *PLACE], "scatter": PLACE if "front" in self.table else None, "lines": PLACE}
        names = among.get(self.kind)
        if names is None:
            return []
        return [*(name for name in names if self.table[name].nunique() > 1), "setting"]

    @property
    def chosen(self) -> str:
        """The panel that is shown first: of several the one with Linux's ceiling."""
        known = [str(name) for name in self.panels().unique()]
        linux = (name for name in known if re.search(rf"\bceiling {LINUX_CEILING}\b", name))
        return self.spoken_of or next(linux, known[0] if known else "")

    def panels(self) -> pd.Series:
        """Of which panel each row is, in words."""
        rows = self.table[self.panel].astype(str).itertuples(index=False)
        return pd.Series([", ".join(filter(None, row)) for row in rows], index=self.table.index, dtype=object)
