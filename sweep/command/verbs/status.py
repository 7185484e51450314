"""Show the progress of a run, during it and after it."""

import sys
import time
from argparse import Namespace
from contextlib import nullcontext, suppress

from sweep.command.options import Parser
from sweep.inputs.home import expanded
from sweep.store.folder import Folder, look
from sweep.store.run_json import read_run
from sweep.store.status import as_text, status

LOOK_S = 2.0  # between two updates on a terminal
LINE_S = 10.0  # between two lines without a terminal


def options(parser: Parser) -> None:
    parser.add_argument("out", metavar="OUT", help="the run's folder")
    parser.add_argument("--watch", action="store_true", help="repeat until the run ends, or Ctrl-C")


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

    with suppress(KeyboardInterrupt), Live(auto_refresh=False) if sys.stdout.isatty() else nullcontext() as live:
        while True:
            found = status(folder)
            if live:
                live.update(Text(as_text(folder, found)), refresh=True)  # the last one stays
            else:
                print(as_text(folder, found, ", "), flush=True)
            if not found["driver"]:
                return
            time.sleep(LOOK_S if live else line_s)
