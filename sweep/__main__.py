"""The command: `sweep +grid=NAME KEY=VALUE ...` runs a sweep, `sweep VERB ...` works with runs and hosts."""

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__" and not sys.flags.safe_path and sys.path[0] != str(Path(__file__).resolve().parent.parent):
    del sys.path[0]  # the working folder, added by `python -m sweep`: a sim.py in it is not ours

from sweep.command import verbs
from sweep.errors import BadInput, Stopped, Unmeasurable
from sweep.messages import Forgiving, forgiving, say

FEW_COLLECTIONS = 100_000  # objects between two: imports make a million, and no garbage


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. Only this function reports mistakes.

    0 done; 1 stopped (no room, a hung node, a machine that cannot be measured), 129, 130 or 143 by a signal: the same
    command continues; 2 bad input, nothing was started; 3 done, but points failed. A message that cannot be written
    does not change it.
    """
    with forgiving():
        try:
            given = list(sys.argv[1:] if arguments is None else arguments)
            code = _run(given)
            sys.stdout.flush()
            printed = bool(given) and (given[0] in verbs.VERBS or "--completion" in given)  # a run has a folder
            if printed and isinstance(sys.stdout, Forgiving) and sys.stdout.full:
                raise Stopped(1, "standard output: no space left")
            return code
        except (BadInput, Unmeasurable, Stopped) as error:
            say(f"sweep: {error}")
            return error.code if isinstance(error, Stopped) else 2 if isinstance(error, BadInput) else 1
        except KeyboardInterrupt:  # outside the simulation, which handles signals itself
            say("sweep: stopped by SIGINT")
            return 130


def _run(arguments: list[str]) -> int:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise BadInput("the working folder does not exist any more: change to another") from None
    if {"_ARGCOMPLETE", "COMP_LINE", "COMP_POINT"} <= os.environ.keys():  # a shell's Tab
        from sweep.command.completion import answer

        answer()
    if arguments and arguments[0] in verbs.VERBS:
        return verbs.run(arguments[0], arguments[1:])
    from sweep.command import usage  # Hydra takes half a second; verbs do not need it

    request = usage.read(arguments)
    if request is None:
        return 0
    if "fit" in request.composition.content:
        from sweep.calibrate.rounds import calibrate

        return calibrate(request)
    from sweep.run.driver import run

    return run(request)


def console() -> None:
    """Entry point of the `sweep` script."""
    gc.set_threshold(FEW_COLLECTIONS)
    code = main()
    gc.freeze()  # the process ends, so no object need be collected
    sys.exit(code)


if __name__ == "__main__":
    console()
