"""Explain a policy, machine, workload, grid, parameter, table, metric or word; or show one point of a run."""

import json
import shlex
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sim.parameters import PARAMETERS
from sweep.command.compose import compose
from sweep.command.listing import PLAIN, shown
from sweep.command.options import Parser, add_config_dir
from sweep.errors import BadInput
from sweep.inputs.home import expanded, folders_of
from sweep.plan.open import open_plan
from sweep.plan.origin import how_made, in_words, origins
from sweep.plan.plan import Plan
from sweep.run.record import describe, difference
from sweep.store.folder import Folder, look
from sweep.store.run_json import read_run
from sweep.tables.frame import reading
from sweep.tables.text import aligned

UNITS = {name: f" {each.unit}" for name, each in PARAMETERS.items() if each.unit not in PLAIN}


def options(parser: Parser) -> None:
    parser.epilog = "`sweep show point OUT N` shows every parameter of point N of a run, with its origin."
    parser.add_argument("name", metavar="NAME", help="a name of `sweep list`")
    parser.add_argument(
        "of_run", nargs="*", metavar="OUT N", help="for `point`: the run's folder, and the point's index"
    )
    parser.add_argument(
        "--policy-path", metavar="DIR", help="the folder of your own policies, also policy_path=DIR; `point` runs them",
    )  # fmt: skip
    add_config_dir(parser)


def main(given: Namespace) -> None:
    path, rest = given.policy_path, []
    for word in given.of_run:
        if word.startswith("policy_path="):
            path = word.partition("=")[2]
        else:
            rest.append(word)
    if not rest:
        print(shown(given.name, folders_of(given.config_dir), path))
    elif given.name == "point" and len(rest) == 2:
        out, index = rest
        print(shown_point(out, index, given.config_dir, path))
    else:
        raise BadInput("sweep show: give one name, or `point`, a run's folder and a point's index")


def shown_point(
    out: str, index: str, config_dir: str | None = None, policy_path: str | None = None, most: int = 0
) -> str:
    """A point's parameters with value, unit and origin; BadInput if the run has no such point."""
    if not (index.isascii() and index.isdecimal() and len(index) < 19):
        raise BadInput(f"sweep show point OUT {index}: N must be a whole number, 0 or more")
    number = int(index)
    with reading(out):
        folder = look(expanded(out, "OUT"))
        run = read_run(folder)
    plan = _composed_again(folder, run, config_dir, policy_path)
    if not plan.begin <= number < plan.end:
        raise BadInput(f"point {number}: {folder} has the points {plan.begin} to {plan.end - 1}")
    rows = [
        (each.name, in_words(each.value) + ("" if each.value is None else UNITS.get(each.name, "")), how_made(each))
        for each in origins(plan, number)
    ]
    lines = [f"point {number} of {folder}, grid {plan.name}", "", aligned(rows, folded=(1, 2), most=most)]
    if run["plan"] != plan.hash:
        lines += ["", "The code has changed since this run: the values are those of a simulation now."]
    return "\n".join(lines)


def _composed_again(folder: Folder, run: Mapping[str, Any], config_dir: str | None, policy_path: str | None) -> Plan:
    """The plan, composed again from run.json; BadInput if the files have changed.

    A run may come from somebody else: its own policies are code, which runs only from a folder that the user names.
    """
    overrides = [text for text in run["overrides"] if text.lstrip("+").partition("=")[0] != "policy_path"]
    if len(overrides) < len(run["overrides"]):
        if policy_path is None:
            raise BadInput(f"{folder}: has policies of its own, which are code: give their folder, like "
                           "`--policy-path DIR`, if it may run")  # fmt: skip
        overrides.append(f"policy_path={policy_path}")
    command = ArgumentParser(add_help=False, exit_on_error=False)
    add_config_dir(command)
    with suppress(ValueError, ArgumentError):  # a command that no shell can read
        config_dir = config_dir or command.parse_known_args(shlex.split(run["command"]))[0].config_dir
    try:
        request = compose(overrides, folders_of(config_dir))
        plan = open_plan(request.composition)
    except BadInput as error:
        raise BadInput(f"{folder}: cannot be composed again: {str(error).splitlines()[0]}") from None
    if run["plan"] != plan.hash:
        now = json.loads(json.dumps(describe(plan, request), default=str))
        for part in ("points", "sources"):
            if changed := difference(part, run.get(part), now[part]):
                where = f"; the run used those of commit {run['commit']}" if run.get("commit") else ""
                raise BadInput(f"{folder}: its files have changed: {changed}{where}")
    return plan
