"""How long does a small sweep take? `python -m benchmarks.start [--quick]`.

`python -m sweep +grid=smoke runner=serial`, compared with a Python that only imports numpy, pandas and Hydra; the best
of alternating runs.
"""

import subprocess
import sys
import tempfile
import time
from functools import cache

TARGET = 3.0
IMPORTS = ["-c", "import numpy, pandas, hydra"]
SMOKE = ["-m", "sweep", "+grid=smoke", "runner=serial", "quiet=true"]


def took_s(arguments: list[str]) -> float:
    with tempfile.TemporaryDirectory() as out:
        arguments = [*arguments, f"out={out}/run"] if "sweep" in arguments else arguments
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - begun


@cache
def measure(quick: bool = False) -> dict[str, float]:
    """Best seconds of each side."""
    sides = {
        "imports": IMPORTS,
        "smoke": [*SMOKE, "report=true"],
        "smoke without report": [*SMOKE, "report=false"],
    }
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(3 if quick else 10):
        for name, arguments in sides.items():
            best[name] = min(best[name], took_s(arguments))
    return best


def ratios(quick: bool = True) -> dict[str, float]:
    """Time of the smoke sweep over that of the imports."""
    took = measure(quick)
    return {f"{name} over imports": took[name] / took["imports"] for name in took if name != "imports"}


def main() -> None:
    quick = "--quick" in sys.argv
    found = ratios(quick)
    for name, seconds in measure(quick).items():
        print(f"{name:22} {seconds:6.2f} s  {found.get(f'{name} over imports', 1.0):5.2f}x")
    ratio = found["smoke over imports"]
    print(
        f"\nThe smoke sweep with its report takes {ratio:.2f} times as long as the imports alone; the target, "
        f"less than {TARGET:g} times, is {'met' if ratio < TARGET else 'missed'}."
    )


if __name__ == "__main__":
    main()
