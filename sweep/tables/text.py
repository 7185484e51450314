"""Tables as text, and one point's costs with their parts."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import pandas as pd

from sim import METRICS
from sweep.errors import printable
from sweep.tables.draws import posterior_draws, representative
from sweep.tables.replicas import half_width
from sweep.tables.selection import failed_points, simulated

FAR_APART = 1e4  # ratio of numbers in a column that no common number of decimals can show
SHORT = {  # heads for the terminal
    "measured_s": "measured",
    "calibrated_s": "calibrated",
    "calibrated_lo_s": "lo",
    "calibrated_hi_s": "hi",
    "calibrated_error_pct": "error_%",
    "literature_s": "literature",
    "literature_lo_s": "lo",
    "literature_hi_s": "hi",
    "literature_error_pct": "error_%",
    "measured_ratio": "ratio",
    "system_time_half_s": "half_s",
    "interrupts_per_flush": "interrupts",
}


def as_text(table: pd.DataFrame, width: int = 100, rows: int = 40) -> str:
    """A table for the terminal, cut to `rows` rows and the columns that fit into `width`, with its notes."""
    notes = table.attrs.get("notes", [])
    if table.empty:
        return "\n".join(["no rows", *notes])
    shown = _with_bands(table.head(rows).copy())
    for name in shown.columns:
        if shown[name].dtype == float:
            form = _form(shown[name])
            shown[name] = [form(value) for value in shown[name]]
        elif not pd.api.types.is_numeric_dtype(shown[name]):
            shown[name] = [printable(str(value)) for value in shown[name]]
    shown = shown.rename(columns=lambda name: printable(SHORT.get(name, str(name))))
    left_out: list[str] = []
    while len(shown.columns) > 1 and len(shown.to_string(index=False).partition("\n")[0]) > width:
        left_out.insert(0, str(shown.columns[-1]))
        shown = shown.iloc[:, :-1]
    lines = [shown.to_string(index=False)]
    if len(table) > rows:
        lines.append(f"... and {len(table) - rows} rows more in tables/")
    if left_out:
        lines.append(f"(in tables/ too: {', '.join(left_out)})")
    return "\n".join([*lines, *notes])


def terminal_width() -> int:
    """Columns of the terminal; 100 if there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def _with_bands(table: pd.DataFrame) -> pd.DataFrame:
    """A value and its band in one column, `1.44 (1.31-1.62)`; only the files have the median over draws."""
    for name in [str(name) for name in table if f"{name}_05" in table and f"{name}_95" in table]:
        columns = [table[name], table[f"{name}_05"], table[f"{name}_95"]]
        if all(column.dtype.kind in "fi" for column in columns):
            form = _form(pd.concat(columns))
            words = [[form(float(value)) for value in column] for column in columns]
            at = list(table.columns).index(name)
            merged = [said if low == high else f"{said} ({low}-{high})" for said, low, high in zip(*words, strict=True)]
            ends = [f"{name}_{share}" for share in ("05", "50", "95") if f"{name}_{share}" in table]
            table = table.drop(columns=[name, *ends])
            table.insert(at, name, merged)
    return table


def _form(column: pd.Series) -> Callable[[float], str]:
    """The format of a column: whole numbers, equal decimals, or three digits if numbers are far apart."""
    known = column[np.isfinite(column.astype(float))]
    sizes = known[known != 0].abs()
    if (known % 1 == 0).all():
        return lambda value: "-" if value != value else f"{value:.0f}"
    if sizes.max() / sizes.min() > FAR_APART:
        return lambda value: "-" if value != value else f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    decimals = max(0, 2 - int(np.floor(np.log10(sizes.median()))))
    return lambda value: "-" if value != value else f"{value:.{decimals}f}"


PARTS = {
    "bookkeeping_s": "XPFO's own work",
    "sender_s": "flush events on their senders",
    "handler_s": "interrupt handlers on other CPUs",
    "switch_s": "flushes and line accesses at switches",
    "refill_s": "TLB misses after full flushes",
}
MORE = {  # shown if the results have them
    "ratio": "relative to vanilla's system time",
    "wall_time_s": "elapsed time of the build",
    "operations_per_s": "operations of all jobs",
    "operation_ns_total": "time of an operation, flushes included",
    "overhead_ns_per_operation": "CPU time lost per operation, busy CPUs",
    "elongation": "factor by which work takes longer",
    "overhead_share": "share of busy CPUs' time without compute",
    "flush_wait_ns": "length of a flush event, mean",
    "flush_wait_p99_ns": "length of a flush event, 99th percentile",
    "flush_interval_ns": "time between flush events, machine-wide",
    "interrupts_per_flush": "interrupts per flush event",
    "handler_share": "share of a busy CPU's time in handlers",
    "stale_window_ns": "stale window, mean",
    "stale_window_p99_ns": "stale window, 99th percentile",
}


def breakdown(results: pd.DataFrame) -> str:
    """The breakdown of a point: mean over replicas and 95 % half-width of each number; with draws, 5 and 95 %."""
    if results.empty:
        return "no rows"
    first = results.iloc[0]
    head = f"{first['policy']} on {first['machine']}, {first['workload']}: {first['cores']:g} CPUs, -j{first['jobs']:g}"
    failed = failed_points(results)
    results = simulated(results)
    if representative(results).empty:
        return f"{printable(head)}\n\n{printable(str(failed['status'].iloc[0]))}"
    lines = [printable(head), ""]
    if results["system_time_s"].notna().any():  # a build
        lines += [_line("", "base_system_s", results, "vanilla", "s")]
        lines += [_line("+ ", name, results, meaning, "s") for name, meaning in PARTS.items()]
        lines += [_line("= ", "system_time_s", results, "system time of the build", "s"), ""]
    for name, meaning in MORE.items():
        if name in results and results[name].notna().any():
            unit = METRICS[name].unit.removesuffix("1")
            lines.append(_line("", name, results, meaning, unit))
    return "\n".join(lines)


def _line(sign: str, name: str, results: pd.DataFrame, meaning: str, unit: str) -> str:
    values = representative(results)[name].dropna()
    mean, half = (values.mean(), half_width(values)) if len(values) else (float("nan"), float("nan"))
    spread = f"+- {half:.2g}" if half == half and half > 0 else ""
    others = posterior_draws(results)
    if len(others):
        low, high = others.groupby("draw")[name].mean().quantile([0.05, 0.95])
        spread = f"{low:.4g} .. {high:.4g}" if low < high else ""
    number = f"{mean:.6g}" if mean == mean else "-"
    return f"{sign:2}{name:<22}{number:>12} {unit:<3}{spread:<17} {meaning}".rstrip()
