"""Run a command, count its kernel work, and write workload/NAME.yaml into your own folder."""

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from sweep.command.options import Parser, check_name
from sweep.errors import BadInput
from sweep.inputs.home import check_writable, own_folder, write_own
from sweep.measure.counters import seen_of_command, seen_of_snapshots
from sweep.measure.machine import VIRTUAL, facts
from sweep.measure.pasted import recorded
from sweep.measure.topology import MOST_CPUS
from sweep.measure.workload import workload_file
from sweep.messages import say

SNAPSHOTS = ("vmstat", "stat", "interrupts")  # of /proc


def options(parser: Parser) -> None:
    parser.usage = "%(prog)s [options] -- COMMAND ..."
    parser.add_argument("--name", default="mine", help="name of the workload (default: mine)")
    parser.add_argument("--jobs", type=int, help="CPUs that it keeps busy (default: N of a -jN, else all)")
    parser.add_argument("--config-dir", metavar="DIR", help="your own folder (default: ~/.config/xpfo-sweep)")
    parser.add_argument(
        "--keep-arguments", action="store_true", help="write the whole command into the file, not only its first word"
    )
    for name in SNAPSHOTS:
        parser.add_argument(
            f"--{name}", nargs=2, metavar=("BEFORE", "AFTER"), help=f"recorded /proc/{name}, in place of a command"
        )
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument("--perf", metavar="FILE", help="recorded output of perf stat")


def main(given: argparse.Namespace) -> None:
    command = given.command
    if command and command[0] != "--":
        raise BadInput(f"sweep profile: unrecognized arguments: {' '.join(command)}; see `sweep profile --help`")
    try:
        path = _profiled(given, command[1:])
    except OSError as error:
        raise BadInput(str(error)) from None
    own = shlex.quote(str(path.parent.parent))
    print(f"{path}\n\nnext: sweep --config-dir {own} +grid=this_machine workload={given.name}")


def _profiled(given: argparse.Namespace, command: Sequence[str]) -> Path:
    """Profile the command or files; return the path of the written file."""
    check_name(given.name)
    if bool(command) == bool(given.vmstat):
        raise BadInput("give either a command after --, or recorded files, at least --vmstat BEFORE AFTER")
    if given.jobs is not None and not 1 <= given.jobs <= MOST_CPUS:
        raise BadInput(f"--jobs={given.jobs}: must be at least 1, at most {MOST_CPUS}")
    own = own_folder(given.config_dir)
    check_writable(own)
    machine, missing = None, list[str]()
    if command:
        machine = facts()
        seen, missing = seen_of_command(command)
        stated = re.search(r"(?:^|\s)-j\s*(\d{1,6})", " ".join(command))
        cpus = len(os.sched_getaffinity(0))
        jobs = max(1, min(given.jobs or (int(stated[1]) if stated else cpus), cpus))
        what = named(command, given.keep_arguments)
        if machine.hypervisor:
            say(f"hypervisor {machine.hypervisor}. {VIRTUAL}")
    else:
        vmstat, stat, interrupts = (
            [recorded(path, f"--{name}") for path in getattr(given, name) or ()] for name in SNAPSHOTS
        )
        perf = recorded(given.perf, "--perf") if given.perf else None
        seen = seen_of_snapshots(vmstat, stat, interrupts, perf)
        jobs = given.jobs or max(1, int(seen.get("cpus", 1)))
        what = "From recorded files; snapshots count the whole machine"
    path = own / "workload" / f"{given.name}.yaml"
    write_own(path, workload_file(given.name, seen, jobs, what, machine, missing))
    return path


def named(command: Sequence[str], whole: bool) -> str:
    """The command for the head of a file: only its first word, since arguments may contain secrets."""
    if whole:
        return f"`{shlex.join(command)}`"
    rest = len(command) - 1
    return f"`{shlex.quote(command[0])}`" + (f", {rest} arguments left out (--keep-arguments)" if rest else "")
