"""Tables of a run: pure functions of results.parquet, written as CSV and Parquet."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sweep import surface
from sweep.conf import conf_dir
from sweep.store import Folder, open_folder

UNCALIBRATED = "central literature costs, uncalibrated; intervals are the replicas' (95 %)"
SUMMARY = ("system_time_s", "added_s", "ratio", "wall_time_s", "flush_wait_ns", "interrupts_per_flush")


def half_width(values: pd.Series) -> float:
    """95 % half-width of the mean over replicas (Student's t)."""
    if len(values) < 2:
        return float("nan")
    quantile = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 1 to 9 degrees of freedom
    degrees = len(values) - 1
    t = quantile[degrees - 1] if degrees <= len(quantile) else 1.96 + 2.4 / degrees
    return float(t * values.std(ddof=1) / np.sqrt(len(values)))


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """A row per point: its coordinates, and the main metrics' means with the half-width of system time."""
    table, coordinates = surface.means(results, list(SUMMARY))
    half = results.groupby("point")["system_time_s"].apply(half_width).rename("system_time_half_s")
    constant = [name for name in coordinates if table[name].nunique(dropna=False) == 1 and name != "policy"]
    return table.drop(columns=constant).join(half, on="point")


def reproduction(results: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """The published system times beside the simulated ones, for the points that were measured.

    Intervals are the replicas'. A measurement belongs to a point of the same machine, workload, policy, cores, jobs
    and vanilla baseline.
    """
    keys = ["machine", "workload", "policy", "cores", "jobs"]
    rows = []
    groups = dict(list(results.groupby([*keys, "base_system_s"], sort=False)))
    for _, row in measured.iterrows():
        group = groups.get((*(row[key] for key in keys), row["vanilla_s"]))
        if group is None:
            continue
        mean, half = group["system_time_s"].mean(), half_width(group["system_time_s"])
        rows.append(
            {
                "machine": row["machine"],
                "policy": row["policy"],
                "cores": int(row["cores"]),
                "jobs": int(row["jobs"]),
                "measured_s": row["measured_s"],
                "simulated_s": mean,
                "simulated_lo_s": mean - half,
                "simulated_hi_s": mean + half,
                "measured_ratio": row["measured_s"] / row["vanilla_s"],
                "simulated_ratio": mean / row["vanilla_s"],
                "error_pct": 100.0 * (mean / row["measured_s"] - 1.0),
            }
        )
    return pd.DataFrame(rows)


def measurements() -> pd.DataFrame:
    """The published system times, `conf/measurements.csv`."""
    return pd.read_csv(conf_dir() / "measurements.csv")


def make_tables(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Every table that the results allow, the main one first."""
    made = {"reproduction": reproduction(results, measurements()), "summary": summary(results)}
    if 2 * len(made["reproduction"]) < len(made["summary"]):  # measured points are a minority: not what was asked
        made["reproduction"] = made.pop("reproduction")
    for make in (surface.scaling, surface.crossover, surface.best_ceiling, surface.pareto, surface.counters):
        made[make.__name__] = make(results)
    return {name: table for name, table in made.items() if len(table)}


def write_tables(folder: Folder) -> dict[str, pd.DataFrame]:
    """Make the tables of a run's results and write them; tables by name, the main one first."""
    made = make_tables(pq.ParquetFile(pa.BufferReader(folder.read("results.parquet"))).read().to_pandas())
    for name, table in made.items():
        folder.write(f"tables/{name}.csv", table.to_csv(index=False).encode())
        folder.write(f"tables/{name}.parquet", table.to_parquet(index=False))
    return made


SHORT = {  # heads for the terminal
    "measured_s": "measured",
    "simulated_s": "simulated",
    "simulated_lo_s": "lo",
    "simulated_hi_s": "hi",
    "measured_ratio": "ratio",
    "simulated_ratio": "sim_ratio",
    "system_time_half_s": "half_s",
    "interrupts_per_flush": "interrupts",
}


def as_text(table: pd.DataFrame, width: int = 100, rows: int = 40) -> str:
    """A table for the terminal, cut to `rows` rows and the columns that fit into `width`."""
    shown = table.head(rows).copy()
    for name in shown.columns:
        if shown[name].dtype == float:
            shown[name] = [_number(value) for value in shown[name]]
    shown = shown.rename(columns=SHORT)
    left_out: list[str] = []
    while len(shown.columns) > 1 and len(shown.to_string(index=False).partition("\n")[0]) > width:
        left_out.insert(0, str(shown.columns[-1]))
        shown = shown.iloc[:, :-1]
    lines = [shown.to_string(index=False)]
    if len(table) > rows:
        lines.append(f"... and {len(table) - rows} rows more in tables/")
    if left_out:
        lines.append(f"(in tables/ too: {', '.join(left_out)})")
    return "\n".join(lines)


def _number(value: float) -> str:
    if value != value:
        return "-"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"


def main() -> None:
    """`python -m sweep.tables OUT`: make the tables of a run again, without simulating."""
    if len(sys.argv) != 2:
        print("usage: python -m sweep.tables OUT", file=sys.stderr)
        sys.exit(2)
    for name, table in write_tables(open_folder(sys.argv[1])).items():
        print(f"tables/{name}.csv  {len(table)} rows")


if __name__ == "__main__":
    main()
