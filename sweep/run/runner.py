"""Chunks carried to processors: the common types, and the runner of this process.

`sweep.run.ray` carries them on a cluster, with the same types.
"""

import os
import socket
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from sweep.errors import Stopped
from sweep.plan.plan import Plan
from sweep.run import compute as simulation
from sweep.store.parts import part_bytes
from sweep.store.rows import Points, failures, join_tables

Compute = Callable[[Plan, Points], pa.Table]  # simulates points
Known = Callable[[int], pa.Table | None]  # rows of a chunk that need no computing


@dataclass(frozen=True)
class Carried:
    """A chunk whose points are all simulated."""

    chunk: int
    part: bytearray | None  # to be committed; None: its worker has committed it
    failed: int  # points
    running: int = 1  # chunks being computed when it ended; on a cluster without itself
    note: dict[str, Any] = field(default_factory=dict)  # for the journal


def serial(plan: Plan, chunks: Sequence[int], known: Known) -> Generator[Carried, None, None]:
    """One chunk after the other, in this process."""
    for chunk in chunks:
        tables, points = missing(plan, chunk, known)
        note: dict[str, Any] = {}
        if len(points):
            try:
                computed, note = timed(simulation.compute, plan, points)
            except (Stopped, SystemError):  # a signal, which may arrive wrapped from C code
                raise
            except BaseException as error:
                said = " ".join(str(error).split())
                raise Stopped(1, f"chunk {chunk} cannot be computed: {type(error).__name__}: {said}") from error
            tables.append(computed)
        table = join_tables(tables)
        yield Carried(chunk, part_bytes(plan, chunk, table), len(failures(table)), note=note)


def missing(plan: Plan, chunk: int, known: Known) -> tuple[list[pa.Table], Points]:
    """Rows of a chunk that are known already, if any, and the points to compute."""
    points = range(int(plan.chunks[chunk]), int(plan.chunks[chunk + 1]))
    table = known(chunk)
    if table is None:
        return [], points
    return [table], np.setdiff1d(np.asarray(points), table["point"].to_numpy())


def timed(compute: Compute, plan: Plan, points: Points) -> tuple[pa.Table, dict[str, Any]]:
    """Rows, and their note for the journal."""
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    table = compute(plan, points)
    took = {"wall_s": time.perf_counter() - begun_s, "cpu_s": time.process_time() - begun_cpu_s}
    return table, {**took, "worker_host": socket.gethostname(), "worker_pid": os.getpid()}
