"""Tables of a run: pure functions of results.parquet, written as CSV and Parquet."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from sweep.store.folder import Folder
from sweep.tables import bands, surface
from sweep.tables.draws import representative
from sweep.tables.frame import read_results
from sweep.tables.next_experiment import LEAST_DRAWS, next_experiment
from sweep.tables.replicas import summary
from sweep.tables.reproduction import measurements, reproduction

MOST_EXPERIMENTS = 500  # points that are compared with one another
OF_THE_SURFACE = (surface.scaling, surface.crossover, surface.best_ceiling, surface.pareto, surface.counters)
TABLES = {  # every table with what it says
    make.__name__: (make.__doc__ or "").partition("\n")[0]
    for make in (reproduction, summary, *OF_THE_SURFACE, next_experiment)
}


def make_tables(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Every table that the results allow, the main one first.

    Under draws of the costs a table is of the representative draw, with 5/50/95 % over the others beside its values.
    """
    single = representative(results)
    tables = {"reproduction": reproduction(results, measurements()), "summary": summary(single)}
    if 2 * len(tables["reproduction"]) * single["costs"].nunique() < len(
        tables["summary"]
    ):  # measured points are a minority: not what was asked
        tables["reproduction"] = tables.pop("reproduction")
    tables |= {make.__name__: make(single) for make in OF_THE_SURFACE}
    tables = {name: table for name, table in tables.items() if len(table)}
    if len(single) == len(results):
        return tables
    tables = bands.add_bands(tables, results)
    if results["draw"].max() >= LEAST_DRAWS and 2 <= single["point"].nunique() <= MOST_EXPERIMENTS:
        tables["next_experiment"] = next_experiment(results)
    return tables


def write_tables(folder: Folder) -> dict[str, pd.DataFrame]:
    """Make the tables of a run's results and write them; tables by name, the main one first."""
    made = make_tables(read_results(folder))
    write(folder, made)
    return made


def write(folder: Folder, made: Mapping[str, pd.DataFrame]) -> None:
    """Tables by name as CSV and Parquet."""
    for name, table in made.items():
        folder.write(f"tables/{name}.csv", table.to_csv(index=False).encode())
        folder.write(f"tables/{name}.parquet", table.to_parquet(index=False))
