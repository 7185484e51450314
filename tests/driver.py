"""The command line with faults in its simulation: `python -m tests.driver '{"sleep_s": 0.05}' KEY=VALUE ...`.

Points are told by [jobs, ceiling]. `raises`, `exits` and `fills` list those that raise, end their process, and take
memory until they are killed. It is run as a program, so that Ray carries these functions to its workers by value.
"""

import json
import os
import sys
import time
from typing import Any

from sweep import __main__ as command
from sweep.run import compute as simulation

FAULTS: dict[str, Any] = {}
without_faults = simulation.compute


def compute(plan, points):
    """As simulation.compute, with faults."""
    time.sleep(FAULTS.get("sleep_s", 0.0))
    without_faults.__globals__["simulate"] = simulate  # a worker's copy has globals of its own
    return without_faults(plan, points)


def simulate(**parameters):
    import sim

    points = set(zip(parameters["jobs"].tolist(), parameters["ceiling"].tolist(), strict=True))

    def has(fault):
        return points & {tuple(point) for point in FAULTS.get(fault, ())}

    if has("raises"):
        raise ZeroDivisionError("a point that cannot be")
    if has("exits"):
        os._exit(1)
    if has("fills"):
        held = []
        for _ in range(FAULTS["fill_mb"] // 200):
            held.append(bytearray(os.urandom(1)) * 200_000_000)
            time.sleep(0.05)
        time.sleep(20)
    return sim.simulate(**parameters)


if __name__ == "__main__":
    FAULTS |= json.loads(sys.argv[1])
    simulation.compute = compute
    sys.exit(command.main(sys.argv[2:]))
