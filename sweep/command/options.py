"""Options of argparse, with mistakes reported like all others."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from sweep.errors import BadInput, Stopped
from sweep.inputs.home import expanded

if TYPE_CHECKING:
    from sweep.store.folder import Folder

KINDS = ("policies", "machines", "workloads", "grids", "parameters", "tables", "metrics", "words")  # kinds of names


class Parser(argparse.ArgumentParser):
    """A parser with errors as BadInput: one line and exit code 2 for any command."""

    def __init__(self, prog: str, description: str | None, epilog: str | None = None) -> None:
        super().__init__(
            prog=prog, description=description, epilog=epilog, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{self.prog}: {message}; see `{self.prog} --help`")


def check_name(name: str) -> None:
    """BadInput if a command line cannot name a file like this."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise BadInput(f"--name={name!r}: must be small letters, digits and _, a letter first")


def add_run(parser: Parser, meaning: str = "the run's folder") -> None:
    """Add the folder of a run, and the option of the output folder."""
    parser.add_argument("out", metavar="OUT", help=meaning)
    add_into(parser)


def add_into(parser: Parser) -> None:
    parser.add_argument("--out", dest="into", metavar="DIR", help="output folder (default: the run's folder)")


def finished(out: str) -> Folder:
    """The folder of a finished run with a valid run.json; BadInput if it cannot be read."""
    from sweep.store.folder import open_run
    from sweep.store.run_json import read_run
    from sweep.tables.frame import reading

    with reading(out):
        folder = open_run(expanded(out, "OUT"))
        read_run(folder)
    return folder


@contextmanager
def writing(given: argparse.Namespace) -> Iterator[Folder]:
    """The output folder, created if needed; BadInput if it cannot be written."""
    from sweep.store.folder import look, open_folder

    place = given.out if given.into is None else given.into
    remedy = "; give --out DIR to write elsewhere" if given.into is None else ""
    path = expanded(place, "--out")
    folder = look(path)
    if folder.local and os.path.isdir(folder.path) and not os.access(folder.path, os.W_OK | os.X_OK):
        raise BadInput(f"{place}: is not writable{remedy}")
    try:
        yield open_folder(path)
    except Stopped as stop:
        if stop.no_room:
            raise
        raise BadInput(f"{stop}{remedy}") from None


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-dir", metavar="DIR", help="your own grids, machines, workloads and measurements; they come first"
    )
