"""The tasks of one plan on a cluster: a bounded window of them, retried or halved if a worker dies."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from sweep.errors import Stopped
from sweep.inputs.settings import Runner
from sweep.plan.plan import Plan
from sweep.run import compute as simulation
from sweep.run.head import Watch
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


@dataclass(frozen=True)
class _Piece:
    """Points of a chunk for one task."""

    chunk: int
    points: Points
    by_itself: int = 0  # attempts with no other task running

    def halves(self) -> list[_Piece]:
        middle = len(self.points) // 2
        return [_Piece(self.chunk, self.points[:middle]), _Piece(self.chunk, self.points[middle:])]


class Flight:
    """The tasks of one plan.

    Ray computes a chunk again when its worker or node dies. Points whose worker runs out of memory, or dies each time,
    are computed in halves, down to the point at fault. That point fails if its worker dies twice with no other task
    running: out of memory, the task that is killed need not be the one that uses the memory.
    """

    def __init__(
        self, ray: Any, plan: Plan, settings: Runner, known: Known, write: Write, watch: Watch | None = None,
        log_of: Callable[[Any], str | None] = lambda task: None,
    ) -> None:  # fmt: skip
        self._ray, self._plan, self._settings, self._known, self._write = ray, plan, settings, known, write
        self._watch, self._log_of = watch, log_of
        self._crashes = (
            ray.exceptions.OutOfMemoryError, ray.exceptions.WorkerCrashedError, ray.exceptions.RayTaskError,
        )  # fmt: skip
        remote = ray.remote(max_retries=3, scheduling_strategy="SPREAD")
        self._timed_points, self._timed_part = remote(_timed_points), remote(_timed_part)
        self._shared = ray.put(plan)
        self._again: deque[_Piece] = deque()  # next to compute
        self._by_themselves: deque[_Piece] = deque()  # points to compute with no other task running
        self._flying: dict[Any, _Piece] = {}
        self._single: Any = None  # the task that runs alone
        self._opened: dict[int, _Opened] = {}
        self._window, self._window_at, self._landed_at, self._lost = 0, 0.0, time.monotonic(), 0

    def carry(self, chunks: Sequence[int]) -> Generator[Carried, None, None]:
        """Every chunk, in order of completion."""
        todo = iter(chunks)
        while True:
            if self._watch:
                self._watch.turn()
            self._send_by_itself()
            yield from self._send(todo)
            if not self._flying:
                return
            for reference in self._wait():
                if (carried := self._land(reference)) is not None:
                    yield carried

    def _send_by_itself(self) -> None:
        if self._by_themselves and not self._flying:
            piece = self._by_themselves.popleft()
            time.sleep(piece.by_itself)  # a killed worker frees its memory
            piece = replace(piece, by_itself=piece.by_itself + 1)
            self._single = self._task(piece)
            self._flying[self._single] = piece

    def _send(self, todo: Iterator[int]) -> Generator[Carried, None, None]:
        """Fill the window with tasks; chunks that need no computing are yielded at once."""
        now = time.monotonic()
        if now - self._window_at > WINDOW_S:
            cpus = self._ray.cluster_resources().get("CPU", 1)
            self._window, self._window_at = max(1, int(self._settings.tasks_per_cpu * cpus)), now
        while not self._by_themselves and self._single is None and len(self._flying) < self._window:
            if not self._again:
                chunk = next(todo, None)
                if chunk is None:
                    return
                table, points = missing(self._plan, chunk, self._known)
                self._opened[chunk] = _Opened([] if table is None else [table], len(points))
                if not len(points):
                    yield self._close(chunk)
                    continue
                self._again.append(_Piece(chunk, points))
            piece = self._again.popleft()
            self._flying[self._task(piece)] = piece

    def _task(self, piece: _Piece) -> Any:
        chunk, points, bounds = piece.chunk, piece.points, self._plan.chunks
        name = f"{self._plan.name} chunk {chunk}/{len(bounds) - 1}"
        if len(points) < bounds[chunk + 1] - bounds[chunk]:
            part = self._timed_points.options(name=f"{name}, points {points[0]} to {points[-1]}")
            return part.remote(simulation.compute, self._shared, points)
        whole = self._timed_part.options(name=name)
        return whole.remote(simulation.compute, self._shared, points, self._write, chunk)

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
        self._single = None
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
            lost = note.pop("failed")
            return Carried(chunk, brought, lost, len(self._opened), note)
        if self._opened[chunk].add(brought, len(piece.points), note):
            return self._close(chunk)
        return None

    def _crashed(self, piece: _Piece, error: BaseException) -> str | None:
        """Compute a piece again in halves, or alone; the reason of failure if no attempt is left."""
        memory = isinstance(error, self._ray.exceptions.OutOfMemoryError)
        self._opened[piece.chunk].count("out_of_memory" if memory else "crashed")
        if len(piece.points) > 1:
            self._again.extend(piece.halves())
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


@dataclass
class _Opened:
    """A chunk with some points done, and some not."""

    pieces: list[pa.Table]
    left: int  # points
    note: dict[str, Any] = field(default_factory=dict)

    def add(self, table: pa.Table, points: int, note: Mapping[str, Any]) -> bool:
        """Add a piece; whether it was the last one."""
        self.pieces.append(table)
        self.left -= points
        for name, value in note.items():
            self.note[name] = self.note.get(name, 0.0) + value if isinstance(value, float) else value
        return self.left == 0

    def count(self, what: str) -> None:
        self.note[what] = self.note.get(what, 0.0) + 1.0


def _timed_points(compute: Compute, plan: Plan, points: Points) -> tuple[pa.Table, dict[str, Any]]:
    """As `timed`; the note has the place of this worker's log, if points failed."""
    table, note = timed(compute, plan, points)
    return table, note | _own_log(table)


def _timed_part(
    compute: Compute, plan: Plan, points: Points, write: Write, chunk: int
) -> tuple[bytearray | None, dict[str, Any]]:
    """The same for a whole chunk, which is also written; the note also has the number of failed points."""
    table, note = timed(compute, plan, points)
    return write(plan, chunk, table), {**note, **_own_log(table), "failed": len(failures(table))}


def _own_log(table: pa.Table) -> dict[str, str]:
    """HOST:PATH of Ray's log of this worker, if points failed."""
    with suppress(OSError):
        if failures(table):
            return {"worker_log": f"{socket.gethostname()}:{os.readlink('/proc/self/fd/2')}"}
    return {}
