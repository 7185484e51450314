"""Times of a cache line between the CPUs of this machine, for each pair and contended, without root.

C:   sweep/measure/lines.c: a ping-pong by compare-exchange; one word that several CPUs write
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sweep.errors import Unmeasurable
from sweep.measure.loop import helper
from sweep.measure.topology import DISTANCES, Latencies, Topology, by_distance
from sweep.messages import say

SOURCE = Path(__file__).with_name("lines.c")
KINDS = ("plain", "atomic", "test_first")  # of writes to a contended line
ALL_PAIRS = 64  # CPUs up to which every pair is measured
PAIRS = 500  # of each distance beyond that
PAIR_MS, CONTENDED_MS = 20.0, 100.0


def pairs_of(host: Topology) -> np.ndarray:
    """Pairs of CPUs to measure, by index, [pair, 2]: all of a small machine, else some of each distance."""
    pairs = np.stack(np.triu_indices(host.cpus, 1), axis=1)
    if host.cpus > ALL_PAIRS:
        random, distance = np.random.default_rng(0), host.distances[pairs[:, 0], pairs[:, 1]]
        kept = [random.permutation(np.flatnonzero(distance == at))[:PAIRS] for at in range(len(DISTANCES))]
        pairs = pairs[np.sort(np.concatenate(kept))]
    return pairs


def numbers_of(cpus: int) -> list[int]:
    """The numbers of CPUs that write a contended line: powers of two, and all."""
    return sorted({cpus, *(1 << at for at in range(cpus.bit_length()))})


def seconds_of(host: Topology) -> float:
    """The duration of all measurements."""
    return 1e-3 * (PAIR_MS * len(pairs_of(host)) + CONTENDED_MS * len(KINDS) * len(numbers_of(host.cpus)))


def measure_lines(host: Topology, cpus: Sequence[int]) -> pd.DataFrame:
    """The rows of lines.csv; `cpus` are the numbers of the host's CPUs."""
    program, pairs = helper(SOURCE), np.array(cpus)[pairs_of(host)]
    say(f"cache lines: {len(pairs)} pairs of CPUs and contended lines, {seconds_of(host):.0f} s")
    rows: list[tuple[str, int, int, int, float]] = []
    for line in _run(program, "pairs", PAIR_MS, pairs.ravel().tolist()).splitlines():
        one, other, time = line.split()
        rows.append(("pair", 2, int(one), int(other), float(time)))
    for kind in KINDS:
        for many in numbers_of(len(cpus)):
            ns = float(_run(program, kind, CONTENDED_MS, cpus[:many]))
            rows.append((kind, many, cpus[0], cpus[many - 1], ns))
    return pd.DataFrame(rows, columns=["kind", "cpus", "one", "other", "ns"])


def _run(program: Path, what: str, ms: float, cpus: Sequence[int]) -> str:
    words = [str(each) for each in (program, what, ms, *cpus)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60 + ms * len(cpus) / 250)
    if done.returncode:
        raise Unmeasurable(f"cache lines: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def latencies(table: pd.DataFrame, host: Topology, cpus: Sequence[int]) -> Latencies:
    """Times of the pairs in a lines.csv by the name of their parameter; none if no pair of these CPUs is there."""
    pairs = table[(table["kind"] == "pair") & table["one"].isin(cpus) & table["other"].isin(cpus)]
    matrix = np.full((host.cpus, host.cpus), np.nan)
    matrix[np.searchsorted(cpus, pairs["one"]), np.searchsorted(cpus, pairs["other"])] = pairs["ns"]
    source = "compare-exchange between pairs of CPUs, lines.csv"
    return {} if pairs.empty else by_distance(matrix, host, "lines.csv", source)
