"""Rank points by the information that a measurement would give about costs and other points."""

from argparse import Namespace

from sweep.command.options import Parser, add_run, finished, writing


def options(parser: Parser) -> None:
    parser.add_argument(
        "--predict", type=int, metavar="POINT", help="rank by the information about this point's prediction"
    )
    add_run(parser, "the folder of a finished run with draws=32 or more")


def main(given: Namespace) -> None:
    from sweep.tables.frame import read_results
    from sweep.tables.make import measured_of, write
    from sweep.tables.next_experiment import next_experiment
    from sweep.tables.text import as_text

    run = finished(given.out)
    table = next_experiment(read_results(run), measured_of(run).fitted_machines, given.predict)
    with writing(given) as into:
        write(into, {"next_experiment": table})
    print(as_text(table, width=140))
