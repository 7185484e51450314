"""The work of a run: simulate and commit missing chunks, and make the results."""

import os
import time
from contextlib import closing, suppress
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sweep.errors import BadInput, Stopped
from sweep.messages import say
from sweep.plan.plan import Plan
from sweep.run import runner
from sweep.run.progress import Progress
from sweep.run.ray import Cluster
from sweep.run.record import check_versions
from sweep.run.request import Request
from sweep.run.reuse import Old
from sweep.run.signals import Signals
from sweep.store import lock, parts
from sweep.store.folder import Folder
from sweep.store.journal import Journal
from sweep.store.results import DIGEST, FAILED, NAME, compact, is_complete


class Work:
    """One run of a plan, by the driver that has locked its folder; `run` is the content of run.json."""

    def __init__(
        self, request: Request, plan: Plan, run: dict[str, Any], old: Old | None, folder: Folder, held: lock.Lock,
        journal: Journal, signals: Signals,
    ) -> None:  # fmt: skip
        self.request, self.plan, self.run, self.old, self.folder = request, plan, run, old, folder
        self.held, self.journal, self.signals = held, journal, signals
        self.cluster = Cluster(request.runner, self._end_process)
        self._again: set[int] = set()  # chunks whose failed points are computed again
        self._logs: list[str] = []  # of Ray's workers whose points failed, HOST:PATH

    def carry(self) -> int:
        """Simulate and commit missing chunks, make the results; the number of failed points."""
        request, plan, folder, old = self.request, self.plan, self.folder, self.old
        folder.remove_temporaries("", "parts", "tables", "plots")
        good, bad = parts.check_parts(folder, plan)
        if request.settings.retry_failed:
            self._again = {chunk for chunk, failed in good.items() if failed}
        kept = good.keys() - self._again
        chunks = len(plan.chunks) - 1
        cost = plan.chunk_cost_s()
        todo = sorted(set(range(chunks)) - kept, key=lambda chunk: (-cost[chunk], chunk))  # most expensive first
        if todo and good:
            check_versions(folder, self.run)
        for chunk, wrong in bad.items():
            request.say(f"part {chunk}: {wrong}: set aside as {parts.set_aside(folder, chunk)}")
        if self._again:
            request.say(f"failed points in {len(self._again)} chunks are computed again")
            for name in (DIGEST, NAME, FAILED):  # made from the replaced parts
                folder.remove(name)
        if kept:
            request.say(f"{len(kept)} of {chunks} chunks are already done")
        if todo:
            self._simulate(todo, cost)
        if old:
            request.say(f"{old.taken} of {len(plan)} points were reused from {request.settings.reuse}")
        failed = sum(good.values())
        if todo or not is_complete(folder, failed):
            folder.remove_temporaries("parts")  # of workers killed during a commit
            return compact(folder, plan)
        return failed

    def stop(self, why: str) -> None:
        """Record and say why the run ends early, the number of committed chunks, and how to continue."""
        self.journal.note("stop", why=why)
        chunks, there = len(self.plan.chunks) - 1, 0
        with suppress(BadInput, OSError):
            there = len(parts.committed(self.folder, chunks))
        say(f"sweep: {why}; {there} of {chunks} chunks are committed in {self.folder}; the same command continues")

    def _end_process(self, why: str) -> None:
        """End a driver whose Ray is gone, from another thread or process; committed chunks stay."""
        self.stop(why)
        self.journal.close()
        self.held.release()
        os._exit(1)

    def _known(self, chunk: int) -> pa.Table | None:
        """Rows that need no computing: the good ones of a chunk that is computed again, or those of an older run."""
        if chunk not in self._again:
            return self.old.find(chunk) if self.old else None
        table = parts.read_part(self.folder, self.plan, chunk)
        return table.filter(pc.equal(table["status"], "ok")).replace_schema_metadata(None)

    def where_logs(self) -> str:
        """The log of a worker with failed points, as the end of a sentence; or empty."""
        if not self._logs:
            return ""
        more = f", and journal.jsonl has {len(self._logs) - 1} more" if len(self._logs) > 1 else ""
        return f"; the log of their worker, as HOST:FILE, is {self._logs[0]}{more}"

    def _simulate(self, todo: list[int], cost_s: np.ndarray) -> None:
        """Carry these chunks to processors and commit them; `cost_s` is estimated for each chunk."""
        request, plan, folder, estimate_s = self.request, self.plan, self.folder, float(cost_s[todo].sum())
        most = request.settings.max_failures
        kind, why = request.runner.choose(estimate_s)
        why += f"; {plan.engine}" + (f" ({plan.engine_because})" if plan.engine_because else "")
        chunks = len(plan.chunks) - 1
        request.say(f"{plan.name}: {len(plan)} points x {plan.replicas} replicas in {chunks} chunks; {why}")
        self.journal.note("start", runner=kind, chunks=chunks, todo=len(todo), commit=self.run["commit"])
        if kind == "serial":
            carrying = runner.serial(plan, todo, self._known)
        else:
            write = partial(parts.write_part, folder) if request.runner.commit == "workers" else parts.part_bytes
            carrying = self.cluster.carry(plan, todo, self._known, write)
        sizes = np.diff(plan.chunks).tolist()
        failed, begun_s, cpus = 0, time.monotonic(), None
        before = done = len(plan) - sum(sizes[chunk] for chunk in todo)
        with (
            Progress(len(plan), request.settings.quiet, before=before, work_s=estimate_s) as shown,
            closing(carrying) as carried,
        ):
            for each in carried:
                points = sizes[each.chunk]
                with self.signals.commit():
                    self._commit(each, points)
                failed += each.failed
                done += points
                if log := each.note.get("worker_log"):
                    self._logs.append(log)
                if most is not None and failed > most:
                    raise Stopped(3, f"{failed} points failed, and max_failures={most}{self.where_logs()}")
                if kind == "ray":
                    rate = (done - before) / (time.monotonic() - begun_s)
                    cpus = self.cluster.report(str(folder), len(plan), done, rate)
                shown.advance(points, float(cost_s[each.chunk]), failures=each.failed, cpus=cpus)

    def _commit(self, carried: runner.Carried, points: int) -> None:
        """Commit a chunk, or check that its worker has."""
        self.held.running = carried.running
        self.held.check()
        name = parts.part_name(carried.chunk)
        if carried.part is not None:
            self.folder.write(name, carried.part)
        elif not self.folder.exists(name):
            raise Stopped(
                1, f"chunk {carried.chunk}, committed on {carried.note['worker_host']}, is not in {self.folder}: "
                "with runner.commit=workers, out= must be one folder for all machines"
            )  # fmt: skip
        self.journal.note("chunk", chunk=carried.chunk, points=points, failed=carried.failed, **carried.note)
