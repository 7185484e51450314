"""The tasks of one plan on a cluster: a bounded window of them, retried or halved if a worker dies."""

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from sweep.errors import Stopped
from sweep.inputs.settings import Runner
from sweep.plan.plan import Plan
from sweep.run import compute as simulation
from sweep.run.runner import Carried, Compute, Known, missing, timed
from sweep.store.parts import part_bytes
from sweep.store.rows import Points, failed_rows, failures, join_tables

MOST_LOST = 100  # results that Ray may lose before the run stops
WINDOW_S = 5.0  # between two checks of the number of CPUs: nodes come and go
BY_ITSELF = 2  # attempts at a point alone before it fails: other tasks' memory may not be free at once

Write = Callable[[Plan, int, pa.Table], bytearray | None]  # makes the part of a chunk, or commits it


def one_line(error: BaseException) -> str:
    """An error's text, or its name without one."""
    return " ".join(str(error).split()) or type(error).__name__


@dataclass
class _Piece:
    """Points of a chunk for one task."""

    chunk: int
    points: Points
    by_itself: int = 0  # attempts with no other task running


@dataclass
class _Opened:
    """A chunk with some points done, and some not."""

    pieces: list[pa.Table]
    left: int  # points
    note: dict[str, Any] = field(default_factory=dict)

    def count(self, note: dict[str, Any]) -> None:
        for name, value in note.items():
            self.note[name] = self.note.get(name, 0.0) + value if isinstance(value, float) else value


class Flight:
    """The tasks of one plan; `turn` is called at each turn of the loop, `log_of` names the log of a dead worker.

    Ray computes a chunk again when its worker or node dies. Points whose worker runs out of memory, or dies each time,
    are computed in halves, down to the point at fault. That point fails if its worker dies twice with no other task
    running: out of memory, the task that is killed need not be the one that uses the memory.
    """

    def __init__(
        self, ray: Any, plan: Plan, settings: Runner, known: Known, write: Write,
        turn: Callable[[], None] = lambda: None, log_of: Callable[[Any], str | None] = lambda task: None,
    ) -> None:  # fmt: skip
        self._ray, self._plan, self._settings, self._known, self._write = ray, plan, settings, known, write
        self._turn, self._log_of = turn, log_of
        self._crashes = (
            ray.exceptions.OutOfMemoryError, ray.exceptions.WorkerCrashedError, ray.exceptions.RayTaskError,
        )  # fmt: skip
        self._remote = ray.remote(max_retries=3, scheduling_strategy="SPREAD")(_simulated)
        self._shared = ray.put(plan)
        self._again: deque[_Piece] = deque()  # next to compute
        self._by_themselves: deque[_Piece] = deque()  # points to compute with no other task running
        self._flying: dict[Any, _Piece] = {}
        self._opened: dict[int, _Opened] = {}
        self._window, self._window_at, self._landed_at, self._lost = 0, 0.0, time.monotonic(), 0

    def carry(self, chunks: Sequence[int]) -> Generator[Carried, None, None]:
        """Every chunk, in order of completion."""
        todo = iter(chunks)
        while True:
            self._turn()
            if self._by_themselves:
                if not self._flying:
                    piece = self._by_themselves.popleft()
                    time.sleep(piece.by_itself)  # a killed worker frees its memory
                    piece.by_itself += 1
                    self._start(piece)
            elif not any(piece.by_itself for piece in self._flying.values()):
                yield from self._fill(todo)
            if not self._flying:
                return
            for reference in self._wait():
                if (carried := self._land(reference)) is not None:
                    yield carried

    def _fill(self, todo: Iterator[int]) -> Generator[Carried, None, None]:
        """Fill the window with tasks; chunks that need no computing are yielded at once."""
        now = time.monotonic()
        if now - self._window_at > WINDOW_S:
            cpus = self._ray.cluster_resources().get("CPU", 1)
            self._window, self._window_at = max(1, int(self._settings.tasks_per_cpu * cpus)), now
        while len(self._flying) < self._window:
            if not self._again:
                chunk = next(todo, None)
                if chunk is None:
                    return
                tables, points = missing(self._plan, chunk, self._known)
                self._opened[chunk] = _Opened(tables, len(points))
                if not len(points):
                    yield self._close(chunk)
                    continue
                self._again.append(_Piece(chunk, points))
            self._start(self._again.popleft())

    def _start(self, piece: _Piece) -> None:
        chunk, points, bounds = piece.chunk, piece.points, self._plan.chunks
        whole = len(points) == bounds[chunk + 1] - bounds[chunk]
        name = f"{self._plan.name} chunk {chunk}/{len(bounds) - 1}"
        task = self._remote.options(name=name if whole else f"{name}, points {points[0]} to {points[-1]}")
        write = self._write if whole else None
        self._flying[task.remote(simulation.compute, self._shared, points, write, chunk)] = piece

    def _wait(self) -> list[Any]:
        """Tasks that have ended; Stopped if none has for too long."""
        done, _ = self._ray.wait(list(self._flying), num_returns=1, timeout=1.0)
        if done:
            self._landed_at = time.monotonic()
        elif time.monotonic() - self._landed_at > self._settings.stall_s:
            raise Stopped(
                1, f"no chunk has finished for {self._settings.stall_s:g} s (runner.stall_s): a node may hang; "
                f"{len(self._flying)} tasks are still running"
            )  # fmt: skip
        return list(done)

    def _land(self, reference: Any) -> Carried | None:
        """Take a task's result; return its chunk if that is complete."""
        piece = self._flying.pop(reference)
        chunk = piece.chunk
        try:
            brought, note = self._ray.get(reference)
        except self._crashes as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, Stopped):  # no room for the worker's commit
                raise cause from None
            unread = ImportError, self._ray.exceptions.RaySystemError  # of the task: a point's errors are rows
            if isinstance(cause, unread) or "failed to import on the worker" in str(cause):
                last = (str(cause).strip().splitlines() or [type(cause).__name__])[-1]
                raise Stopped(1, f"Ray's workers cannot import their code: {last}") from None
            why = self._crashed(piece, error)
            if why is None:
                return None
            said = str(error) if cause is None and why.startswith("its worker died") else why
            brought, log = failed_rows(self._plan, int(piece.points[0]), why, said), self._log_of(reference)
            note = {} if log is None else {"worker_log": log}
        except self._ray.exceptions.RayError as error:
            self._lost += 1
            if self._lost > MOST_LOST:
                raise Stopped(1, f"Ray has lost {self._lost} results: {one_line(error)}") from None
            self._again.append(piece)
            return None
        if not isinstance(brought, pa.Table):
            self._opened.pop(chunk)
            return Carried(chunk, brought, note.pop("failed"), len(self._opened), note)
        opened = self._opened[chunk]
        opened.pieces.append(brought)
        opened.left -= len(piece.points)
        opened.count(note)
        return None if opened.left else self._close(chunk)

    def _crashed(self, piece: _Piece, error: BaseException) -> str | None:
        """Compute a piece again in halves, or alone; the reason of failure if no attempt is left."""
        memory = isinstance(error, self._ray.exceptions.OutOfMemoryError)
        self._opened[piece.chunk].count({"out_of_memory" if memory else "crashed": 1.0})
        if len(piece.points) > 1:
            middle = len(piece.points) // 2
            self._again.extend(_Piece(piece.chunk, half) for half in (piece.points[:middle], piece.points[middle:]))
            return None
        if piece.by_itself < BY_ITSELF:
            self._by_themselves.append(piece)
            return None
        if memory:
            return "its worker ran out of memory"
        cause = getattr(error, "cause", None)
        if cause is not None:  # an error of the process at each attempt: a point's own errors are rows
            first = (str(cause).strip().splitlines() or [""])[0]
            raise Stopped(1, f"point {piece.points[0]}: its worker raised {type(cause).__name__}: {first}")
        return f"its worker died ({type(error).__name__})"

    def _close(self, chunk: int) -> Carried:
        opened = self._opened.pop(chunk)
        table = join_tables(opened.pieces)
        part = part_bytes(self._plan, chunk, table)
        return Carried(chunk, part, len(failures(table)), len(self._opened), opened.note)


def _simulated(
    compute: Compute, plan: Plan, points: Points, write: Write | None, chunk: int
) -> tuple[pa.Table | bytearray | None, dict[str, Any]]:
    """Rows, or what `write` makes of those of a whole chunk; and their note for the journal.

    The note has the log of this worker, as HOST:PATH, if points failed, and after `write` their number.
    """
    table, note = timed(compute, plan, points)
    failed = len(failures(table))
    if failed:
        with suppress(OSError):
            note["worker_log"] = f"{socket.gethostname()}:{os.readlink('/proc/self/fd/2')}"
    return (write(plan, chunk, table), note | {"failed": failed}) if write else (table, note)
