"""Shell completion by argcomplete; `eval "$(sweep --completion)"` enables it in bash and zsh.

The shell runs this program at each Tab, with variables set by argcomplete's script. Completions come from the parsers:
options from their declarations, words from an argument's metavar.
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
from sweep.inputs.costs import LITERATURE, stored
from sweep.inputs.home import folders_of
from sweep.plan.points import NAMES

ASKED = "_ARGCOMPLETE"  # set by a shell: the index of the command among the words
Completer = Callable[..., Iterable[str]]


def answer() -> None:
    """Answer the shell, and end the process."""
    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    words = split_line(line)[3]
    verb = words[1] if len(words) > 1 and words[1] in VERBS else None
    if verb is not None:
        os.environ[ASKED] = "2"
    parser = usage.parser() if verb is None else load(verb).parser()
    _complete_by_metavar(parser)
    argcomplete.autocomplete(parser, always_complete_options=False)


def _complete_by_metavar(parser: Parser) -> None:
    """Give each argument its completer."""
    folders, files = DirectoriesCompleter(), FilesCompleter()
    known: dict[str, Completer] = {
        **dict.fromkeys(("OUT", "OUT N", "A", "B", "FOLDER", "DIR"), folders),
        **dict.fromkeys(("FILE", "CSV", "BEFORE"), files),
        "KIND": lambda **_: KINDS,
        "NAME": _names,
        "KEY=VALUE": partial(_overrides, folders),
    }
    for action in parser._actions:  # argparse has no public list
        metavar = action.metavar[0] if isinstance(action.metavar, tuple) else action.metavar
        if metavar in known:
            action.completer = known[metavar]  # type: ignore[attr-defined]


def _names(parsed_args: Any, **_: Any) -> list[str]:
    """All names for `sweep show`."""
    from sweep.command.listing import names

    return ["point", *names(folders_of(getattr(parsed_args, "config_dir", None)))]


def _overrides(folders: Completer, prefix: str, parsed_args: Any, **_: Any) -> list[str]:
    """Verbs, keys, and values of keys that are names or folders."""
    key, given, start = prefix.partition("=")
    if not given:
        return [*(VERBS if not parsed_args.overrides else ()), "+grid=",
                *(f"{each}=" for each in (*QUANTITIES, *settings.NAMES, *NAMES, "runner"))]  # fmt: skip
    if key in settings.PLACES:
        return [f"{key}={each}" for each in folders(start)]
    try:
        return [f"{key}={value}" for value in _values(key, parsed_args.config_dir)]
    except BadInput:  # a missing folder, which the command itself reports
        return []


def _values(key: str, config_dir: str | None) -> Iterable[str]:
    conf = folders_of(config_dir)
    if key in ("machine", "workload"):
        return catalog(conf)[key]
    if key == "costs":
        return [LITERATURE, *stored(conf)]
    if key == "policy":
        return Policies()
    if key == "+grid":
        return questions(conf)
    if key == "runner":
        return ["auto", "serial", "ray"]
    return ["true", "false"] if key in ("quiet", "report", "dry_run") else []
