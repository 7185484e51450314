"""Write machine/NAME.yaml into your own folder for another host, from the output of its `lscpu`, `lscpu -J` or
`lscpu -e`, or of two of them in one file. Its costs are those of its family, not measured.
"""

import argparse
import shlex
import sys

from sweep.command.options import Parser, check_name
from sweep.inputs.home import check_writable, own_folder, write_own
from sweep.measure.family import core_of, machine_text, relatives
from sweep.measure.pasted import recorded
from sweep.measure.topology import Latencies, by_distance, read_lscpu, read_matrix


def options(parser: Parser) -> None:
    parser.add_argument("--lscpu", metavar="FILE", required=True, help="output of lscpu on that host")
    parser.add_argument(
        "--core-to-core", metavar="CSV", help="times between its CPUs, as `core-to-core-latency --csv` prints them"
    )
    parser.add_argument("--name", default="mine", help="name of the machine (default: mine)")
    parser.add_argument("--core", metavar="NAME", help="a file of conf/core, for an unknown processor")
    parser.add_argument("--config-dir", metavar="DIR", help="your own folder (default: ~/.config/xpfo-sweep)")


def main(given: argparse.Namespace) -> None:
    check_name(given.name)
    own = own_folder(given.config_dir)
    check_writable(own)
    host = read_lscpu(recorded(given.lscpu, "--lscpu"), f"--lscpu={given.lscpu}")
    core = core_of(host, given.core, f"--lscpu={given.lscpu}")
    host, machines = relatives(host, core)
    measured: Latencies = {}
    if given.core_to_core is not None:
        where = f"--core-to-core={given.core_to_core}"
        matrix = read_matrix(recorded(given.core_to_core, "--core-to-core"), where, host.cpus)
        measured = by_distance(matrix, host, where, "core-to-core-latency")
    path = own / "machine" / f"{given.name}.yaml"
    write_own(path, machine_text(host, core, machines, measured))
    chosen = [] if given.core else [f"Its core is assumed to be {core}; --core NAME gives another."]
    for line in (*host.remarks, *chosen):
        print(line, file=sys.stderr)
    use = f"machine={given.name} policy=xpfo cores={host.cpus} jobs={host.cpus}"
    print(f"{path}\n\nnext: sweep --config-dir {shlex.quote(str(own))} +grid=point {use}")
