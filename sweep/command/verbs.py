"""What is done with a run that is there: each verb reads its own options and answers with an exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sweep.command.options import Parser


def status(arguments: Sequence[str]) -> int:
    """How far a run is, while it runs and after it died."""
    parser = Parser("sweep status", "How far a run is: while it runs, and after it died.")
    parser.add_argument("out", metavar="OUT", help="the run's folder")
    given = parser.parse_args(arguments)
    from sweep.store.folder import open_folder
    from sweep.store.status import as_text, status

    folder = open_folder(given.out, make=False)
    print(as_text(folder, status(folder)))
    return 0


def report(arguments: Sequence[str]) -> int:
    """The page of a finished run and its plots."""
    parser = Parser("sweep report", "Make report.html and plots/ of a run: from results.parquet, run.json and tables/.")
    parser.add_argument("out", metavar="OUT", help="the run's folder")
    parser.add_argument("--no-plots", action="store_true", help="the page only, no PNG and SVG")
    given = parser.parse_args(arguments)
    from sweep.report.page import read_plots, write_page
    from sweep.store.folder import open_run

    folder = open_run(given.out)
    plots = read_plots(folder)
    write_page(folder, plots)
    print(folder.child("report.html"))
    if not given.no_plots:
        from sweep.report.pictures import write_pictures

        for name in write_pictures(folder, plots):
            print(folder.child(name))
    return 0


def tables(arguments: Sequence[str]) -> int:
    """The tables of a finished run, without simulating."""
    parser = Parser("sweep tables", "Make the tables of a run again, without simulating.")
    parser.add_argument("out", metavar="OUT", help="the run's folder")
    given = parser.parse_args(arguments)
    from sweep.store.folder import open_run
    from sweep.tables.make import write_tables

    for name, table in write_tables(open_run(given.out)).items():
        print(f"tables/{name}.csv  {len(table)} rows")
    return 0


def compare(arguments: Sequence[str]) -> int:
    """Which points moved between two runs."""
    parser = Parser("sweep compare", "Which points moved between two runs, and by how many intervals.")
    parser.add_argument("a", metavar="A", help="a run's folder")
    parser.add_argument("b", metavar="B", help="another one")
    parser.add_argument("--metric", default="system_time_s", help="what to compare (default: system_time_s)")
    parser.add_argument("--rows", type=int, default=40, help="how many points to print (default: 40)")
    given = parser.parse_args(arguments)
    from sweep.tables.compare import as_text, compare
    from sweep.tables.frame import load

    print(as_text(compare(load(given.a), load(given.b), given.metric), given.metric, given.rows))
    return 0


def next_(arguments: Sequence[str]) -> int:
    """What to measure next, from a run with draws."""
    parser = Parser(
        "sweep next", "What to measure next: how much each point, measured, would tell of costs and points."
    )
    parser.add_argument("out", metavar="OUT", help="the folder of a finished run with draws=32 or more")
    parser.add_argument(
        "--predict", type=int, metavar="POINT", help="rank by what is learned of this point's prediction"
    )
    given = parser.parse_args(arguments)
    from sweep.store.folder import open_run
    from sweep.tables.frame import load
    from sweep.tables.make import write
    from sweep.tables.next_experiment import next_experiment
    from sweep.tables.text import as_text

    table = next_experiment(load(given.out), given.predict)
    write(open_run(given.out), {"next_experiment": table})
    print(as_text(table, width=140))
    return 0


def list_(arguments: Sequence[str]) -> int:
    """Names that can be used, a line each."""
    from sweep.command import listing
    from sweep.command.usage import add_config_dir, folders_of

    parser = Parser("sweep list", "What there is: name, one line, and unit and range where it has one.")
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(listing.KINDS)}; default all names")
    add_config_dir(parser)
    given = parser.parse_args(arguments)
    print(listing.listed(given.kind, folders_of(given.config_dir)))
    return 0


def show(arguments: Sequence[str]) -> int:
    """What one name stands for."""
    from sweep.command import listing
    from sweep.command.usage import add_config_dir, folders_of

    parser = Parser("sweep show", "What one policy, machine, workload, grid, parameter, table or metric is.")
    parser.add_argument("name", metavar="NAME", help="as `sweep list` has it")
    add_config_dir(parser)
    given = parser.parse_args(arguments)
    print(listing.shown(given.name, folders_of(given.config_dir)))
    return 0


def measure(arguments: Sequence[str]) -> int:
    """This machine, measured."""
    from sweep.command.own_machine import measure

    return measure(arguments)


def profile(arguments: Sequence[str]) -> int:
    """A command's work as a workload."""
    from sweep.command.own_machine import profile

    return profile(arguments)


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "compare": compare, "list": list_, "measure": measure, "next": next_, "profile": profile, "report": report,
    "show": show, "status": status, "tables": tables,
}  # fmt: skip
