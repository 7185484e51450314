"""What is done with a run that is there: each verb reads its own options and answers with an exit code."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sweep.command.options import Parser
from sweep.errors import BadInput, Stopped
from sweep.inputs.home import expanded

if TYPE_CHECKING:
    from sweep.store.folder import Folder


def status(arguments: Sequence[str]) -> int:
    """How far a run is, while it runs and after it died."""
    parser = Parser("sweep status", "How far a run is: while it runs, and after it died.")
    parser.add_argument("out", metavar="OUT", help="the run's folder")
    parser.add_argument("--watch", action="store_true", help="look again and again, until the run ends or Ctrl-C")
    given = parser.parse_args(arguments)
    from sweep.command.watch import watch
    from sweep.store.folder import open_folder
    from sweep.store.run_json import read_run
    from sweep.store.status import as_text, status
    from sweep.tables.frame import reading

    with reading(given.out):
        folder = open_folder(expanded(given.out, "OUT"), make=False)
        if folder.exists("run.json"):
            read_run(folder)
        if given.watch:
            watch(folder)
        else:
            print(as_text(folder, status(folder)))
    return 0


def runs(arguments: Sequence[str]) -> int:
    """The runs below a folder."""
    parser = Parser("sweep runs", "The runs below a folder: what each is, how far, and which settings are its own.")
    parser.add_argument(
        "folder", nargs="?", default="outputs", metavar="FOLDER", help="where to look (default: outputs)"
    )
    given = parser.parse_args(arguments)
    from sweep.command.runs import as_text
    from sweep.store.folder import look
    from sweep.store.runs import find_runs
    from sweep.tables.frame import reading

    with reading(given.folder):
        found = find_runs(look(expanded(given.folder, "FOLDER")))
    print(as_text(found) if found else f"{given.folder}: holds no runs")
    return 0


def report(arguments: Sequence[str]) -> int:
    """The page of a finished run and its plots."""
    parser = Parser("sweep report", "Make report.html and plots/ of a run: from results.parquet, run.json and tables/.")
    parser.add_argument("out", metavar="OUT", help="the run's folder")
    parser.add_argument("--no-plots", action="store_true", help="the page only, no PNG and SVG")
    _add_into(parser)
    given = parser.parse_args(arguments)
    from sweep.report.page import read_plots, write_page

    folder = _run(given.out)
    plots = read_plots(folder)
    with _writing(given) as into:
        write_page(folder, plots, into)
        print(into.child("report.html"))
        if not given.no_plots:
            from sweep.report.pictures import write_pictures

            for name in write_pictures(into, plots):
                print(into.child(name))
    return 0


def tables(arguments: Sequence[str]) -> int:
    """The tables of a finished run, without simulating."""
    parser = Parser("sweep tables", "Make the tables of a run again, without simulating.")
    parser.add_argument("out", metavar="OUT", help="the run's folder")
    _add_into(parser)
    given = parser.parse_args(arguments)
    from sweep.tables.make import tables_and_answer, write, write_answer

    made, said = tables_and_answer(_run(given.out))
    with _writing(given) as into:
        write(into, made)
        write_answer(into, said)
    for name, table in made.items():
        print(f"tables/{name}.csv  {len(table)} rows")
    for note in next(iter(made.values())).attrs.get("notes", []):
        print(note)
    print(said.text)
    return 0


def compare(arguments: Sequence[str]) -> int:
    """Which points moved between two runs."""
    parser = Parser("sweep compare", "Which points moved between two runs, and by how many intervals.")
    parser.add_argument("a", metavar="A", help="a run's folder")
    parser.add_argument("b", metavar="B", help="another one")
    parser.add_argument("--metric", default="system_time_s", help="what to compare (default: system_time_s)")
    parser.add_argument("--rows", type=int, default=40, help="how many points to print (default: 40)")
    parser.add_argument("--markdown", metavar="FILE", help="write that as Markdown; - is standard output")
    parser.add_argument("--csv", metavar="FILE", help="write all points as CSV; - is standard output")
    given = parser.parse_args(arguments)
    if given.rows < 0:
        raise BadInput(f"--rows={given.rows}: must be at least 0")
    if given.markdown == given.csv == "-":
        raise BadInput("--markdown - --csv -: both would go to standard output; give a file for one of them")
    from sweep.tables.compare import as_markdown, as_text, compare
    from sweep.tables.frame import load
    from sweep.tables.make import as_csv

    a, b = (load(expanded(each, name)) for each, name in ((given.a, "A"), (given.b, "B")))
    found = compare(a, b, given.metric)
    if "-" not in (given.markdown, given.csv):
        print(as_text(found, given.metric, given.rows))
    if given.markdown is not None:
        _write_file(given.markdown, "--markdown", as_markdown(found, given.metric, given.rows))
    if given.csv is not None:
        _write_file(given.csv, "--csv", as_csv(found.table))
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
    _add_into(parser)
    given = parser.parse_args(arguments)
    from sweep.tables.frame import read_results
    from sweep.tables.make import measured_of, write
    from sweep.tables.next_experiment import next_experiment
    from sweep.tables.text import as_text

    run = _run(given.out)
    table = next_experiment(read_results(run), measured_of(run).fitted_machines, given.predict)
    with _writing(given) as into:
        write(into, {"next_experiment": table})
    print(as_text(table, width=140))
    return 0


def _add_into(parser: Parser) -> None:
    """The option of the folder that is written."""
    parser.add_argument("--out", dest="into", metavar="DIR", help="write there; default is the run's folder itself")


def _run(out: str) -> Folder:
    """The folder of a finished run, whose run.json is one; BadInput where it cannot be read."""
    from sweep.store.folder import open_run
    from sweep.store.run_json import read_run
    from sweep.tables.frame import reading

    with reading(out):
        folder = open_run(expanded(out, "OUT"))
        read_run(folder)
    return folder


@contextmanager
def _writing(given: Namespace) -> Iterator[Folder]:
    """The folder that is written, made if it is not there; BadInput where it cannot be written."""
    from sweep.store.folder import look, open_folder

    place = given.out if given.into is None else given.into
    remedy = "; give --out DIR to write elsewhere" if given.into is None else ""
    path = expanded(place, "--out")
    folder = look(path)
    if folder.local and os.path.isdir(folder.path) and not os.access(folder.path, os.W_OK | os.X_OK):
        raise BadInput(f"{place}: is not writable{remedy}")
    try:
        yield open_folder(path)
    except OSError as error:
        why = error.strerror or " ".join(str(error).split())
        raise BadInput(f"{error.filename or place}: cannot be written: {why}{remedy}") from None
    except Stopped as stop:
        if stop.no_room:
            raise
        raise BadInput(f"{stop}{remedy}") from None


def _write_file(file: str, option: str, text: str) -> None:
    """Write a text to a file, all or nothing, or to standard output; BadInput where the file cannot be written."""
    from sweep.store.folder import look
    from sweep.tables.text import printable

    if file == "-":
        print("\n".join(map(printable, text.split("\n"))), end="")
        return

    path, slash, name = expanded(file, option).rpartition("/")
    if not name or name in (".", ".."):
        raise BadInput(f"{option}={file!r}: must name a file")
    try:
        look(path + slash or ".").write(name, text.encode())
    except Stopped as stop:
        if stop.no_room:
            raise
        raise BadInput(f"{option}={file!r}: {stop}") from None


def list_(arguments: Sequence[str]) -> int:
    """Names that can be used, a line each."""
    from sweep.command import listing
    from sweep.command.usage import add_config_dir
    from sweep.inputs.home import folders_of

    parser = Parser("sweep list", "What there is: name, one line, and unit and range where it has one.")
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(listing.KINDS)}; default all names")
    add_config_dir(parser)
    given = parser.parse_args(arguments)
    print(listing.listed(given.kind, folders_of(given.config_dir)))
    return 0


def show(arguments: Sequence[str]) -> int:
    """What one name stands for."""
    from sweep.command import listing
    from sweep.command.usage import add_config_dir
    from sweep.inputs.home import folders_of

    parser = Parser(
        "sweep show",
        "What one policy, machine, workload, grid, parameter, table or metric is; or one point of a run.",
        "`sweep show point OUT N` is every parameter of point N of a run, and where each comes from.",
    )
    parser.add_argument("name", metavar="NAME", help="as `sweep list` has it")
    parser.add_argument(
        "of_run", nargs="*", metavar="OUT N", help="of `point`: the run's folder, and the point's index"
    )
    add_config_dir(parser)
    given = parser.parse_args(arguments)
    if not given.of_run:
        print(listing.shown(given.name, folders_of(given.config_dir)))
        return 0
    if given.name != "point" or len(given.of_run) != 2:
        raise BadInput("sweep show: give one name, or `point`, the folder of a run and the index of a point in it")
    from sweep.command.point import shown_point

    out, index = given.of_run
    print(shown_point(out, index, given.config_dir))
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
    "compare": compare, "list": list_, "measure": measure, "next": next_, "profile": profile,
    "report": report, "runs": runs, "show": show, "status": status, "tables": tables,
}  # fmt: skip
