"""Explain a policy, machine, workload, grid, parameter, table, metric or word; or show one point of a run."""

from argparse import Namespace

from sweep.command.options import Parser, add_config_dir
from sweep.errors import BadInput
from sweep.inputs.home import folders_of


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
    from sweep.command import listing

    path, rest = given.policy_path, []
    for word in given.of_run:
        if word.startswith("policy_path="):
            path = word.partition("=")[2]
        else:
            rest.append(word)
    if not rest:
        print(listing.shown(given.name, folders_of(given.config_dir), path))
    elif given.name == "point" and len(rest) == 2:
        from sweep.command.point import shown_point

        out, index = rest
        print(shown_point(out, index, given.config_dir, path))
    else:
        raise BadInput("sweep show: give one name, or `point`, a run's folder and a point's index")
