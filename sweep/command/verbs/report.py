"""`sweep report`: the page of a finished run and its plots."""

from __future__ import annotations

from argparse import Namespace

from sweep.command.options import Parser, add_into, finished, writing


def parser() -> Parser:
    """Its options."""
    parser = Parser("sweep report", "Make report.html and plots/ of a run: from results.parquet, run.json and tables/.")
    parser.add_argument("out", metavar="OUT", help="the run's folder")
    parser.add_argument("--no-plots", action="store_true", help="the page only, no PNG and SVG")
    add_into(parser)
    return parser


def main(given: Namespace) -> int:
    """Do it; the exit code."""
    from sweep.report.page import read_plots, write_page

    folder = finished(given.out)
    plots = read_plots(folder)
    with writing(given) as into:
        write_page(folder, plots, into)
        print(into.child("report.html"))
        if not given.no_plots:
            from sweep.report.pictures import write_pictures

            for name in write_pictures(into, plots):
                print(into.child(name))
    return 0
