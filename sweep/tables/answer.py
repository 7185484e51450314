"""The answer to a grid's question, in one to three sentences and a small table; the grid names its table.

An asterisk marks a number beyond the measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pandas as pd

from sweep.errors import printable
from sweep.inputs.likelihood import spread
from sweep.tables import (
    best_ceiling,
    crossover,
    fabric,
    isolated,
    next_experiment,
    overview,
    pareto,
    reproduction,
    validation,
    why,
)
from sweep.tables.sentences import Answer, Tables, marked, of_size, unmet
from sweep.tables.setting import ONE_OF, OTHERS, is_coordinate, settings, word
from sweep.tables.words import banded, duration, enumerated, factor, number, share

MOST_POINTS = 6  # in a sentence
OF_SIZE = ("cores", "jobs")  # in `of_size`


def answer(tables: Tables, fitted: Collection[str], named: str = "points") -> Answer:
    """The answer that a grid names, or the cost of each policy if the tables have no such answer.

    `fitted` are the machines that costs were fitted to.
    """
    tables = {name: _fitted_first(table, fitted) for name, table in tables.items()}
    make, of_table = ANSWERS.get(named, ANSWERS["points"])
    found = make(tables) or of_points(tables) or Answer([])
    machines = {name for table in tables.values() if "machine" in table for name in table["machine"].unique()}
    strange = sorted(machines - set(fitted))
    doubts = [f"* No build was measured beyond {spread().cores:g} CPUs."] if "*" in " ".join(found.sentences) else []
    if found.sentences and strange and "validation" not in tables:
        whose = "its" if len(strange) == 1 else "their"
        doubts.append(
            f"No measurement on {enumerated(strange)} was fitted: {whose} costs are estimates, or another machine's."
        )
    if f"({ONE_OF} " in " ".join(found.sentences):
        doubts.insert(0, f"The other settings are in tables/{of_table}.csv.")
    if found.sentences and tables and "validation" not in tables:
        doubts += next(iter(tables.values())).attrs.get("machines", [])
    missing = list(next(iter(tables.values())).attrs.get("notes", [])) if tables and not found.sentences else []
    said, doubts = ([printable(each) for each in lines] for lines in (found.sentences or missing, doubts))
    return Answer(said, found.table, doubts)


def _fitted_first(table: pd.DataFrame, fitted: Collection[str]) -> pd.DataFrame:
    """The table with the rows of fitted machines first."""
    if "machine" not in table:
        return table
    return table.iloc[np.argsort(~table["machine"].isin(fitted).to_numpy(), kind="stable")]


def of_jobs(tables: Tables) -> Answer | None:
    """The growth of the cost with `make -j`, machine by machine."""
    table = tables.get("summary")
    if table is None or "jobs" not in table or "ratio" not in table or table["jobs"].nunique() < 3:
        return None
    sentences = []
    for where, rows in settings(table[table["ratio"].notna()], ("jobs",), 3):
        few, many = rows["jobs"].min(), rows["jobs"].max()
        said = []
        for policy, mine in rows[rows["policy"] != "vanilla"].groupby("policy", sort=False):
            by = mine.set_index("jobs")["ratio"]
            if {few, many} <= set(by.index):
                said.append((by[many], f"{policy} from {factor(by[few])} to {factor(by[many])}"))
        if said:
            said.sort(key=lambda each: each[0])
            place = f"{where}, " if where else ""
            sentences.append(f"{place}-j{few:g} to -j{many:g}: {enumerated([text for _, text in said], 8)}.")
    return Answer(sentences) if sentences else None


def _of_loop(row: pd.Series) -> str:
    """The cost of a closed loop: at a rate a share of time, else CPU time and time of an operation."""
    if row.get("rate_met", np.nan) == row.get("rate_met", np.nan):
        return unmet(row) or f"{banded(row, 'overhead_share', share)} of CPU time"
    lost, whole = (banded(row, name, duration) for name in ("overhead_ns_per_operation", "operation_ns_total"))
    return f"{lost} of CPU time an operation, which takes {whole}"


def of_points(tables: Tables) -> Answer | None:
    """The cost of each policy in a run of few points."""
    table = tables.get("summary")
    if table is None or "policy" not in table:
        return None
    said = []
    told = table[table["policy"] != "vanilla"]
    apart = [name for name in map(str, told) if is_coordinate(name) and name not in (*OF_SIZE, *OTHERS)]
    apart = [name for name in apart if told[name].nunique(dropna=False) > 1]
    for _, row in told.head(MOST_POINTS).iterrows():
        what = [said for name in apart for said in word(name, row[name])]
        where, cores = ", ".join([f"{row['policy']}{of_size(row)}", *what]), float(row.get("cores", np.nan))
        if row.get("ratio", np.nan) == row.get("ratio", np.nan):
            ratio = marked(banded(row, "ratio", factor), cores)
            wall = float(row.get("wall_time_s", np.nan))
            elapsed = f", {number(wall)} s elapsed" if wall == wall else ""
            said.append(f"{where}: {number(row['system_time_s'])} s, {ratio} vanilla's{elapsed}")
        elif row.get("overhead_share", np.nan) == row.get("overhead_share", np.nan):
            said.append(f"{where}: {marked(_of_loop(row), cores)}")
    more = [f"{len(told) - MOST_POINTS} more"] if len(told) > MOST_POINTS else []
    return Answer([f"{enumerated([*said, *more], MOST_POINTS + 1)}."]) if said else None


ANSWERS: dict[str, tuple[Callable[[Tables], Answer | None], str]] = {  # by name: the sentences, and their table
    "reproduction": (reproduction.answer, "reproduction"),
    "validation": (validation.answer, "validation_summary"),
    "next_experiment": (next_experiment.answer, "next_experiment"),
    "crossover": (crossover.answer, "crossover"),
    "best_ceiling": (best_ceiling.answer, "best_ceiling"),
    "pareto": (pareto.answer, "pareto"),
    "fabric": (fabric.answer, "fabric"),
    "isolated": (isolated.answer, "isolated"),
    "overview": (overview.answer, "overview"),
    "why": (why.answer, "saturation"),
    "jobs": (of_jobs, "summary"),
    "points": (of_points, "summary"),
}
