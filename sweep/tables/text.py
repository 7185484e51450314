"""Tables as plain text for a terminal or a pipe, and one point's costs with their parts."""

import io
import re
import shutil
import textwrap
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from sim import METRICS
from sweep.errors import printable
from sweep.tables.replicas import half_width
from sweep.tables.selection import failed_points, posterior_draws, representative, simulated
from sweep.tables.words import number

FAR_APART = 1e4  # ratio of numbers in a column that no common number of decimals can show
GAP = 2  # spaces between two columns
HEAD = 13  # characters up to which a head stays in one line, counting an underscore twice
OF_A_POINT = ("operation_ns_total", "flush_interval_ns", "handler_share")  # shown beside the main metrics


def terminal_width() -> int:
    """Columns of the terminal; 100 if there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = (), folded: Sequence[int] = (), most: int = 0) -> str:
    """Rows of cells as lines of at most `most` characters, or of the terminal's width.

    Columns with indices in `right` are aligned right; those in `folded` are narrowed if there is no room.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, GAP, 0, 0), pad_edge=False)
    for column in range(len(rows[0]) if rows else 0):
        table.add_column(justify="right" if column in right else "left", no_wrap=column not in folded, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    page = io.StringIO()
    Console(file=page, width=most or terminal_width(), color_system=None, force_terminal=False).print(table)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def as_text(table: pd.DataFrame, width: int = 0, rows: int = 40) -> str:
    """A table with its notes, cut to `rows` rows and the columns that fit into `width`, or the terminal's width."""
    notes = table.attrs.get("notes", [])
    if table.empty:
        return "\n".join(["no rows", *notes])
    shown = table.head(rows)
    ends = {f"{name}_{share}" for name in shown for share in ("05", "50", "95") if f"{name}_95" in shown}
    names = [str(name) for name in shown if name not in ends]
    columns: list[tuple[list[str], list[str]]] = []
    right, taken, most = [], 0, width or terminal_width()
    for at, name in enumerate(names):
        column = cells(shown, name)
        longest = max(map(len, column))
        head = [part.replace("_ ", "_") for part in textwrap.wrap(name.replace("_", "_ "), max(longest, HEAD),
                                                                  break_long_words=False)]  # fmt: skip
        is_number = any(cell.lstrip("-")[:1].isdecimal() for cell in column)  # also `1.44x` beside `never`
        right += [at] if is_number else []
        taken += max(map(len, [*head, *(column if is_number else " ".join(column).split())])) + GAP
        if taken > most + GAP and columns:
            break
        columns.append((head, column))
    left_out = names[len(columns) :]
    height = max(len(head) for head, _ in columns)
    lines_of = zip(*([*[""] * (height - len(head)), *head, *column] for head, column in columns), strict=True)
    lines = [aligned(list(lines_of), right, [at for at in range(len(columns)) if at not in right], most)]
    if len(table) > rows:
        lines.append(f"... and {len(table) - rows} more rows")
    if left_out:
        lines.append(f"(columns left out: {', '.join(map(printable, left_out))})")
    return "\n".join([*lines, *notes])


def cells(table: pd.DataFrame, name: str) -> list[str]:
    """A column's values with their bands, `1.44 (1.31-1.62)`; only the files have the median over draws."""
    if table[name].dtype.kind not in "fiu":
        return [str(value) for value in table[name]]
    columns = table[[each for each in (name, f"{name}_05", f"{name}_95") if each in table]].to_numpy(float)
    form = _form(columns)
    words = [["-" if value != value else form(value) for value in row] for row in columns]
    return [f"{said} ({'-'.join(ends)})" if len({*ends}) > 1 else said for said, *ends in words]


def _form(values: np.ndarray) -> Callable[[float], str]:
    """The format of a column: whole numbers, equal decimals, or three digits if numbers are far apart."""
    known = values[np.isfinite(values)]
    sizes = np.abs(known[known != 0])
    if (known % 1 == 0).all():
        return "{:.0f}".format
    if sizes.max() / sizes.min() > FAR_APART:
        return number
    return f"{{:.{max(0, 2 - int(np.floor(np.log10(np.median(sizes)))))}f}}".format


def breakdown(results: pd.DataFrame) -> str:
    """The breakdown of a point: mean over replicas and 95 % half-width of each number; with draws, 5 and 95 %."""
    if results.empty:
        return "no rows"
    first = results.iloc[0]
    head = f"{first['policy']} on {first['machine']}, {first['workload']}: {first['cores']:g} CPUs, -j{first['jobs']:g}"
    failed, results = failed_points(results), simulated(results)
    if representative(results).empty:
        return f"{printable(head)}\n\n{printable(str(failed['status'].iloc[0]))}"
    rows = []
    if results["system_time_s"].notna().any():  # a build
        rows.append(["", *_row("base_system_s", results), "vanilla"])
        rows += [["+", *_row(name, results), _meaning(name)] for name, metric in METRICS.items() if metric.part]
    for name, metric in METRICS.items():
        if (metric.main or name in OF_A_POINT) and name in results and results[name].notna().any():
            rows.append(["=" if name == "system_time_s" else "", *_row(name, results), _meaning(name)])
    return f"{printable(head)}\n\n{aligned(rows, right=(2,), folded=(5,))}"


def _row(name: str, results: pd.DataFrame) -> list[str]:
    values = representative(results)[name].dropna()
    half = half_width(values)
    spread = f"+- {half:.2g}" if half > 0 else ""
    others = posterior_draws(results)
    if len(others):
        low, high = others.groupby("draw")[name].mean().quantile([0.05, 0.95])
        spread = f"{low:.4g} .. {high:.4g}" if low < high else ""
    unit = METRICS[name].unit.removesuffix("1") if name in METRICS else "s"
    return [name, f"{values.mean():.6g}" if len(values) else "-", unit, spread]


def _meaning(name: str) -> str:
    return re.split("[:;]", METRICS[name].meaning.removeprefix("part of added_s: "))[0]
