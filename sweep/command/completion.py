"""Shell completion by argcomplete, which `eval "$(sweep --completion)"` turns on in bash and zsh.

The shell asks this program at each Tab, by the variables that argcomplete's script sets. What is offered comes from the
parsers themselves: options from what they declare, words from the metavar that an argument has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import argcomplete
from argcomplete.completers import DirectoriesCompleter, FilesCompleter
from argcomplete.lexers import split_line

from sim.policies import Policies
from sweep.command import usage
from sweep.command.options import KINDS, Parser
from sweep.command.verbs import VERBS, load
from sweep.errors import BadInput
from sweep.inputs import settings
from sweep.inputs.catalog import QUANTITIES, catalog
from sweep.inputs.conf import questions
from sweep.inputs.costs import LITERATURE, Stored
from sweep.inputs.home import folders_of
from sweep.plan.points import NAMES

ASKED = "_ARGCOMPLETE"  # is set where a shell asks: which of the words is the command
Completer = Callable[..., Iterable[str]]


def answer() -> None:
    """Answer the shell that asks, and end the process."""
    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    words = split_line(line)[3]
    verb = words[1] if len(words) > 1 and words[1] in VERBS else None
    if verb is not None:
        os.environ[ASKED] = "2"
    parser = usage.parser() if verb is None else load(verb).parser()
    _complete_by_metavar(parser)
    argcomplete.autocomplete(parser, always_complete_options=False)


def _complete_by_metavar(parser: Parser) -> None:
    """Give each argument what completes it."""
    folders, files = DirectoriesCompleter(), FilesCompleter()
    known: dict[str, Completer] = {
        **dict.fromkeys(("OUT", "OUT N", "A", "B", "FOLDER", "DIR"), folders),
        **dict.fromkeys(("FILE", "CSV", "BEFORE"), files),
        "KIND": lambda **_: KINDS,
        "NAME": _names,
        "KEY=VALUE": partial(_overrides, folders),
    }
    for action in parser._actions:  # argparse has no other way to them
        metavar = action.metavar[0] if isinstance(action.metavar, tuple) else action.metavar
        if metavar in known:
            action.completer = known[metavar]  # type: ignore[attr-defined]


def _names(parsed_args: Any, **_: Any) -> list[str]:
    """Whatever `sweep show` knows."""
    from sweep.command.listing import names

    return ["point", *names(folders_of(getattr(parsed_args, "config_dir", None)))]


def _overrides(folders: Completer, prefix: str, parsed_args: Any, **_: Any) -> list[str]:
    """Verbs, keys, and the values of a key where they are names or folders."""
    key, given, start = prefix.partition("=")
    if not given:
        return [*(VERBS if not parsed_args.overrides else ()), "+grid=",
                *(f"{each}=" for each in (*QUANTITIES, *settings.NAMES, *NAMES, "runner"))]  # fmt: skip
    if key in settings.PLACES:
        return [f"{key}={each}" for each in folders(start)]
    try:
        return [f"{key}={value}" for value in _values(key, parsed_args.config_dir)]
    except BadInput:  # of a folder that is none, which the command itself will say
        return []


def _values(key: str, config_dir: str | None) -> Iterable[str]:
    conf = folders_of(config_dir)
    if key in ("machine", "workload"):
        return catalog(conf)[key]
    if key == "costs":
        return [LITERATURE, *Stored(conf)]
    if key == "policy":
        return Policies()
    if key == "+grid":
        return questions(conf)
    if key == "runner":
        return ["auto", "serial", "ray"]
    return ["true", "false"] if key in ("quiet", "report", "dry_run") else []
