"""The options and the help of `sweep +grid=NAME KEY=VALUE ...`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from sweep import __version__
from sweep.command.compose import compose, configuration
from sweep.command.options import Parser, add_config_dir
from sweep.errors import BadInput
from sweep.inputs.conf import conf_dir, hidden_files, listing
from sweep.inputs.home import folders_of
from sweep.run.request import Request

USAGE = """\
overrides people use:
  policy=xpfo machine=i5_3550 cores=8 jobs=8    what is simulated; any parameter of the model
  'ceiling=[0,33,512]'                          a list makes an axis, in place of the grid's of that name
  policy='["xpfo*","!xpfo_broadcast"]'          policies by pattern
  costs=literature | costs=calibrated           published costs alone, or fitted ones (the default)
  draws=64                                      5/50/95 % bands: each point under so many draws of its costs
  replicas=16 precision=0.002 seed=1            how well
  dry_run=true                                  how much work it would be; writes nothing
  out=outputs/mine                              where; the same command again continues there
  runner=serial | runner=ray runner.cpus=4      one process, or Ray
  quiet=true report=false                       print nothing; make no report.html

examples:
  sweep +grid=patch                             the patch's table
  sweep +grid=point policy=xpfo_deferred cores=96 jobs=60
  sweep +grid=cores 'policy=[xpfo,xpfo_deferred]' jobs='1 x cores' dry_run=true
  sweep +grid=point machine=epyc_milan_2s jobs=256 'policy=[xpfo,xpfo_deferred,xpfo_broadcast]'    INVLPGB or not
  sweep +grid=ceiling workload=fork_server      whether one workload wants another ceiling
  sweep +grid=cores workload=unmapped_alloc rate_per_s=20000 policy=xpfo    from how many CPUs a rate takes 10 %
  sweep +grid=isolated                          what flushes of housekeeping CPUs do to isolated CPUs
  sweep +grid=fabric                            from how many senders hardware broadcasts saturate

verbs (each with --help):
  sweep list [KIND]                             policies, machines, workloads, grids, parameters, tables, metrics, words
  sweep show NAME                               what one of these is
  sweep show point OUT N                        every parameter of point N of a run, and where it comes from
  sweep runs [FOLDER]                           the runs below a folder, and what tells them apart
  sweep status OUT [--watch]                    how far a run is; again and again until it ends
  sweep report OUT [OUT ...]                    report.html again, and plots/ as PNG and SVG; of two runs, one page
  sweep plot OUT y=flush_wait_ns x=cores        one metric against one parameter, as PNG and SVG
  sweep tables OUT                              its tables again
  sweep compare A B [--markdown FILE]           which points moved between two runs; --csv FILE has all of them
  sweep why OUT                                 what is saturated in a run, and which costs matter
  sweep next OUT                                what to measure next, from a run with draws
  sweep machine --lscpu FILE                    another host, as a machine file
  sweep measure                                 broadcasts on this machine, as a machine file
  sweep profile -- COMMAND                      a command's work, as a workload file
  sweep counters FILE ...                       what a host's TLB flushes cost, by its /proc/interrupts and the like
  eval "$(sweep --completion)"                  completion in this shell"""


def parser() -> Parser:
    """The options of a sweep."""
    parser = Parser(
        "sweep",
        "What would this TLB-flush policy cost on that machine? Sweeps of a validated simulation.",
        listing([conf_dir()]) + "\n\n" + USAGE,
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="+grid=NAME and Hydra overrides")
    add_config_dir(parser)
    parser.add_argument("--version", action="version", version=f"sweep {__version__}")
    parser.add_argument(
        "--completion", action="store_true", help='print the shell\'s completion: eval "$(sweep --completion)"'
    )
    parser.add_argument("-c", "--cfg", metavar="job", help="print the composed configuration, and run nothing")
    parser.add_argument("-m", "--multirun", action="store_true", help=argparse.SUPPRESS)
    return parser


def read(arguments: Sequence[str]) -> Request | None:
    """The request of a command line; None if its answer is printed already. BadInput for anything that is off."""
    given, strange = parser().parse_known_intermixed_args(arguments)
    if strange:
        raise BadInput(f"unknown option {strange[0]!r}; see `sweep --help`")
    if given.multirun:
        raise BadInput(
            "-m is refused: it would start one job per point. Give a list instead, like `ceiling=[0,33,512]`, or write "
            "a grid file"
        )
    if given.cfg not in (None, "job"):
        raise BadInput(f"--cfg {given.cfg}: must be job; Hydra's own settings are not used here")
    folders = folders_of(given.config_dir)
    if given.completion:
        from argcomplete.shell_integration import shellcode

        print(shellcode(["sweep"]))
        return None
    if given.cfg:
        print(configuration(given.overrides, folders), end="")
        return None
    request = compose(given.overrides, folders, shlex.join(["sweep", *arguments]))
    if not request.quiet:
        for name in hidden_files(folders):
            print(f"{name}: the file of {given.config_dir}, not the one that comes with sweep", file=sys.stderr)
    return request
