"""Carrying chunks to processors: one process, or Ray. Both are generators of (chunk, table, note for the journal)."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from sweep.catalog import BadInput
from sweep.chunk import Points, compute, failed, failures, joined
from sweep.plan import Plan
from sweep.stop import Stopped

MOST_LOST = 100  # results that Ray may lose for good before the run stops
SHUTDOWN_S = 20.0
REACH_S = 14.0  # for a head to answer
stuck = False  # whether Ray's shutdown has not come to an end

Done = tuple[int, pa.Table | bytearray | None, dict[str, Any]]  # bytes: a part to commit; None: it is committed
Write = Callable[[Plan, int, pa.Table], bytearray | None]  # makes the part of a chunk, or commits it
Known = Callable[[int], pa.Table | None]  # rows of a chunk that need no computing


def nothing_known(chunk: int) -> pa.Table | None:
    return None


@dataclass(frozen=True)
class Runner:
    """How chunks are carried, from `conf/runner/`."""

    kind: str = "auto"
    serial_below_s: float = 60.0
    address: str | None = None
    cpus: int | None = None
    tasks_per_cpu: int = 2
    stall_s: float = 900.0
    commit: str = "driver"

    def __post_init__(self) -> None:
        if self.kind not in ("auto", "serial", "ray"):
            raise BadInput(f"runner.kind={self.kind!r}: must be auto, serial or ray")
        if self.commit not in ("driver", "workers"):
            raise BadInput(f"runner.commit={self.commit!r}: must be driver or workers")
        if self.address and self.address.startswith(("http://", "https://")):
            raise BadInput(
                f"runner.address={self.address!r}: is Ray's Jobs API; submit with "
                f"`ray job submit --address {self.address}`, or give HOST:PORT of the head"
            )
        if isinstance(self.stall_s, bool) or not isinstance(self.stall_s, int | float) or not self.stall_s > 0:
            raise BadInput(f"runner.stall_s={self.stall_s!r}: must be seconds, above 0")
        if self.tasks_per_cpu < 1:
            raise BadInput(f"runner.tasks_per_cpu={self.tasks_per_cpu}: must be at least 1")
        if self.cpus is not None and self.cpus < 1:
            raise BadInput(f"runner.cpus={self.cpus}: must be at least 1")

    def choose(self, estimate_s: float) -> tuple[str, str]:
        """serial or ray, and why, in words."""
        if self.kind != "auto":
            return self.kind, f"runner={self.kind}"
        if estimate_s < self.serial_below_s:
            return "serial", f"about {estimate_s:.0f} CPU s of work: one process, without Ray's start"
        return "ray", f"about {estimate_s:.0f} CPU s of work: on Ray"


def reach(runner: Runner) -> None:
    """BadInput, within 15 s, if the Ray that this runner names does not answer; starts nothing."""
    address = runner.address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        return
    wrong = f"runner.address={address!r}: no Ray head answers there"
    remedy = "start one (`ray start --head`), name another, or use runner.address=local"
    end = time.monotonic() + REACH_S
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout=5).close()
        except OSError as error:
            raise BadInput(f"{wrong} ({error.strerror or error}); {remedy}") from None
    script = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); ray.shutdown()"
    try:  # in a process of its own: Ray tries for over a minute and then ends the process it is in
        asked = subprocess.run(
            [sys.executable, "-c", script, address], capture_output=True, text=True, timeout=end - time.monotonic()
        )
    except subprocess.TimeoutExpired:
        raise BadInput(f"{wrong} within {REACH_S:.0f} s; {remedy}") from None
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BadInput(f"{wrong} ({last}); {remedy}")


def serial(plan: Plan, chunks: Sequence[int], known: Known = nothing_known) -> Generator[Done, None, None]:
    """One chunk after the other, in this process."""
    for chunk in chunks:
        taken, points = _missing(plan, chunk, known)
        pieces = [taken] if taken is not None else []
        note: dict[str, Any] = {}
        if len(points):
            table, note = _timed(compute, plan, points)
            pieces.append(table)
        yield chunk, joined(pieces), {**note, "running": 1}


def ray(
    plan: Plan, chunks: Sequence[int], runner: Runner, known: Known = nothing_known, write: Write | None = None
) -> Generator[Done, None, None]:
    """A bounded window of tasks on Ray, in the order they finish.

    Ray computes a chunk again when its worker or node dies. Points whose worker runs out of memory, or dies each time,
    are computed in halves, down to the point that does it; it fails if it does it with no other task beside it, too.
    Stopped if nothing finishes for stall_s. `write` is for chunks that a worker computes whole, on that worker.
    """
    os.environ.setdefault("RAY_task_oom_retries", "1")  # else Ray repeats what is killed for memory for ever
    import ray as rayapi

    address = runner.address or os.environ.get("RAY_ADDRESS") or "local"
    owned = not rayapi.is_initialized()
    if owned:
        before = signal.getsignal(signal.SIGTERM)
        try:
            rayapi.init(
                address=address, num_cpus=runner.cpus if address == "local" else None,
                include_dashboard=False if address == "local" else None, log_to_driver=False,
                logging_level=logging.ERROR,
            )  # fmt: skip
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise Stopped(1, f"Ray does not start: {error}") from None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put its own in its place
    try:
        yield from _carried(rayapi, plan, chunks, runner, known, write)
    finally:
        if owned:
            _shut_down(rayapi)


def _carried(
    rayapi: Any, plan: Plan, chunks: Sequence[int], runner: Runner, known: Known, write: Write | None
) -> Generator[Done, None, None]:
    crashes = (rayapi.exceptions.OutOfMemoryError, rayapi.exceptions.WorkerCrashedError, rayapi.exceptions.RayTaskError)
    remote = rayapi.remote(max_retries=3, scheduling_strategy="SPREAD")
    timed, written = remote(_timed), remote(_written)
    shared = rayapi.put(plan)

    def send(chunk: int, points: Points) -> Any:
        if write is None or len(points) < plan.chunks[chunk + 1] - plan.chunks[chunk]:
            return timed.remote(compute, shared, points)
        return written.remote(compute, shared, points, write, chunk)

    todo = iter(chunks)
    again: deque[tuple[int, Points]] = deque()  # pieces of chunks, to be computed next
    alone: deque[tuple[int, Points]] = deque()  # points to be computed with no other task beside them
    flying: dict[Any, tuple[int, Points]] = {}
    single = None  # the task that flies alone
    opened: dict[int, _Opened] = {}
    window, counted, moved, lost = 0, 0.0, time.monotonic(), 0
    while True:
        now = time.monotonic()
        if now - counted > 5.0:  # nodes come and go
            cpus = rayapi.cluster_resources().get("CPU", 1)
            window, counted = max(1, int(runner.tasks_per_cpu * cpus)), now
        if alone and not flying:
            piece = alone.popleft()
            single = send(*piece)
            flying[single] = piece
        while not alone and single is None and len(flying) < window:
            if not again:
                chunk = next(todo, None)
                if chunk is None:
                    break
                taken, points = _missing(plan, chunk, known)
                opened[chunk] = _Opened([taken] if taken is not None else [], len(points))
                if not len(points):
                    yield chunk, opened.pop(chunk).table(), {}
                    continue
                again.append((chunk, points))
            piece = again.popleft()
            flying[send(*piece)] = piece
        if not flying:
            return
        done, _ = rayapi.wait(list(flying), num_returns=1, timeout=1.0)
        if done:
            moved = time.monotonic()
        elif time.monotonic() - moved > runner.stall_s:
            raise Stopped(
                1, f"no chunk has finished for {runner.stall_s:g} s (runner.stall_s): a node may hang, "
                f"{len(flying)} tasks are still out"
            )  # fmt: skip
        for reference in done:
            chunk, points = flying.pop(reference)
            by_itself, single = reference == single, None
            try:
                table, note = rayapi.get(reference)
            except crashes as error:
                if isinstance(getattr(error, "cause", None), Stopped):  # no room where the worker commits
                    raise error.cause from None
                memory = isinstance(error, rayapi.exceptions.OutOfMemoryError)
                opened[chunk].count("out_of_memory" if memory else "crashed")
                if len(points) > 1:
                    middle = len(points) // 2
                    again.extend([(chunk, points[:middle]), (chunk, points[middle:])])
                    continue
                if not by_itself:  # what is ended for want of memory is not always what takes it
                    alone.append((chunk, points))
                    continue
                why = "its worker ran out of memory" if memory else f"its worker died ({type(error).__name__})"
                table, note = failed(plan, int(points[0]), why, why), {}
            except rayapi.exceptions.RayError as error:
                lost += 1
                if lost > MOST_LOST:
                    raise Stopped(1, f"Ray has lost {lost} results: {type(error).__name__}") from None
                again.append((chunk, points))
                continue
            del reference
            if not isinstance(table, pa.Table):
                opened.pop(chunk)
                yield chunk, table, {**note, "running": len(opened)}
                continue
            if opened[chunk].add(table, len(points), note):
                whole = opened.pop(chunk)
                del table
                yield chunk, whole.table(), {**whole.note, "running": len(opened)}


@dataclass
class _Opened:
    """A chunk of which something is there, and something not yet."""

    pieces: list[pa.Table]
    left: int  # points
    note: dict[str, Any] = field(default_factory=dict)

    def add(self, table: pa.Table, points: int, note: Mapping[str, Any]) -> bool:
        """Whether that was the last piece."""
        self.pieces.append(table)
        self.left -= points
        for name, value in note.items():
            self.note[name] = self.note.get(name, 0.0) + value if isinstance(value, float) else value
        return self.left == 0

    def count(self, what: str) -> None:
        self.note[what] = self.note.get(what, 0.0) + 1.0

    def table(self) -> pa.Table:
        return joined(self.pieces)


def _missing(plan: Plan, chunk: int, known: Known) -> tuple[pa.Table | None, Points]:
    """Rows of a chunk that are known already, and the points to compute."""
    points = range(int(plan.chunks[chunk]), int(plan.chunks[chunk + 1]))
    taken = known(chunk)
    if taken is None:
        return None, points
    return taken, np.setdiff1d(np.asarray(points), taken["point"].to_numpy())


def _timed(compute: Callable[[Plan, Points], pa.Table], plan: Plan, points: Points) -> tuple[pa.Table, dict[str, Any]]:
    """Rows, and what the journal says of them."""
    begun_s, begun_cpu_s = time.perf_counter(), time.process_time()
    table = compute(plan, points)
    took = {"wall_s": time.perf_counter() - begun_s, "cpu_s": time.process_time() - begun_cpu_s}
    return table, {**took, "worker_host": socket.gethostname(), "worker_pid": os.getpid()}


def _written(
    compute: Callable[[Plan, Points], pa.Table], plan: Plan, points: Points, write: Write, chunk: int
) -> tuple[bytearray | None, dict[str, Any]]:
    """As `_timed`, for a whole chunk that is written here and now; the note says how many of its points failed."""
    table, note = _timed(compute, plan, points)
    return write(plan, chunk, table), {**note, "failed": len(failures(table))}


def _shut_down(rayapi: Any) -> None:
    """Ray's own end, for at most SHUTDOWN_S: with a hung node it may never come."""
    thread = threading.Thread(target=rayapi.shutdown, daemon=True)
    thread.start()
    thread.join(SHUTDOWN_S)
    global stuck
    stuck = thread.is_alive()


def cpus_busy() -> float | None:
    """CPUs that Ray has given to tasks, as of the last second; None where this process has no Ray."""
    import ray as rayapi

    if not rayapi.is_initialized():
        return None
    return _cpus_busy(int(time.monotonic()))


@lru_cache(maxsize=1)
def _cpus_busy(second: int) -> float:
    """Asking costs a millisecond, as much as handing out a chunk."""
    import ray as rayapi

    whole, free = rayapi.cluster_resources(), rayapi.available_resources()  # type: ignore[no-untyped-call]
    return float(whole.get("CPU", 0.0) - free.get("CPU", 0.0))
