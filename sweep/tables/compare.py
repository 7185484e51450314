"""`sweep compare A B`: two result folders side by side, which points moved and by how many intervals.

Points are the same where machine, workload, policy and all parameters that differ within A or B are. A difference is
divided by the root of the squared half-widths (95 %, over replicas) of both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sweep.errors import BadInput
from sweep.plan.points import NAMES
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables.coordinates import ALWAYS, coordinates
from sweep.tables.draws import representative
from sweep.tables.replicas import half_width


def compare(a: pd.DataFrame, b: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, dict[str, tuple[object, object]]]:
    """Points in both with the metric's means and the difference in intervals, and the constants that differ."""
    if metric not in a or metric not in b:
        raise BadInput(f"--metric {metric}: is not a column of both runs")
    a, b = (representative(frame) for frame in (a, b))
    names = [name for name in (*NAMES, *PARAMETER_COLUMNS) if name in a and name in b]
    axes = [name for frame in (a, b) for name in coordinates(frame).own if name in names]
    one = max(a["costs"].nunique(), b["costs"].nunique()) == 1  # runs under different costs have the same points
    keys = list(dict.fromkeys([*(name for name in NAMES if name != "costs" or not one), *ALWAYS, *axes]))
    keys = [name for name in keys if name != "costs" or not one]
    changed = {
        name: (a[name].iloc[0], b[name].iloc[0])
        for name in names
        if name not in keys
        and _one_value(a[name])
        and _one_value(b[name])
        and not _same(a[name].iloc[0], b[name].iloc[0])
    }
    sides = []
    for frame in (a, b):
        grouped = frame.groupby(keys, sort=False, dropna=False)[metric]
        sides.append(pd.DataFrame({"mean": grouped.mean(), "half": grouped.apply(half_width)}))
    both = sides[0].merge(sides[1], left_index=True, right_index=True, suffixes=("_a", "_b")).reset_index()
    difference = both["mean_b"] - both["mean_a"]
    half = np.sqrt(both["half_a"].fillna(0.0) ** 2 + both["half_b"].fillna(0.0) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        intervals = np.where(difference == 0, 0.0, np.abs(difference) / half)
    shown = [name for name in keys if both[name].nunique(dropna=False) > 1] or ["policy"]
    out = both[shown].assign(
        a=both["mean_a"], b=both["mean_b"], change_pct=100.0 * difference / both["mean_a"], intervals=intervals
    )
    return out.sort_values("intervals", ascending=False, ignore_index=True), changed


def as_text(table: pd.DataFrame, changed: Mapping[str, tuple[object, object]], metric: str, rows: int) -> str:
    """The comparison for the terminal: constants that differ, how many points moved, the first rows."""
    moved = table[table["intervals"] > 1.0]
    lines = [f"{name}: {a} in A, {b} in B" for name, (a, b) in changed.items()]
    lines.append(f"{len(table)} points in both; {len(moved)} moved by more than one interval ({metric})")
    if len(table):
        lines += ["", table.head(rows).to_string(index=False, float_format=lambda value: f"{value:.4g}")]
    return "\n".join(lines)


def _one_value(values: pd.Series) -> bool:
    return bool(values.nunique(dropna=False) == 1)


def _same(a: object, b: object) -> bool:
    return a == b or (a != a and b != b)
