"""Tables of a run: pure functions of results.parquet, written as CSV and Parquet."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from sweep import bands, surface
from sweep.conf import conf_dir
from sweep.costs import LITERATURE
from sweep.likelihood import measured_again
from sweep.next_experiment import LEAST_DRAWS, next_experiment
from sweep.store import Folder, open_folder

MOST_EXPERIMENTS = 500  # points that are compared with one another
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
    """The published system times beside those simulated under each of the sweep's costs, fitted ones first.

    A measurement belongs to a point of the same machine, workload, policy, cores, jobs and vanilla baseline. Under
    draws of the costs an interval is where a measurement would lie (90 %), run spread and the model's error included;
    else it is that of the mean over replicas (95 %).
    """
    keys = ["machine", "workload", "policy", "cores", "jobs", "base_system_s"]
    names = sorted(results["costs"].unique(), key=lambda name: (name == LITERATURE, name))
    groups = dict(list(results.groupby([*keys, "costs"], sort=False)))
    rows = []
    for _, row in measured.iterrows():
        key = (*(row[key] for key in keys[:-1]), row["vanilla_s"])
        found = {name: groups[(*key, name)] for name in names if (*key, name) in groups}
        if not found:
            continue
        made = {name: row[name] for name in ("machine", "policy")}
        made |= {"cores": int(row["cores"]), "jobs": int(row["jobs"]), "measured_s": row["measured_s"]}
        for name, group in found.items():
            mean, low, high = _prediction(group, row["vanilla_s"])
            made |= {f"{name}_s": mean, f"{name}_lo_s": low, f"{name}_hi_s": high}
            made |= {f"{name}_error_pct": 100.0 * (mean / row["measured_s"] - 1.0)}
        made["measured_ratio"] = row["measured_s"] / row["vanilla_s"]
        made |= {f"{name}_ratio": made[f"{name}_s"] / row["vanilla_s"] for name in found}
        rows.append(made)
    return pd.DataFrame(rows)


def _prediction(group: pd.DataFrame, vanilla_s: float) -> tuple[float, float, float]:
    """Of one point: the mean of the draw that stands for the costs, and the ends of an interval."""
    single, others = group[group["draw"] == 0], group[group["draw"] > 0]
    mean, half = single["system_time_s"].mean(), half_width(single["system_time_s"])
    if others.empty or group["policy"].iloc[0] == "vanilla":
        return mean, mean - half, mean + half
    added = others.groupby("draw")["added_s"].mean().to_numpy()
    low, high = np.nanquantile(measured_again(vanilla_s, added, group["cores"].iloc[0]), [0.05, 0.95])
    return mean, low, high


def measurements() -> pd.DataFrame:
    """The published system times, `conf/measurements.csv`."""
    return pd.read_csv(conf_dir() / "measurements.csv")


def make_tables(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Every table that the results allow, the main one first.

    Under draws of the costs a table is that of the draw that stands for them, with 5/50/95 % over the others beside its
    values.
    """
    single = results[results["draw"] == 0]
    made = {"reproduction": reproduction(results, measurements()), "summary": summary(single)}
    if 2 * len(made["reproduction"]) * single["costs"].nunique() < len(
        made["summary"]
    ):  # measured points are a minority: not what was asked
        made["reproduction"] = made.pop("reproduction")
    for make in (surface.scaling, surface.crossover, surface.best_ceiling, surface.pareto, surface.counters):
        made[make.__name__] = make(single)
    made = {name: table for name, table in made.items() if len(table)}
    if len(single) == len(results):
        return made
    made = bands.added(made, results)
    if results["draw"].max() >= LEAST_DRAWS and 2 <= single["point"].nunique() <= MOST_EXPERIMENTS:
        made["next_experiment"] = next_experiment(results)
    return made


def write_tables(folder: Folder) -> dict[str, pd.DataFrame]:
    """Make the tables of a run's results and write them; tables by name, the main one first."""
    made = make_tables(pq.ParquetFile(pa.BufferReader(folder.read("results.parquet"))).read().to_pandas())
    write(folder, made)
    return made


def write(folder: Folder, made: Mapping[str, pd.DataFrame]) -> None:
    """Tables by name as CSV and Parquet."""
    for name, table in made.items():
        folder.write(f"tables/{name}.csv", table.to_csv(index=False).encode())
        folder.write(f"tables/{name}.parquet", table.to_parquet(index=False))


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
