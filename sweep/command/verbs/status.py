"""`sweep status`: the progress of a run, during it and after it."""

from __future__ import annotations

from argparse import Namespace

from sweep.command.options import Parser
from sweep.inputs.home import expanded


def parser() -> Parser:
    """Its options."""
    parser = Parser("sweep status", "Show the progress of a run, during it and after it.")
    parser.add_argument("out", metavar="OUT", help="the run's folder")
    parser.add_argument("--watch", action="store_true", help="repeat until the run ends, or Ctrl-C")
    return parser


def main(given: Namespace) -> int:
    """Run the verb; return the exit code."""
    from sweep.command.watch import watch
    from sweep.store.folder import look
    from sweep.store.run_json import read_run
    from sweep.store.status import as_text, status
    from sweep.tables.frame import reading

    with reading(given.out):
        folder = look(expanded(given.out, "OUT"))
        if folder.exists("run.json"):
            read_run(folder)
        if given.watch:
            watch(folder)
        else:
            print(as_text(folder, status(folder)))
    return 0
