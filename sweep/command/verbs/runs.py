"""List the runs below a folder: grid, progress and the settings in which they differ."""

from argparse import Namespace
from collections.abc import Sequence

from rich.filesize import decimal

from sweep.command.options import Parser
from sweep.errors import printable
from sweep.inputs.home import expanded
from sweep.store.runs import FoundRun, different_settings, find_runs
from sweep.tables.text import aligned

HEAD = ("run", "grid", "points", "state", "age", "size", "differs in")
RIGHT, FOLDED = (2, 4, 5), (0, 1, 6)  # columns


def options(parser: Parser) -> None:
    parser.add_argument(
        "folder", nargs="?", default="outputs", metavar="FOLDER", help="the folder to search (default: outputs)"
    )


def main(given: Namespace) -> None:
    from sweep.store.folder import look
    from sweep.tables.frame import reading

    with reading(given.folder):
        found = find_runs(look(expanded(given.folder, "FOLDER")))
    print(as_text(found) if found else f"{given.folder}: no runs found")


def as_text(runs: Sequence[FoundRun], most: int = 0) -> str:
    """A table of at most `most` characters a line, or of the terminal's width, and a sentence per damaged run."""
    rows = [
        (run.name, run.grid, "-" if run.points is None else str(run.points), run.state, age(run.age_s),
         decimal(run.size), " ".join(f"{name}={value}" for name, value in differ.items()))
        for run, differ in zip(runs, different_settings(runs), strict=True)
    ]  # fmt: skip
    return "\n".join(
        [aligned([HEAD, *rows], RIGHT, FOLDED, most), *(printable(run.wrong) for run in runs if run.wrong)]
    )


def age(seconds: float) -> str:
    """A time in the largest unit with a value of 2 or more, or in seconds."""
    for unit, length_s in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
