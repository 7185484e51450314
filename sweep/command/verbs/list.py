"""List names with a line each; parameters with unit and range."""

from argparse import Namespace

from sweep.command.listing import listed
from sweep.command.options import KINDS, Parser, add_config_dir
from sweep.inputs.home import folders_of


def options(parser: Parser) -> None:
    parser.add_argument("kind", nargs="?", metavar="KIND", help=f"one of {', '.join(KINDS)}; default: all names")
    add_config_dir(parser)


def main(given: Namespace) -> None:
    print(listed(given.kind, folders_of(given.config_dir)))
