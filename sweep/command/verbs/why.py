"""Show the causes of a policy's cost: the share of the time in which senders, handlers, cache lines, a fabric
or a lock are in use; from a run with draws=32 or more, also the costs that its result depends on.
"""

from argparse import Namespace

from sweep.command.options import Parser, add_run, finished, writing


def options(parser: Parser) -> None:
    add_run(parser, "the folder of a finished run")


def main(given: Namespace) -> None:
    from sweep.tables.answer import answer
    from sweep.tables.frame import read_results
    from sweep.tables.make import measured_of, with_mark, write
    from sweep.tables.selection import LEAST_DRAWS, posterior_draws, representative, simulated
    from sweep.tables.text import as_text
    from sweep.tables.why import influence, saturation

    run = finished(given.out)
    results = simulated(read_results(run))
    tables = {"saturation": saturation(representative(results))}
    if posterior_draws(results)["draw"].nunique() >= LEAST_DRAWS:
        tables["influence"] = influence(results)
    cores = results.groupby("point")["cores"].first()
    tables = {name: with_mark(table, cores) for name, table in tables.items()}
    said = answer(tables, measured_of(run).fitted_machines, "why")
    with writing(given) as into:
        write(into, tables)
    print(said.text, *(as_text(table, width=140) for table in tables.values()), sep="\n\n")
