"""Measure cache lines and broadcasts on this machine without root, fit the model's costs to half of the
measurements, predict the other half, and write machine/this_machine.yaml into your own folder.
"""

import argparse
import os
import shlex
from dataclasses import replace
from pathlib import Path

from sim.parameters import PARAMETERS
from sweep.command.options import Parser
from sweep.errors import BadInput, Unmeasurable, did_you_mean
from sweep.inputs.conf import conf_dir, paths_of
from sweep.inputs.home import check_writable, expanded, own_folder, write_own
from sweep.inputs.reader import question_of
from sweep.measure.experiment import read_experiment
from sweep.measure.lines import latencies, measure_lines
from sweep.measure.loop import run_experiment
from sweep.measure.machine import VIRTUAL, facts, sources_not_used
from sweep.measure.measured import read_lines, read_measured
from sweep.measure.topology import topology_here
from sweep.messages import say


def options(parser: Parser) -> None:
    parser.add_argument(
        "experiment", nargs="?", default="default", help="a file of conf/measure, or of measure/ in DIR"
    )
    parser.add_argument("--config-dir", metavar="DIR", help="your own folder (default: ~/.config/xpfo-sweep)")
    parser.add_argument(
        "--measured", metavar="CSV", help="refit this earlier measured.csv of this machine, with lines.csv beside it"
    )
    parser.add_argument("--no-fit", action="store_true", help="only measure")
    parser.add_argument(
        "--delivery", choices=PARAMETERS["delivery"].choices,
        help="delivery of this guest's interrupts, if its kernel log does not show it",
    )  # fmt: skip


def main(given: argparse.Namespace) -> None:
    own = own_folder(given.config_dir)
    paths = paths_of("measure", [own, conf_dir()])
    if given.experiment not in paths:
        raise BadInput(f"experiment={given.experiment!r}: no such file{did_you_mean(given.experiment, paths)}")
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise Unmeasurable("one CPU only: there is no other CPU to interrupt")
    experiment = read_experiment(paths[given.experiment])
    host, machine = topology_here(cpus), facts()
    if given.delivery is not None:
        if machine.hypervisor is None:
            raise BadInput(f"--delivery={given.delivery}: no hypervisor was found on this machine")
        machine = replace(machine, delivery=given.delivery)
    measured = lines = None
    if given.measured:
        csv = Path(expanded(given.measured, "--measured"))
        measured, beside = read_measured(csv, machine.host.cpus), csv.with_name("lines.csv")
        lines = read_lines(beside) if beside.is_file() else None
    check_writable(own)
    say(question_of(paths[given.experiment]))
    for line in sources_not_used():
        say(f"not used: {line}")
    if machine.hypervisor:
        say(f"hypervisor {machine.hypervisor}. {VIRTUAL}\n{machine.how_they_leave}")
    folder = own / "measure"
    if measured is None:
        lines = measure_lines(host, cpus)
        write_own(folder / "lines.csv", lines.to_csv(index=False))
        measured = run_experiment(experiment, experiment.points(len(cpus)))
        write_own(folder / "measured.csv", measured.to_csv(index=False))
        say(f"{folder / 'measured.csv'}: {len(measured)} points")
    if given.no_fit:
        return
    from sweep.measure.outcome import fit_and_write
    from sweep.report.pictures import write_measured

    picture = folder / "measured_vs_simulated.png"
    known = {} if lines is None else latencies(lines, host, cpus)
    fitted = fit_and_write(measured, experiment.fit, machine, own, known)
    write_measured(fitted.table, machine.title, picture)
    print(f"\n{own / 'machine' / 'this_machine.yaml'}\n{picture}")
    print(f"\nnext: sweep --config-dir {shlex.quote(str(own))} +grid=this_machine")
