"""Shell completion by argcomplete; `eval "$(sweep --completion)"` enables it in bash and zsh.

The shell runs this program at each Tab, with variables set by argcomplete's script. Completions come from the parsers:
options from their declarations, words from an argument's metavar.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

import argcomplete
from argcomplete.completers import DirectoriesCompleter
from argcomplete.lexers import split_line

from sim.metrics import METRICS
from sim.policies import Policies
from sweep.command import usage, verbs
from sweep.command.options import KINDS
from sweep.command.verbs import VERBS
from sweep.errors import BadInput
from sweep.inputs import settings
from sweep.inputs.catalog import QUANTITIES
from sweep.inputs.conf import paths_of
from sweep.inputs.costs import LITERATURE, stored
from sweep.inputs.home import folders_of
from sweep.plan.points import NAMES

ASKED = "_ARGCOMPLETE"  # set by a shell: the index of the command among the words
FOLDERS = DirectoriesCompleter()
Completer = Callable[..., Iterable[str]]


def answer() -> None:
    """Answer the shell, and end the process."""
    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    words = split_line(line)[3]
    verb = words[1] if len(words) > 1 and words[1] in VERBS else None
    if verb is not None:
        os.environ[ASKED] = "2"
    parser = usage.parser() if verb is None else verbs.parser(verb)
    known: dict[str, Completer] = {  # by metavar, or by the attribute; all others are names of files
        **dict.fromkeys(("OUT", "OUT N", "A", "B", "FOLDER", "DIR"), FOLDERS),
        "KIND": lambda **_: KINDS,
        "NAME": _names,
        "overrides": _overrides,
        "words": lambda **_: [*(f"y={name}" for name in METRICS), *(f"{key}=" for key in ("x", "by", *QUANTITIES))],
    }
    for action in parser._actions:  # argparse has no public list
        if completer := known.get(str(action.metavar)) or known.get(action.dest):
            action.completer = completer  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False)


def _names(parsed_args: Any, **_: Any) -> list[str]:
    from sweep.command.listing import everything

    of_kinds = everything(folders_of(parsed_args.config_dir)).values()
    return ["point", *(name for names in of_kinds for name in names)]


def _overrides(prefix: str, parsed_args: Any, **_: Any) -> list[str]:
    """Verbs, keys, and values of keys that are names or folders."""
    key, given, start = prefix.partition("=")
    if not given:
        return [*(VERBS if not parsed_args.overrides else ()), "+grid=",
                *(f"{each}=" for each in (*QUANTITIES, *settings.NAMES, *NAMES, "runner"))]  # fmt: skip
    if key in settings.PLACES:
        return [f"{key}={each}" for each in FOLDERS(start)]
    try:
        return [f"{key}={value}" for value in _values(key, parsed_args.config_dir)]
    except BadInput:  # a missing folder, which the command itself reports
        return []


def _values(key: str, config_dir: str | None) -> Iterable[str]:
    conf = folders_of(config_dir)
    if key in ("+grid", "machine", "workload", "runner"):
        return paths_of(key.removeprefix("+"), conf)
    if key == "costs":
        return [LITERATURE, *stored(conf)]
    if key == "policy":
        return Policies()
    return ["true", "false"] if key in ("quiet", "report", "dry_run") else []
