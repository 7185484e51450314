"""Verbs for runs and for the user's own machine: one file each, with `options(parser)` and `main(given)`.

The file's docstring is the description of its `--help`.
"""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from sweep.command.options import Parser

VERBS = tuple(each.name for each in iter_modules(__path__))


def parser(verb: str) -> Parser:
    """The options of a verb, without importing the others."""
    module = import_module(f"{__name__}.{verb}")
    made = Parser(f"sweep {verb}", module.__doc__)
    made.set_defaults(main=module.main)
    module.options(made)
    return made


def run(verb: str, arguments: Sequence[str]) -> int:
    """Run a verb's command line; return the exit code."""
    given = parser(verb).parse_args(arguments)
    given.main(given)
    return 0
