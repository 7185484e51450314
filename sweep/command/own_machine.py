"""`sweep measure` and `sweep profile`: the user's own machine and workload."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sim.parameters import PARAMETERS
from sweep.command.options import Parser
from sweep.errors import BadInput, Unmeasurable, did_you_mean
from sweep.inputs.conf import conf_dir
from sweep.inputs.home import expanded, own_folder, write_own
from sweep.inputs.reader import names_in
from sweep.measure.counters import recorded, seen_of_command, seen_of_snapshots
from sweep.measure.experiment import MOST_CPUS, read_experiment
from sweep.measure.loop import run_experiment
from sweep.measure.machine import VIRTUAL, Facts, facts, sources_not_used
from sweep.measure.measured import read_measured
from sweep.measure.workload import workload_file

DELIVERIES = PARAMETERS["delivery"].choices
NO_NAMES = ("true", "false", "null", "nan", "inf")  # an override `workload=true` is no text


def measure(arguments: Sequence[str]) -> int:
    """Measure, fit, write; 0 when done."""
    parser = Parser(
        "sweep measure",
        "Measure broadcasts on this machine without root, fit the model's costs to half of what was seen, predict the\n"
        "other half, and write machine/this_machine.yaml into your own folder.",
    )
    parser.add_argument(
        "experiment", nargs="?", default="default", help="a file of conf/measure, or of measure/ in DIR"
    )
    parser.add_argument("--config-dir", metavar="DIR", help="your own folder; default ~/.config/xpfo-sweep")
    parser.add_argument("--measured", metavar="CSV", help="fit this earlier measured.csv of this machine again")
    parser.add_argument("--no-fit", action="store_true", help="only measure")
    parser.add_argument(
        "--delivery",
        choices=DELIVERIES,
        help="how interrupts leave this guest, where its kernel log does not say",
    )
    given = parser.parse_args(arguments)
    own = own_folder(given.config_dir)
    paths = names_in(conf_dir() / "measure") | names_in(own / "measure")
    if given.experiment not in paths:
        raise BadInput(f"experiment={given.experiment!r}: no such file{did_you_mean(given.experiment, paths)}")
    cpus = len(os.sched_getaffinity(0))
    if cpus < 2:
        raise Unmeasurable("one CPU only: there is nobody to interrupt")
    experiment = read_experiment(paths[given.experiment], cpus)
    machine = facts() if given.delivery is None else replace(facts(), delivery=given.delivery)
    if given.delivery is not None and machine.hypervisor is None:
        raise BadInput(f"--delivery={given.delivery}: this machine is no guest, as far as it can be seen")
    if not given.no_fit:
        from sweep.measure.fit import read_settings

        read_settings(experiment.fit, f"measure/{given.experiment}: fit")
    csv = Path(expanded(given.measured, "--measured")) if given.measured else None
    measured = read_measured(csv, machine.cpus) if csv else None
    _check_writable(own)
    say(experiment.title)
    for line in sources_not_used():
        say(f"not used: {line}")
    if machine.hypervisor:
        say(f"hypervisor {machine.hypervisor}. {VIRTUAL}\n{machine.how_they_leave}")
    folder = own / "measure"
    if measured is None:
        measured = run_experiment(experiment, say)
        write_own(folder / "measured.csv", measured.to_csv(index=False))
        say(f"{folder / 'measured.csv'}: {len(measured)} points")
    if given.no_fit:
        return 0
    from sweep.measure.outcome import fit_and_write
    from sweep.report.pictures import write_measured

    picture = folder / "measured_vs_simulated.png"
    fitted = fit_and_write(measured, experiment.fit, machine, own)
    write_measured(fitted.table, machine.title, picture)
    print(f"\n{own / 'machine' / 'this_machine.yaml'}\n{picture}")
    print(f"\nnext: sweep --config-dir {shlex.quote(str(own))} +grid=this_machine")
    return 0


def _check_writable(folder: Path) -> None:
    """BadInput where nothing can be written there, before anything is measured."""
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise BadInput(f"{there}: cannot be written; give --config-dir DIR")


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


def profile(arguments: Sequence[str]) -> int:
    """Profile a command or recorded files; 0 when done."""
    arguments = list(arguments)
    at = arguments.index("--") if "--" in arguments else len(arguments)
    parser = Parser(
        "sweep profile",
        "Run a command, count what it asks of the kernel, write workload/NAME.yaml into your own folder.",
    )
    parser.usage = "%(prog)s [options] -- COMMAND ..."
    parser.add_argument("--name", default="mine", help="of the workload; default mine")
    parser.add_argument("--jobs", type=int, help="CPUs that it keeps busy; default the N of a -jN, else all")
    parser.add_argument("--config-dir", metavar="DIR", help="your own folder; default ~/.config/xpfo-sweep")
    parser.add_argument(
        "--keep-arguments", action="store_true", help="write the whole command into the file, not its first word alone"
    )
    for name in ("vmstat", "stat", "interrupts"):
        parser.add_argument(
            f"--{name}", nargs=2, metavar=("BEFORE", "AFTER"), help=f"recorded /proc/{name}, no command"
        )
    parser.add_argument("--perf", metavar="FILE", help="recorded output of perf stat -x,")
    given = parser.parse_args(arguments[:at])
    try:
        path = _profiled(given, arguments[at + 1 :])
    except OSError as error:
        raise BadInput(str(error)) from None
    own = shlex.quote(str(path.parent.parent))
    print(f"{path}\n\nnext: sweep --config-dir {own} +grid=this_machine workload={given.name}")
    return 0


def _profiled(given: argparse.Namespace, command: Sequence[str]) -> Path:
    """Profile what the command line says; the file that was written."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", given.name):
        raise BadInput(f"--name={given.name!r}: must be small letters, digits and _, a letter first")
    if given.name in NO_NAMES:
        raise BadInput(f"--name={given.name}: is a value of its own on a command line; choose another name")
    if bool(command) == bool(given.vmstat):
        raise BadInput("give either a command after --, or recorded files, --vmstat BEFORE AFTER at least")
    if given.jobs is not None and not 1 <= given.jobs <= MOST_CPUS:
        raise BadInput(f"--jobs={given.jobs}: must be at least 1, at most {MOST_CPUS}")
    own = own_folder(given.config_dir)
    _check_writable(own)
    missing: list[str] = []
    if command:
        machine: Facts | None = facts()
        seen, missing = seen_of_command(command)
        stated = re.search(r"(?:^|\s)-j\s*(\d{1,6})", " ".join(command))
        cpus = len(os.sched_getaffinity(0))
        jobs = max(1, min(given.jobs or (int(stated[1]) if stated else cpus), cpus))
        what = named(command, given.keep_arguments)
        if machine and machine.hypervisor:
            print(f"hypervisor {machine.hypervisor}. {VIRTUAL}", file=sys.stderr)
    else:
        texts = {
            name: tuple(recorded(each, f"--{name}") for each in getattr(given, name))
            for name in ("vmstat", "stat", "interrupts")
            if getattr(given, name)
        }
        perf = recorded(given.perf, "--perf") if given.perf else None
        machine = None
        seen = seen_of_snapshots(texts["vmstat"], texts.get("stat"), texts.get("interrupts"), perf)  # type: ignore[arg-type]
        jobs = given.jobs or max(1, int(seen.get("cpus", 1)))
        what = "From recorded files; snapshots count the whole machine"
    path = own / "workload" / f"{given.name}.yaml"
    write_own(path, workload_file(given.name, seen, jobs, what, machine, missing))
    return path


def named(command: Sequence[str], whole: bool) -> str:
    """The command for the head of a file: its first word, since arguments may hold what is secret."""
    if whole:
        return f"`{shlex.join(command)}`"
    rest = len(command) - 1
    return f"`{shlex.quote(command[0])}`" + (f", {rest} arguments left out (--keep-arguments)" if rest else "")
