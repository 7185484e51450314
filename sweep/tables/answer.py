"""The answer to a grid's question, in one to three sentences and a small table; the grid names its table.

An asterisk marks a number beyond the measurements.
"""

from collections.abc import Callable, Collection

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
from sweep.tables.coordinates import ALWAYS
from sweep.tables.setting import ONE_OF, OTHERS, is_coordinate, settings, word
from sweep.tables.words import (
    Answer,
    Tables,
    banded,
    duration,
    enumerated,
    estimate,
    factor,
    marked,
    number,
    of_size,
    share,
    unmet,
)

MOST_POINTS = 6  # in a sentence


def answer(tables: Tables, fitted: Collection[str], named: str = "points") -> Answer:
    """The answer that a grid names, or the cost of each policy if the tables have no such answer.

    `fitted` are the machines that costs were fitted to: their rows come first.
    """
    tables = {
        name: table.sort_values("machine", key=lambda machine: ~machine.isin(fitted), kind="stable")
        if "machine" in table else table
        for name, table in tables.items()
    }  # fmt: skip
    make, of_table = ANSWERS.get(named, ANSWERS["points"])
    found = make(tables) if of_table in tables or named == "why" else Answer([])
    if not found.sentences and "summary" in tables:
        found = of_points(tables)
    main = next(iter(tables.values()))
    said, doubts = " ".join(found.sentences), []
    if not said:
        return Answer([printable(note) for note in main.attrs.get("notes", [])])
    if f"({ONE_OF} " in said:
        doubts.append(f"The other settings are in tables/{of_table}.csv.")
    if "*" in said:
        doubts.append(f"* No build was measured beyond {spread().cores:g} CPUs.")
    if "validation" not in tables:
        machines = {name for table in tables.values() if "machine" in table for name in table["machine"].unique()}
        if strange := sorted(machines - set(fitted)):
            whose = "its" if len(strange) == 1 else "their"
            which = f"No measurement on {enumerated(strange)} was fitted"
            doubts.append(f"{which}: {whose} costs are estimates, or another machine's.")
        doubts += main.attrs.get("machines", [])
    return Answer([printable(each) for each in found.sentences], found.table, [printable(each) for each in doubts])


def of_jobs(tables: Tables) -> Answer:
    """The growth of the cost with `make -j`, machine by machine."""
    table = tables["summary"]
    if not {"jobs", "ratio"} <= set(table) or table["jobs"].nunique() < 3:
        return Answer([])
    sentences = []
    for where, rows in settings(table[table["ratio"].notna()], ("jobs",), 3):
        least, most = rows["jobs"].min(), rows["jobs"].max()
        told = rows[rows["policy"] != "vanilla"]
        by = told.pivot(index="policy", columns="jobs", values="ratio")
        ends = by.reindex(index=told["policy"].unique(), columns=[least, most]).dropna()
        said = [f"{policy} from {factor(low)} to {factor(high)}"
                for policy, low, high in sorted(ends.itertuples(), key=lambda each: each[2])]  # fmt: skip
        if said:
            sentences.append(f"{f'{where}, ' if where else ''}-j{least:g} to -j{most:g}: {enumerated(said, 8)}.")
    return Answer(sentences)


def of_points(tables: Tables) -> Answer:
    """The cost of each policy in a run of few points."""
    said, told = [], tables["summary"].query("policy != 'vanilla'")
    apart = [name for name in map(str, told) if is_coordinate(name) and name not in (*ALWAYS, *OTHERS)]
    apart = [name for name in apart if told[name].nunique(dropna=False) > 1]
    for row in told.head(MOST_POINTS).to_dict("records"):
        where = ", ".join([f"{row['policy']}{of_size(row)}", *(w for name in apart for w in word(name, row[name]))])
        if pd.notna(row.get("ratio")):
            elapsed = f", {number(row['wall_time_s'])} s elapsed" if pd.notna(row.get("wall_time_s")) else ""
            said.append(
                f"{where}: {number(row['system_time_s'])} s, {estimate(row, 'ratio', factor)} vanilla's{elapsed}"
            )
        elif pd.notna(row.get("overhead_share")):
            if pd.notna(row.get("rate_met")):  # a rate is given
                cost = unmet(row) or f"{banded(row, 'overhead_share', share)} of CPU time"
            else:
                lost, whole = (
                    banded(row, each, duration) for each in ("overhead_ns_per_operation", "operation_ns_total")
                )
                cost = f"{lost} of CPU time an operation, which takes {whole}"
            said.append(f"{where}: {marked(cost, row.get('cores', 0.0))}")
    more = [f"{len(told) - MOST_POINTS} more"] if len(told) > MOST_POINTS else []
    return Answer([f"{enumerated([*said, *more], MOST_POINTS + 1)}."] if said else [])


ANSWERS: dict[str, tuple[Callable[[Tables], Answer], str]] = {  # by name: the sentences, and their table
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
