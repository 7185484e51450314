"""Every benchmark in its quick form, and its ratios in `benchmarks/history.csv`. `python -m benchmarks.history`.

A ratio compares two sides of one run, so rows of different machines can be compared; plain times are also included.
"""

import csv
import importlib
import time
from pathlib import Path

from sweep.run.record import commit

BENCHMARKS = ("engine", "overhead", "precision", "deferral", "start", "large")
HISTORY = Path(__file__).with_name("history.csv")
HEAD = ("date", "commit", "benchmark", "name", "ratio")


def main() -> None:
    rows = []
    for name in BENCHMARKS:
        try:
            found = importlib.import_module(f"benchmarks.{name}").ratios()
        except ModuleNotFoundError as error:  # the package compared with is an extra
            print(f"{name}: left out: {error}")
            continue
        for what, ratio in found.items():
            rows.append((time.strftime("%Y-%m-%d"), commit(), name, what, f"{ratio:.4g}"))
            print(f"{name:10} {what:45} {ratio:10.4g}", flush=True)
    begin = not HISTORY.exists()
    with HISTORY.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([HEAD] if begin else [])
        writer.writerows(rows)
    print(f"\n{len(rows)} ratios are added to benchmarks/{HISTORY.name}.")


if __name__ == "__main__":
    main()
