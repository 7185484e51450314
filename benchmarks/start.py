"""How long does a small sweep take, from the shell to its answer? `python -m benchmarks.start [--quick]`.

`+grid=smoke`, and `+grid=point` of a deferral and of a broadcast, in one process with a report, compared with a Python
that only imports numpy, pandas and Hydra; the best of alternating runs.
"""

import subprocess
import sys
import tempfile
import time
from functools import cache

SIDES = {
    "smoke": ["+grid=smoke"],
    "deferral": ["+grid=point", "policy=xpfo_deferred", "cores=96", "jobs=60"],
    "broadcast": ["+grid=point", "policy=xpfo", "cores=96", "jobs=60"],
}
TARGETS = {"smoke": 3.0, "deferral": 1.5, "broadcast": 2.5}  # times the imports


def took_s(arguments: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - begun


@cache
def measure(quick: bool = False) -> dict[str, float]:
    """Best seconds of each side."""
    best = dict.fromkeys(["imports", *SIDES], float("inf"))
    for _ in range(3 if quick else 10):
        best["imports"] = min(best["imports"], took_s(["-c", "import numpy, pandas, hydra"]))
        for name, arguments in SIDES.items():
            with tempfile.TemporaryDirectory() as out:
                took = took_s(["-m", "sweep", *arguments, "runner=serial", "quiet=true", "report=true", f"out={out}/r"])
            best[name] = min(best[name], took)
    return best


def ratios(quick: bool = True) -> dict[str, float]:
    """Time of each sweep over that of the imports."""
    took = measure(quick)
    return {f"{name} over imports": took[name] / took["imports"] for name in SIDES}


def main() -> None:
    quick = "--quick" in sys.argv
    print(f"imports    {measure(quick)['imports']:6.2f} s")
    for (name, target), ratio in zip(TARGETS.items(), ratios(quick).values(), strict=True):
        met = "met" if ratio <= target else "missed"
        print(f"{name:10} {measure(quick)[name]:6.2f} s  {ratio:5.2f} times the imports: target {target:g}, {met}")


if __name__ == "__main__":
    main()
