"""`sweep status`: the progress of a run, during it and after it."""

import sys
import time
from argparse import Namespace
from contextlib import suppress

from sweep.command.options import Parser
from sweep.inputs.home import expanded
from sweep.store.folder import Folder, look
from sweep.store.run_json import read_run
from sweep.store.status import as_line, as_text, status

LOOK_S = 2.0  # between two updates on a terminal
LINE_S = 10.0  # between two lines without a terminal


def parser() -> Parser:
    parser = Parser("sweep status", "Show the progress of a run, during it and after it.")
    parser.add_argument("out", metavar="OUT", help="the run's folder")
    parser.add_argument("--watch", action="store_true", help="repeat until the run ends, or Ctrl-C")
    return parser


def main(given: Namespace) -> None:
    from sweep.tables.frame import reading

    with reading(given.out):
        folder = look(expanded(given.out, "OUT"))
        if folder.exists("run.json"):
            read_run(folder)
        if given.watch:
            watch(folder)
        else:
            print(as_text(folder, status(folder)))


def watch(folder: Folder, line_s: float = LINE_S) -> None:
    """Show the status until no driver is running, or Ctrl-C: redrawn on a terminal, else a line every `line_s`."""
    from rich.live import Live
    from rich.text import Text

    with suppress(KeyboardInterrupt):
        found = status(folder)
        if sys.stdout.isatty():
            with Live(Text(as_text(folder, found)), auto_refresh=False) as live:  # the last one stays
                while found["driver"]:
                    time.sleep(LOOK_S)
                    found = status(folder)
                    live.update(Text(as_text(folder, found)), refresh=True)
            return
        print(as_line(folder, found), flush=True)
        while found["driver"]:
            time.sleep(line_s)
            found = status(folder)
            print(as_line(folder, found), flush=True)
