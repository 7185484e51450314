"""The work of a run: simulate and commit missing chunks, and make the results."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from sweep.errors import Stopped
from sweep.messages import say
from sweep.plan.plan import Plan
from sweep.run import runner
from sweep.run.progress import progress
from sweep.run.ray import Cluster
from sweep.run.record import check_versions, claimed
from sweep.run.request import Request
from sweep.run.reuse import Old
from sweep.run.signals import Signals
from sweep.store import lock
from sweep.store.folder import Folder
from sweep.store.journal import Journal
from sweep.store.parts import (
    check_parts,
    chunks_with_failures,
    part_bytes,
    part_name,
    read_part,
    remove_unfinished,
    set_aside,
    write_part,
)
from sweep.store.results import DIGEST, FAILED, NAME, compact, count_failures, is_complete


@dataclass
class Work:
    """One run of a plan, by the driver that has locked its folder."""

    request: Request
    plan: Plan
    run: dict[str, Any]  # content of run.json
    folder: Folder
    held: lock.Lock
    journal: Journal
    cluster: Cluster
    signals: Signals
    old: Old | None
    logs: list[str] = field(default_factory=list)  # of Ray's workers whose points failed, HOST:PATH

    def carry(self) -> int:
        """Simulate and commit missing chunks, make the results; the number of failed points."""
        with claimed(self.folder, self.run):
            return self._carry()

    def _carry(self) -> int:
        request, plan, folder, old = self.request, self.plan, self.folder, self.old
        folder.remove_temporaries("", "tables", "plots")
        good, bad = check_parts(folder, plan)
        known = old.find if old else runner.nothing_known
        again = chunks_with_failures(folder, good) if request.retry_failed else set()
        kept = good - again
        chunks = len(plan.chunks) - 1
        cost = plan.chunk_cost_s()
        todo = sorted(set(range(chunks)) - kept, key=lambda chunk: (-cost[chunk], chunk))  # most expensive first
        if todo and good:
            check_versions(folder, self.run)
        for chunk, wrong in bad.items():
            self._say(f"part {chunk}: {wrong}: set aside as {set_aside(folder, chunk)}")
        if again:
            self._say(f"failed points in {len(again)} chunks are computed again")
            known = partial(_good_rows, folder, plan, again, known)
            for name in (DIGEST, NAME, FAILED):  # made from the replaced parts
                folder.remove(name)
        if kept:
            self._say(f"{len(kept)} of {chunks} chunks are already done")
        if todo:
            self._simulate(todo, cost, known)
        if old:
            self._say(f"{old.taken} of {len(plan)} points were reused from {request.reuse}")
        if todo or not is_complete(folder, plan):
            remove_unfinished(folder)
            return compact(folder, plan)
        return count_failures(folder)

    def where_logs(self) -> str:
        """The log of a worker with failed points, as the end of a sentence; or empty."""
        if not self.logs:
            return ""
        more = f", and journal.jsonl has {len(self.logs) - 1} more" if len(self.logs) > 1 else ""
        return f"; the log of their worker, as HOST:FILE, is {self.logs[0]}{more}"

    def _say(self, text: str) -> None:
        if not self.request.quiet:
            say(text)

    def _simulate(self, todo: list[int], cost_s: np.ndarray, known: runner.Known) -> None:
        """Carry these chunks to processors and commit them; `cost_s` is estimated for each chunk."""
        request, plan, folder, estimate_s = self.request, self.plan, self.folder, float(cost_s[todo].sum())
        kind, why = request.runner.choose(estimate_s)
        why += f"; {plan.engine}" + (f" ({plan.engine_because})" if plan.engine_because else "")
        chunks = len(plan.chunks) - 1
        self._say(f"{plan.name}: {len(plan)} points x {plan.replicas} replicas in {chunks} chunks; {why}")
        self.journal.note("start", runner=kind, chunks=chunks, todo=len(todo), commit=self.run["commit"])
        points = np.diff(plan.chunks)
        write = partial(write_part, folder) if request.runner.commit == "workers" else part_bytes
        failed, begun_s = 0, time.monotonic()
        before = done = int(points.sum() - points[todo].sum())
        with (
            progress(len(plan), request.quiet, before=before, work_s=estimate_s) as advance,
            closing(
                runner.serial(plan, todo, known) if kind == "serial" else self.cluster.carry(plan, todo, known, write)
            ) as carried,
        ):
            for each in carried:
                with self.signals.commit():
                    self._commit(each, int(points[each.chunk]))
                failed += each.failed
                done += int(points[each.chunk])
                if log := each.note.get("worker_log"):
                    self.logs.append(log)
                if request.max_failures is not None and failed > request.max_failures:
                    raise Stopped(
                        3, f"{failed} points failed, and max_failures={request.max_failures}{self.where_logs()}"
                    )
                cpus = None
                if kind == "ray":
                    cpus = self.cluster.cpus_busy()
                    rate = (done - before) / (time.monotonic() - begun_s)
                    self.cluster.report(str(folder), len(plan), done, rate)
                advance(int(points[each.chunk]), float(cost_s[each.chunk]), failures=each.failed, cpus=cpus)

    def _commit(self, carried: runner.Carried, points: int) -> None:
        """Commit a chunk, or check that its worker has."""
        self.held.running = carried.running
        self.held.check()
        name = part_name(carried.chunk)
        if carried.part is not None:
            self.folder.write(name, carried.part)
        elif not self.folder.exists(name):
            raise Stopped(
                1, f"chunk {carried.chunk}, committed on {carried.note['worker_host']}, is not in {self.folder}: "
                "with runner.commit=workers, out= must be one folder for all machines"
            )  # fmt: skip
        self.journal.note("chunk", chunk=carried.chunk, points=points, failed=carried.failed, **carried.note)


def _good_rows(folder: Folder, plan: Plan, again: set[int], otherwise: runner.Known, chunk: int) -> pa.Table | None:
    """The good rows of a chunk that is computed again."""
    if chunk not in again:
        return otherwise(chunk)
    table = read_part(folder, plan, chunk)
    good = pa.array([status == "ok" for status in table["status"].to_pylist()])
    return table.filter(good).replace_schema_metadata(None)
