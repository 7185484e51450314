"""Show points that moved between two runs, and their differences in intervals."""

import os
from argparse import Namespace
from pathlib import Path

from sweep.command.options import Parser
from sweep.errors import BadInput, Stopped, printable
from sweep.inputs.home import expanded


def options(parser: Parser) -> None:
    parser.add_argument("a", metavar="A", help="a run's folder")
    parser.add_argument("b", metavar="B", help="another run's folder")
    parser.add_argument("--metric", default="system_time_s", help="the metric to compare (default: system_time_s)")
    parser.add_argument("--rows", type=int, default=40, help="number of points to print (default: 40)")
    parser.add_argument("--markdown", metavar="FILE", help="write the comparison as Markdown; - is standard output")
    parser.add_argument("--csv", metavar="FILE", help="write all points as CSV; - is standard output")


def main(given: Namespace) -> None:
    if given.rows < 0:
        raise BadInput(f"--rows={given.rows}: must be at least 0")
    if given.markdown == given.csv == "-":
        raise BadInput("--markdown - --csv -: only one of them may be standard output; give the other a file")
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


def _write_file(file: str, option: str, text: str) -> None:
    """Write a text to a file, all or nothing, or to standard output; BadInput if the file cannot be written."""
    from sweep.store.folder import look

    if file == "-":
        print("\n".join(map(printable, text.split("\n"))), end="")
        return
    given = expanded(file, option)
    if os.path.islink(given):
        given = os.path.realpath(given)
    folder, name = os.path.split(given)
    if not name:
        raise BadInput(f"{option}={file!r}: must name a file")
    try:
        if os.path.exists(given) and not os.path.isfile(given):  # a device or a pipe is not replaced
            Path(given).write_text(text, encoding="utf-8")
        else:
            look(folder or ".").write(name, text.encode())
    except OSError as error:
        raise BadInput(f"{option}={file!r}: cannot be written: {error.strerror}") from None
    except Stopped as stop:
        if stop.no_room:
            raise
        raise BadInput(f"{option}={file!r}: {stop}") from None
