"""Draw one metric of a run against one parameter, with bands, as PNG and SVG."""

from argparse import Namespace

from sweep.command.options import Parser, add_run, finished, writing


def options(parser: Parser) -> None:
    parser.epilog = (
        "examples:\n  sweep plot OUT y=flush_wait_ns x=cores\n"
        "  sweep plot OUT y=ratio x=cores jobs=60 'policy=[xpfo,xpfo_deferred]'\n"
        "  sweep plot OUT y=added_s x=jobs by=machine policy=xpfo"
    )
    add_run(parser)
    parser.add_argument(
        "words", nargs="*", metavar="KEY=VALUE",
        help="y=METRIC, x=PARAMETER, by=COLUMN (a line for each of its values; default: policy), and values of others",
    )  # fmt: skip


def main(given: Namespace) -> None:
    from sweep.report.page import read_drawn
    from sweep.report.pictures import write_picture
    from sweep.report.plots import chosen_plot

    plot = chosen_plot(read_drawn(finished(given.out)), given.words)
    with writing(given) as into:
        for name in write_picture(into, plot, plot.chosen, f"{plot.y}-{plot.x}"):
            print(into.child(name))
