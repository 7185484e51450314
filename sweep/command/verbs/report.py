"""Rebuild report.html and plots/ from a run's results.parquet, run.json and tables/."""

from argparse import Namespace

from sweep.command.options import Parser, add_into, finished, writing
from sweep.errors import BadInput


def options(parser: Parser) -> None:
    parser.add_argument("runs", metavar="OUT", nargs="+", help="a run's folder; several make one page, with --out")
    parser.add_argument("--no-plots", action="store_true", help="the page only, no PNG and SVG")
    add_into(parser)


def main(given: Namespace) -> None:
    from sweep.report.page import read_plots, write_page
    from sweep.report.pictures import write_pictures

    folders = [finished(out) for out in given.runs]
    if len(folders) > 1 and not given.into:
        raise BadInput(f"{len(folders)} runs in one page: give the page's folder by --out DIR")
    plots = read_plots(*folders)
    given.out = given.runs[0]
    with writing(given) as into:
        write_page(folders, plots, into)
        print(into.child("report.html"))
        if not given.no_plots:
            for name in write_pictures(into, plots):
                print(into.child(name))
