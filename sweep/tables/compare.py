"""`sweep compare A B`: two result folders side by side, with each point's difference in intervals.

Points are the same if their machine, workload, policy and all parameters that vary within A or B are. Runs of the same
seed and code share their random numbers, so replica r of A belongs to replica r of B: the interval is that of the mean
paired difference (95 %). Else it is the root of the summed squares of both means' half-widths.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sim.metrics import METRICS
from sweep.errors import BadInput, did_you_mean, printable
from sweep.plan.points import NAMES
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.tables import text
from sweep.tables.coordinates import ALWAYS, coordinates
from sweep.tables.replicas import half_width
from sweep.tables.selection import failed_points, representative, simulated, without_copies
from sweep.tables.words import few

ROUNDING = 1e-12  # smaller relative differences are none
MOST_FAILED = 8  # failed points in a message
MARKUP = re.compile(r"[\\`*\[<|~$&#]|(?<!\w)_|_(?!\w)")  # possible markup; an underscore inside a word is none
INTERVALS = {
    True: "95 % intervals of the mean paired difference: same seed and code, hence the same random numbers",
    False: "95 % intervals of both means, unpaired: the runs differ in seed or code",
}


@dataclass(frozen=True)
class Comparison:
    """Points in both runs, and other differences between the two."""

    table: pd.DataFrame  # a row per point: its coordinates, a, b, change_pct, intervals (NaN: not known)
    changed: Mapping[str, tuple[object, object]]  # constants that differ
    paired: bool
    failed: list[str]  # points that failed, in words
    only: tuple[int, int]  # points that are in A alone, and in B alone


def compare(a: pd.DataFrame, b: pd.DataFrame, metric: str) -> Comparison:
    """The metric's means at each point that both runs have, and their difference in intervals."""
    if metric not in METRICS:
        raise BadInput(f"--metric {metric}: must be a metric{did_you_mean(metric, METRICS)}")
    first, second = ((frame.attrs["run"]["points"]["seed"], frame.attrs["run"]["code"]) for frame in (a, b))
    paired = first == second  # the same random numbers
    a, b = (without_copies(representative(frame)) for frame in (a, b))
    keys, changed = _keys(a, b)
    failed = [
        f"{_words(row, keys)} (in {name})"
        for name, frame in (("A", a), ("B", b))
        for _, row in failed_points(frame).iterrows()
    ]
    left, right = (
        simulated(frame).groupby([*keys, "replica"], sort=False, dropna=False)[metric].mean().rename(name).reset_index()
        for name, frame in (("a", a), ("b", b))
    )
    made = (_paired if paired else _unpaired)(left, right, keys)
    shown = [name for name in keys if made[name].nunique(dropna=False) > 1] or ["policy"]
    with np.errstate(divide="ignore", invalid="ignore"):
        change = 100.0 * made["difference"] / made["a"].abs()
    out = made[[*shown, "a", "b"]].assign(change_pct=change.where(made["a"] != 0), intervals=_intervals(made))
    out = out.sort_values("intervals", ascending=False, ignore_index=True, kind="stable")
    counts = [side.groupby(keys, dropna=False).ngroups - len(made) for side in (left, right)]
    return Comparison(out, changed, paired, failed, (counts[0], counts[1]))


def _keys(a: pd.DataFrame, b: pd.DataFrame) -> tuple[list[str], dict[str, tuple[object, object]]]:
    """The coordinates of points within A or B, and the constants that differ between them."""
    names = [name for name in (*NAMES, *PARAMETER_COLUMNS) if name in a and name in b]
    axes = [name for frame in (a, b) for name in coordinates(frame).own if name in names]
    one = max(a["costs"].nunique(), b["costs"].nunique()) <= 1  # runs under different costs have the same points
    keys = [name for name in dict.fromkeys([*NAMES, *ALWAYS, *axes]) if name != "costs" or not one]
    changed = {}
    for name in names:
        values = [frame[name].unique() for frame in (a, b)]
        if name not in keys and all(len(each) == 1 for each in values):
            first, second = values[0][0], values[1][0]
            if pd.Series([first, second]).nunique(dropna=False) == 2:
                changed[name] = (first, second)
    return keys, changed


def _paired(a: pd.DataFrame, b: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Means over the replicas that both have, the mean difference, and its half-width."""
    both = a.merge(b, on=[*keys, "replica"])
    both["difference"] = both["b"] - both["a"]
    of_point = both.groupby(keys, sort=False, dropna=False)
    made = of_point[["a", "b", "difference"]].mean()
    return made.assign(half=half_width(of_point["difference"])).reset_index()


def _unpaired(a: pd.DataFrame, b: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """The same for runs with different random numbers, over all replicas of each."""
    both = ((name, side.groupby(keys, sort=False, dropna=False)[name]) for name, side in (("a", a), ("b", b)))
    left, right = (pd.DataFrame({name: each.mean(), f"half_{name}": half_width(each)}) for name, each in both)
    made = left.reset_index().merge(right.reset_index(), on=keys)
    return made.assign(difference=made["b"] - made["a"], half=np.hypot(made["half_a"], made["half_b"]))


def _intervals(made: pd.DataFrame) -> np.ndarray:
    """The difference over its half-width; NaN if that is not known, infinity if all replicas are equal."""
    rounding = ROUNDING * np.maximum(made["a"].abs(), made["b"].abs())
    difference, half = (each.abs().mask(each.abs() <= rounding, 0.0) for each in (made["difference"], made["half"]))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((difference == 0) & half.notna(), 0.0, difference / half)


def sentences(found: Comparison, metric: str) -> list[str]:
    """Sentences beside the points: constants that differ, and the number of points that moved."""
    known, moved = int(found.table["intervals"].notna().sum()), int((found.table["intervals"] > 1.0).sum())
    lines = [f"{name}: {printable(str(a))} in A, {printable(str(b))} in B" for name, (a, b) in found.changed.items()]
    lines.append(f"{len(found.table)} points in both; {moved} moved by more than one interval ({metric})")
    if without := len(found.table) - known:
        where = " that are in both runs" if found.paired else " in each run"
        lines.append(f"{without} points without an interval: it needs two replicas{where} and a value of the metric")
    lines += [f"{count} points are in {name} alone" for name, count in zip("AB", found.only, strict=True) if count]
    if found.failed:
        words = few([printable(each) for each in found.failed], MOST_FAILED)
        lines.append(f"failed, and not compared: {'; '.join(words)}")
    return [*lines, INTERVALS[found.paired]]


def as_text(found: Comparison, metric: str, rows: int) -> str:
    """The comparison for the terminal: its sentences and first rows."""
    lines = sentences(found, metric)
    if len(found.table) and rows:
        lines += ["", text.as_text(found.table, rows=rows)]
    return "\n".join(lines)


def as_markdown(found: Comparison, metric: str, rows: int) -> str:
    """The comparison as Markdown: a list of sentences and a table, with all markup in texts escaped."""
    lines = [f"- {_escaped(sentence)}" for sentence in sentences(found, metric)]
    if len(found.table) and rows:
        shown = found.table.head(rows)
        cells = [[_escaped(printable(cell)) for cell in text.cells(shown, name)] for name in map(str, shown)]
        numbers = ["--:" if kind.kind in "fiu" else ":--" for kind in shown.dtypes]
        lines += ["", *(f"| {' | '.join(row)} |" for row in ([*shown], numbers, *zip(*cells, strict=True)))]
        if len(found.table) > rows:
            lines += ["", f"{len(found.table) - rows} more points are not shown."]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return MARKUP.sub(r"\\\g<0>", text)


def _words(row: pd.Series, keys: Sequence[str]) -> str:
    return ", ".join(f"{name}={row[name]:g}" if isinstance(row[name], float) else str(row[name]) for name in keys)
