"""The command: `sweep +grid=NAME KEY=VALUE ...` runs a sweep, `sweep VERB ...` does something with one."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sweep.command.verbs import VERBS
from sweep.errors import BadInput, Unmeasurable


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code. The one place that answers a user's mistake.

    0 done; 1 stopped (no room, a hung node, a machine that cannot be measured), 130 or 143 by a signal: the same
    command goes on; 2 bad input, nothing was started; 3 done, but points failed.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if arguments and arguments[0] in VERBS:
            return VERBS[arguments[0]](arguments[1:])
        from sweep.command import usage  # Hydra takes half a second, and a verb does without

        request = usage.read(arguments)
        if request is None:
            return 0
        if "fit" in request.composition.content:
            from sweep.calibrate.rounds import calibrate

            return calibrate(request)
        from sweep.run.driver import run

        return run(request)
    except (BadInput, Unmeasurable) as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    except KeyboardInterrupt:  # before or after the simulation, which has its own
        print("sweep: stopped by SIGINT; the same command continues", file=sys.stderr)
        return 130


def console() -> None:
    """Entry point of the `sweep` script."""
    sys.exit(main())


if __name__ == "__main__":
    console()
