"""`sweep measure` and `sweep profile`: the user's own machine and workload."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sweep.command.options import Parser
from sweep.errors import BadInput, Unmeasurable, did_you_mean
from sweep.inputs.conf import conf_dir
from sweep.inputs.home import own_folder
from sweep.measure.counters import seen_of_command, seen_of_snapshots
from sweep.measure.experiment import read_experiment
from sweep.measure.loop import run_experiment
from sweep.measure.machine import VIRTUAL, Facts, facts, sources_not_used
from sweep.measure.workload import workload_file


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
    given = parser.parse_args(arguments)
    own = own_folder(given.config_dir)
    paths = {path.stem: path for folder in (conf_dir(), own) for path in (folder / "measure").glob("*.yaml")}
    if given.experiment not in paths:
        raise BadInput(f"experiment={given.experiment!r}: no such file{did_you_mean(given.experiment, paths)}")
    cpus = len(os.sched_getaffinity(0))
    if cpus < 2:
        raise Unmeasurable("one CPU only: there is nobody to interrupt")
    experiment = read_experiment(paths[given.experiment], cpus)
    machine = facts()
    folder = own / "measure"
    folder.mkdir(parents=True, exist_ok=True)
    say(experiment.title)
    for line in sources_not_used():
        say(f"not used: {line}")
    if machine.hypervisor:
        say(f"hypervisor {machine.hypervisor}. {VIRTUAL}")
    if given.measured:
        try:
            measured = pd.read_csv(given.measured)
        except (OSError, ValueError) as error:
            raise BadInput(f"--measured={given.measured}: {error}") from None
    else:
        measured = run_experiment(experiment, say)
        measured.to_csv(folder / "measured.csv", index=False)
        say(f"{folder / 'measured.csv'}: {len(measured)} points")
    if given.no_fit:
        return 0
    from sweep.measure.outcome import fit_and_write
    from sweep.report.pictures import write_measured

    picture = folder / "measured_vs_simulated.png"
    fitted = fit_and_write(measured, experiment.fit, machine, own)
    write_measured(fitted.table, machine.title, picture)
    print(f"\n{own / 'machine' / 'this_machine.yaml'}\n{picture}")
    print(f"\nnext: sweep --config-dir {own} +grid=this_machine")
    return 0


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
    print(f"{path}\n\nnext: sweep --config-dir {path.parent.parent} +grid=this_machine workload={given.name}")
    return 0


def _profiled(given: argparse.Namespace, command: Sequence[str]) -> Path:
    """Profile what the command line says; the file that was written."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", given.name):
        raise BadInput(f"--name={given.name!r}: must be small letters, digits and _, a letter first")
    if bool(command) == bool(given.vmstat):
        raise BadInput("give either a command after --, or recorded files, --vmstat BEFORE AFTER at least")
    if given.jobs is not None and given.jobs < 1:
        raise BadInput(f"--jobs={given.jobs}: must be at least 1")
    missing: list[str] = []
    if command:
        machine: Facts | None = facts()
        seen, missing = seen_of_command(command)
        stated = re.search(r"(?:^|\s)-j\s*(\d+)", " ".join(command))
        cpus = len(os.sched_getaffinity(0))
        jobs = min(given.jobs or (int(stated[1]) if stated else cpus), cpus)
        what = f"`{' '.join(command)}`"
        if machine and machine.hypervisor:
            print(f"hypervisor {machine.hypervisor}. {VIRTUAL}", file=sys.stderr)
    else:
        texts = {
            name: tuple(Path(p).read_text() for p in getattr(given, name))
            for name in ("vmstat", "stat", "interrupts")
            if getattr(given, name)
        }
        perf = Path(given.perf).read_text() if given.perf else None
        machine = None
        seen = seen_of_snapshots(texts["vmstat"], texts.get("stat"), texts.get("interrupts"), perf)  # type: ignore[arg-type]
        jobs = given.jobs or int(seen.get("cpus", 1))
        what = "From recorded files; snapshots count the whole machine"
    path = own_folder(given.config_dir) / "workload" / f"{given.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(workload_file(given.name, seen, jobs, what, machine, missing), encoding="utf-8")
    return path
