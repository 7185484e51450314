"""The options and the help of `sweep +grid=NAME KEY=VALUE ...`."""

import shlex
import sys
from collections.abc import Sequence

from sweep.command.compose import compose, configuration
from sweep.command.options import Parser, add_config_dir
from sweep.errors import BadInput
from sweep.inputs.conf import conf_dir, hidden_files, listing
from sweep.inputs.home import folders_of
from sweep.run.record import VERSION
from sweep.run.request import Request

USAGE = """\
common overrides:
  policy=xpfo machine=i5_3550 cores=8 jobs=8    any parameter of the model
  'ceiling=[0,33,512]'                          a list is an axis and replaces the grid's
  policy='["xpfo*","!xpfo_broadcast"]'          policies by pattern
  costs=literature | costs=calibrated           published costs alone, or fitted ones (the default)
  draws=64                                      5/50/95 % bands over 64 cost samples
  replicas=16 precision=0.002 seed=1            precision and seed
  policy_path=DIR                               your own policies; --config-dir DIR for everything else
  dry_run=true                                  estimate of the work; writes nothing
  out=outputs/mine                              output folder; the same command continues a run
  runner=serial | runner=ray runner.cpus=4      this process, or Ray
  quiet=true report=false                       no printed output; no report.html

examples:
  sweep +grid=patch                             the patch's table
  sweep +grid=point policy=xpfo_deferred cores=96 jobs=60
  sweep +grid=cores 'policy=[xpfo,xpfo_deferred]' jobs='1 x cores' dry_run=true
  sweep +grid=point machine=epyc_milan_2s jobs=256 'policy=[xpfo,xpfo_deferred,xpfo_broadcast]'    INVLPGB or not
  sweep +grid=ceiling workload=fork_server      the best ceiling for one workload
  sweep +grid=cores workload=unmapped_alloc rate_per_s=20000 policy=xpfo    CPUs from which a rate costs 10 %
  sweep +grid=isolated                          effect of housekeeping CPUs' flushes on isolated CPUs
  sweep +grid=fabric                            senders that saturate hardware broadcasts

verbs (each with --help):
  sweep list [KIND]                             policies, machines, workloads, grids, parameters, tables, metrics, words
  sweep show NAME                               one of these names, explained
  sweep show point OUT N                        every parameter of point N of a run, and its origin
  sweep runs [FOLDER]                           the runs below a folder, and their different settings
  sweep status OUT [--watch]                    progress of a run; --watch repeats it to the end
  sweep report OUT [OUT ...]                    rebuild report.html, and plots/ as PNG and SVG, for one run or several
  sweep plot OUT y=flush_wait_ns x=cores        a metric against a parameter, as PNG and SVG
  sweep explore                                 a page with machine, CPUs, policies and load as controls
  sweep tables OUT                              rebuild its tables
  sweep compare A B [--markdown FILE]           points that moved between two runs; --csv FILE has all of them
  sweep why OUT                                 saturated resources of a run, and the costs that matter
  sweep next OUT                                the most informative next measurements, from a run with draws
  sweep machine --lscpu FILE                    a machine file for another host
  sweep measure                                 a machine file for this host, from measured broadcasts
  sweep profile -- COMMAND                      a workload file from a command
  sweep counters FILE ...                       cost of a host's TLB flushes, from /proc/interrupts and the like
  eval "$(sweep --completion)"                  completion in this shell"""


def parser() -> Parser:
    parser = Parser(
        "sweep",
        "What would this TLB-flush policy cost on that machine? Sweeps of a validated simulation.",
        listing([conf_dir()]) + "\n\n" + USAGE,
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="+grid=NAME and Hydra overrides")
    add_config_dir(parser)
    parser.add_argument("--version", action="version", version=f"sweep {VERSION}")
    parser.add_argument(
        "--completion", action="store_true", help='print the shell\'s completion: eval "$(sweep --completion)"'
    )
    parser.add_argument(
        "-c", "--cfg", metavar="job", choices=["job"], help="print the composed configuration, and run nothing"
    )
    return parser


def read(arguments: Sequence[str]) -> Request | None:
    """The request of a command line; None if its answer is already printed. BadInput for any mistake."""
    given, strange = parser().parse_known_intermixed_args(arguments)
    if strange:
        jobs = " (it would start one job per point: give a list like `ceiling=[0,33,512]`, or a grid file)"
        why = jobs if strange[0] in ("-m", "--multirun") else ""
        raise BadInput(f"unknown option {strange[0]!r}{why}; see `sweep --help`")
    folders = folders_of(given.config_dir)
    if given.completion:
        from argcomplete.shell_integration import shellcode

        print(shellcode(["sweep"]))
        return None
    if given.cfg:
        print(configuration(given.overrides, folders), end="")
        return None
    request = compose(given.overrides, folders, shlex.join(["sweep", *arguments]))
    if not request.settings.quiet:
        for name in hidden_files(folders):
            print(f"{name}: the file in {given.config_dir} replaces the one of sweep", file=sys.stderr)
    return request
