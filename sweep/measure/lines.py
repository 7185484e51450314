"""Times of a cache line between the CPUs of this machine, for each pair and contended, without root.

C:   sweep/measure/lines.c: a ping-pong by compare-exchange; one word that several CPUs write
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd

from sweep.errors import BadInput, Unmeasurable
from sweep.inputs.door import Written, admit
from sweep.measure.experiment import MOST_CPUS
from sweep.measure.loop import helper
from sweep.measure.measured import number
from sweep.measure.topology import DISTANCES, Latencies, Topology, by_distance

SOURCE = Path(__file__).with_name("lines.c")
KINDS = ("plain", "atomic", "test_first")  # of writes to a contended line
ALL_PAIRS = 64  # CPUs up to which every pair is measured
PAIRS = 500  # of each distance beyond that
PAIR_MS, CONTENDED_MS = 20.0, 100.0
PAIRS_A_CALL = 100


class Row(Written):
    """A row of lines.csv: a pair's one-way time, or the time between writes of several CPUs to one line."""

    kind: Literal["pair", "plain", "atomic", "test_first"]
    cpus: Annotated[int, number(1, MOST_CPUS, whole=True)]
    one: Annotated[int, number(0, 1e6, whole=True)] = 0
    other: Annotated[int, number(0, 1e6, whole=True)] = 0
    ns: Annotated[float, number(1e-4, 1e9)]


def pairs_of(host: Topology) -> list[tuple[int, int]]:
    """Pairs of CPUs to measure, by index: all of a small machine, else some of each distance."""
    first, second = np.triu_indices(host.cpus, 1)
    if host.cpus > ALL_PAIRS:
        random, distance = np.random.default_rng(0), host.distances[first, second]
        kept = [np.flatnonzero(distance == at) for at in range(len(DISTANCES))]
        some = np.sort(np.concatenate([random.permutation(each)[:PAIRS] for each in kept]))
        first, second = first[some], second[some]
    return list(zip(first.tolist(), second.tolist(), strict=True))


def numbers_of(cpus: int) -> list[int]:
    """The numbers of CPUs that write a contended line: powers of two, and all."""
    return sorted({cpus, *(1 << at for at in range(cpus.bit_length()))} - {0})


def seconds_of(host: Topology) -> float:
    """The duration of all measurements."""
    return 1e-3 * (PAIR_MS * len(pairs_of(host)) + CONTENDED_MS * len(KINDS) * len(numbers_of(host.cpus)))


def measure_lines(host: Topology, cpus: Sequence[int], progress: Callable[[str], None]) -> pd.DataFrame:
    """The rows of lines.csv; `cpus` are the numbers of the host's CPUs."""
    program, pairs = helper(SOURCE), pairs_of(host)
    progress(f"cache lines: {len(pairs)} pairs of CPUs and contended lines, {seconds_of(host):.0f} s")
    rows = []
    for begin in range(0, len(pairs), PAIRS_A_CALL):
        some = [cpus[at] for pair in pairs[begin : begin + PAIRS_A_CALL] for at in pair]
        for line in _run(program, "pairs", PAIR_MS, some, PAIR_MS * len(some)).splitlines():
            one, other, time = line.split()
            rows.append({"kind": "pair", "cpus": 2, "one": int(one), "other": int(other), "ns": float(time)})
    for kind in KINDS:
        for many in numbers_of(len(cpus)):
            ns = float(_run(program, kind, CONTENDED_MS, cpus[:many], CONTENDED_MS))
            rows.append({"kind": kind, "cpus": many, "one": cpus[0], "other": cpus[many - 1], "ns": ns})
    return pd.DataFrame(rows)


def _run(program: Path, what: str, ms: float, cpus: Sequence[int], expected_ms: float) -> str:
    words = [str(each) for each in (program, what, ms, *cpus)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60 + expected_ms / 250)
    if done.returncode:
        raise Unmeasurable(f"cache lines: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def read_lines(path: Path) -> pd.DataFrame:
    """An earlier lines.csv; BadInput with line, column and allowed values."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise BadInput(f"{path}: must be a lines.csv of `sweep measure`: {' '.join(str(error).split())}") from None
    rows = [admit(Row, row, f"{path}, line {at + 2}") for at, row in enumerate(table.to_dict("records"))]
    return pd.DataFrame([row.model_dump() for row in rows], columns=list(Row.model_fields))


def latencies(table: pd.DataFrame, host: Topology, cpus: Sequence[int]) -> Latencies:
    """5th percentile, median and 95th percentile over the pairs of each distance, by the name of the parameter."""
    at = {cpu: index for index, cpu in enumerate(cpus)}
    matrix = np.full((host.cpus, host.cpus), np.nan)
    pairs = table[table["kind"] == "pair"]
    for one, other, ns in zip(pairs["one"].tolist(), pairs["other"].tolist(), pairs["ns"].tolist(), strict=True):
        if one in at and other in at:
            matrix[at[one], at[other]] = ns
    return by_distance(matrix, host, "lines.csv") if np.isfinite(matrix).any() else {}
