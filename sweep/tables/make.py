"""Tables of a run: pure functions of results.parquet, written as CSV and Parquet."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sim import METRICS
from sweep.errors import BadInput, did_you_mean
from sweep.inputs.likelihood import is_beyond
from sweep.inputs.measured import Measured, from_json
from sweep.store.folder import Folder
from sweep.store.rows import PARAMETER_COLUMNS
from sweep.store.run_json import read_run
from sweep.tables import bands
from sweep.tables.answer import ANSWERS, answer
from sweep.tables.best_ceiling import best_ceiling
from sweep.tables.crossover import crossover
from sweep.tables.fabric import fabric
from sweep.tables.frame import read_once
from sweep.tables.isolated import METRICS as OF_ISOLATED
from sweep.tables.isolated import isolated
from sweep.tables.next_experiment import next_experiment
from sweep.tables.overview import overview
from sweep.tables.pareto import pareto
from sweep.tables.replicas import COUNTERS, counters, scaling, summary
from sweep.tables.reproduction import KEYS, reproduction
from sweep.tables.selection import failed_points, notes, posterior_draws, representative, simulated
from sweep.tables.setting import sizes
from sweep.tables.validation import validation, validation_summary
from sweep.tables.why import MOST_POINTS, influence, saturation
from sweep.tables.words import Answer

ANSWER = "tables/answer.txt"
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins with one of these
OF_THE_SURFACE = (scaling, crossover, best_ceiling, pareto, counters)
OF_ONE_ANSWER = (fabric, isolated, overview)  # tables of the answer of the same name only
MORE = (  # metrics of tables, besides the main ones
    *COUNTERS, *OF_ISOLATED, "handler_share", "operation_ns_total", "system_time_half_s", "flush_interval_ns",
    "marks_per_flush",
)  # fmt: skip
MOST_ROWS = 200_000  # of a run whose resources stand in a table without being asked for
PIECE = 65_536  # rows of a table converted to text at once
TABLES = {  # every table with its title
    make.__name__: (make.__doc__ or "").partition("\n")[0]
    for make in (
        reproduction, summary, *OF_THE_SURFACE, *OF_ONE_ANSWER, saturation, influence, validation, validation_summary,
    )
}  # fmt: skip


def make_tables(results: pd.DataFrame, measured: Measured, named: str = "points") -> dict[str, pd.DataFrame]:
    """Every table that the results allow, the one of the `named` answer first; always a summary, even of failed points.

    No point of the results equals an earlier one. `measured` are measurements to compare. With cost samples a table
    shows the representative draw, with 5/50/95 % over the others beside its values.
    """
    every, results = results, simulated(results)
    single, planned = representative(results), representative(every)
    tables = {"reproduction": reproduction(results, measured.builds), "summary": summary(planned)}
    if len(single):
        made = [*OF_THE_SURFACE, *(make for make in OF_ONE_ANSWER if make.__name__ == named)]
        if set(PARAMETER_COLUMNS) <= set(single) and (named == "why" or single["point"].nunique() <= MOST_POINTS):
            made.append(saturation)
        tables |= {make.__name__: make(single) for make in made}
    tables = {name: table for name, table in tables.items() if len(table) or name == "summary"}
    if len(posterior_draws(results[["draw"]])):
        tables = bands.add_bands(tables, results)
        if named == "next_experiment":
            tables["next_experiment"] = next_experiment(results, measured.fitted_machines)
        if named == "why":
            tables["influence"] = influence(results)
    said = notes(planned["point"].nunique(), len(failed_points(planned)), every.attrs.get("copies", 0))
    if measured.tables:
        rows, elsewhere = validation(results, measured)
        asked = sum(len(each.rows) for each in measured.tables) * results["costs"].nunique()
        if short := asked - len(rows):
            said.append(f"{short} of {asked} measured rows have no prediction: their points are not in the run.")
        if len(rows):
            counted = validation_summary(rows, elsewhere)
            tables |= ({"validation_summary": counted} if len(counted) else {}) | {"validation": rows}
    cores = results.groupby("point")["cores"].first()
    tables = {name: with_mark(table, cores) for name, table in tables.items()}
    first = next(name for name in (ANSWERS[named][1], "summary") if name in tables)
    tables[first].attrs |= {"notes": said, "machines": sizes(single)}
    return {first: tables.pop(first), **tables}


def with_mark(table: pd.DataFrame, cores: pd.Series) -> pd.DataFrame:
    """The table with a column that marks rows beyond the CPUs of any measured build."""
    of_row = table["point"].map(cores) if "point" in table else table.get("cores")
    return table if of_row is None else table.assign(beyond_measured=is_beyond(of_row))


def tables_and_answer(folder: Folder) -> tuple[dict[str, pd.DataFrame], Answer]:
    """The tables of a run's results, the main one first, and the answer to its question."""
    measured, named = measured_of(folder), answer_of(folder)
    results = read_once(folder, lambda rows: columns_of_tables(measured, named, rows))
    made = make_tables(results, measured, named)
    return made, answer(made, measured.fitted_machines, named)


def columns_of_tables(measured: Measured, named: str, length: int) -> set[str]:
    """The columns of results of this length that tables need, besides coordinates."""
    metrics = [name for name, metric in METRICS.items() if metric.main or name in MORE]
    rows = [row for table in measured.tables for row in table.rows]
    of_rows = {name for row in rows for name in (row.metric, *row.point, *(row.less or ()))}
    every = PARAMETER_COLUMNS if named in ("next_experiment", "why") or length <= MOST_ROWS else ()
    return {"point", "replica", "draw", "status", *KEYS, *metrics, *of_rows, *every, "isolated", "rate_per_s"}


def answer_of(folder: Folder) -> str:
    """The name of the answer in the run's grid."""
    named = read_run(folder).get("answer")
    return named if named in ANSWERS else "points"


def check_answer(named: str | None, grid: str) -> None:
    """BadInput if a grid names an unknown answer."""
    if named is not None and named not in ANSWERS:
        raise BadInput(f"grid {grid}: answer={named!r}: no such answer{did_you_mean(named, ANSWERS)}")


def measured_of(folder: Folder) -> Measured:
    """The measurements that a run's results are compared with, as of its start."""
    return from_json(read_run(folder).get("measured"), f"{folder}/run.json: measured")


def write(folder: Folder, made: Mapping[str, pd.DataFrame], said: Answer | None = None) -> None:
    """Tables by name as CSV and Parquet, and the answer beside them; the page begins with it."""
    for name, table in made.items():
        plain = table.copy(deep=False)
        plain.attrs = {key: value for key, value in table.attrs.items() if key not in ("notes", "copies")}
        with folder.writing(f"tables/{name}.csv") as file:
            for begin in range(0, max(len(plain), 1), PIECE):
                file.write(as_csv(plain.iloc[begin : begin + PIECE], header=not begin).encode())
        folder.write(f"tables/{name}.parquet", plain.to_parquet(index=False))
    if said is not None:
        folder.write(ANSWER, said.text.encode())


def as_csv(table: pd.DataFrame, header: bool = True) -> str:
    """A table as CSV, in which a spreadsheet runs no text as a formula."""
    made = table.rename(columns=as_cell)
    texts = [str(name) for name in made if not pd.api.types.is_numeric_dtype(made[name])]
    return made.assign(**{name: made[name].map(as_cell) for name in texts}).to_csv(index=False, header=header)


def as_cell(value: Any) -> Any:
    """A value with an apostrophe before text that would be run as a formula; numbers unchanged."""
    if not isinstance(value, str):
        return value
    return ("'" if value.startswith(FORMULAS) else "") + value.replace("\r", " ")  # which would end the line
