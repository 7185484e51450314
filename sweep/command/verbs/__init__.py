"""Verbs for runs and for the user's own machine: one file each, with `parser()` and `main(given)`."""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

VERBS = tuple(each.name for each in iter_modules(__path__))


def load(verb: str) -> ModuleType:
    """The module of a verb, without importing the others."""
    return import_module(f"{__name__}.{verb}")


def run(verb: str, arguments: Sequence[str]) -> int:
    """Run a verb's command line; return the exit code."""
    module = load(verb)
    return int(module.main(module.parser().parse_args(arguments)) or 0)
