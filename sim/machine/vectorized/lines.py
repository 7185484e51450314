"""Notes on cache lines that CPUs read before they write: each line is modified in one CPU, or shared by several.

C:   after arch/x86/mm/tlb.c  xpfo_flush_tlb_kernel_range(), switch_mm_irqs_off()  (XPFO v8), with cpumask_test_cpu()
     before cpumask_or() and cpumask_test_and_clear_cpu()

Every step serves one flush event in every lane: visit after visit in order of arrival, those of other flush events and
of looks included that come before its last one. Arrays are [cpu, lane] or [line, lane]; [lane] where unsaid; times are
absolute. `compiled/lines.py` has the rules, and says the same one CPU at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.abi import Flush, Line, Own
from sim.events import FlushEvents
from sim.group import Shape
from sim.machine.vectorized.earliest import Earliest
from sim.machine.vectorized.state import Steps, keep
from sim.metrics import Served


@dataclass
class Visitors:
    """The CPUs that make flush events, every field [cpu, lane]."""

    kind: np.ndarray  # of the flush event to come, or in progress
    start: np.ndarray
    arrival: np.ndarray  # at the line that it reads or writes next
    stage: np.ndarray  # twice the lines that it has done with, and one more where it is about to write


@dataclass
class Lookers:
    """The busy CPUs as they look, every field [cpu, lane]."""

    look: np.ndarray  # next arrival at the line; infinite while the note is clear
    clearing: np.ndarray  # has read, and is about to write
    used: np.ndarray  # draws of looks used
    cleared: np.ndarray  # the generation of its line in which it cleared its note: the note is clear in that one


@dataclass
class Held:
    """The lines, every field [line, lane]."""

    owner: np.ndarray  # last writer
    free: np.ndarray  # end of the last occupation
    version: np.ndarray  # writes so far
    generation: np.ndarray  # writes that set notes so far
    clear: np.ndarray  # CPUs whose note is clear
    copy: np.ndarray  # version of which each busy CPU has a copy, [line, cpu, lane]


@dataclass
class Access:
    """One visit to a line in every lane that is open, every field [lane]."""

    looks: np.ndarray  # it is a look's,
    posts: np.ndarray  # or a flush event's
    cpu: np.ndarray
    line: np.ndarray
    writes: np.ndarray  # not a read
    mine: np.ndarray  # the note of this CPU is on the line, and clear
    now: np.ndarray  # its arrival
    end: np.ndarray


class Lines(Steps):
    """The state of all lanes of a group, and the step that serves one flush event in each."""

    def __init__(
        self, shape: Shape, cost: Mapping[str, np.ndarray], flush: Flush, source: FlushEvents, lanes: int
    ) -> None:
        """`cost` has the parameters that the policy reads and looks_per_s, [lane]; `source` draws events and looks."""
        self.shape, self.flush, self.source, self.cost = shape, flush, source, dict(cost)
        self.lines = shape.sockets if flush.post is not None and flush.post.line is Line.NODE else 1
        whole = np.zeros((shape.flushers, lanes), dtype=np.int64)
        self.visitors = Visitors(whole, np.zeros(whole.shape), np.zeros(whole.shape), whole.copy())
        whole = np.zeros((shape.busy, lanes), dtype=np.int64)
        self.lookers = Lookers(np.full(whole.shape, np.inf), whole.astype(bool), whole, whole.copy())
        whole = np.zeros((self.lines, lanes), dtype=np.int64)
        clear = np.full_like(whole, shape.cores // self.lines)  # nobody has posted yet
        copy = np.full((self.lines, shape.busy, lanes), -1)
        self.held = Held(whole, np.zeros(whole.shape), whole.copy(), whole.copy(), clear, copy)
        self.served = Served.nothing(lanes)
        self._lay_out(lanes)
        self.reset()
        for k in range(shape.flushers):
            cpu = np.full(lanes, k)
            compute, kind = source.draw(cpu)
            self._schedule(cpu, compute, kind)
        self._watch()

    def _lay_out(self, lanes: int) -> None:
        """What follows from costs and the number of lanes alone."""
        self.lanes, self.lane = lanes, np.arange(lanes)
        rate = self.cost.get("looks_per_s", np.zeros(lanes))
        self.gap_ns = np.divide(1e9, rate, out=np.full(lanes, np.inf), where=rate > 0.0)  # between looks of a CPU

    def _watch(self) -> None:
        """Who comes next is known without looking at every CPU in every step."""
        self._next_arrival, self._next_looker = Earliest(self.visitors.arrival), Earliest(self.lookers.look)

    @property
    def compute_end(self) -> np.ndarray:
        """When CPUs make their next flush event, [cpu, lane]; any time before now in one."""
        return self.visitors.start

    def keep(self, lanes: np.ndarray) -> None:
        """Drop the lanes that are not in `lanes` (indices)."""
        self.visitors, self.lookers = keep(self.visitors, lanes), keep(self.lookers, lanes)
        self.held, self.served, self.counts = keep(self.held, lanes), keep(self.served, lanes), keep(self.counts, lanes)
        self.cost = {name: value[lanes] for name, value in self.cost.items()}
        self.source.keep(lanes)
        self._lay_out(len(lanes))
        self._watch()

    def _schedule(self, cpu: np.ndarray, start: np.ndarray, kind: np.ndarray) -> None:
        """The next flush event of `cpu` begins at `start`."""
        visitors, at = self.visitors, (cpu, self.lane)
        work = self.source.bookkeeping_ns[kind, self.lane]
        if self.flush.own is Own.BEFORE:  # own flush
            work = work + self.source.local_ns[kind, self.lane]
        visitors.start[at], visitors.arrival[at], visitors.kind[at], visitors.stage[at] = start, start + work, kind, 0

    def step(self) -> None:
        """Serve one flush event in every lane."""
        cpu, end, now = np.zeros(self.lanes, dtype=np.int64), np.zeros(self.lanes), self.served.now.copy()
        unserved = np.ones(self.lanes, dtype=bool)
        while unserved.any():
            access = self._access(unserved)
            self._look(access)
            over = self._visit(access)
            cpu, end = np.where(over, access.cpu, cpu), np.where(over, access.end, end)
            now = np.where(over, access.now, now)
            unserved &= ~over
        self.served.now = now
        self.served.wait_ns = end - self.visitors.start[cpu, self.lane]
        refill_ns = self._refill_ns(self.source.full[self.visitors.kind[cpu, self.lane], self.lane])
        compute, next_kind = self.source.draw(cpu)
        self._schedule(cpu, end + compute + refill_ns, next_kind)
        self._next_arrival.changed(cpu)

    def _access(self, unserved: np.ndarray) -> Access:
        """The next visit to a line reads it or writes it, in lanes whose flush event is not served yet."""
        visitors, lookers, held, counts, lane = self.visitors, self.lookers, self.held, self.counts, self.lane
        visitor, looker = self._next_arrival.row(), self._next_looker.row()  # ties go to the lowest CPU
        of_visitor = (visitor, lane)
        arrival, look, stage = visitors.arrival[of_visitor], lookers.look[looker, lane], visitors.stage[of_visitor]
        looks = unserved & (look < arrival)
        posts = unserved & ~looks
        cpu, now = np.where(looks, looker, visitor), np.where(looks, look, arrival)
        line = np.where(looks, looker, visitor + stage // 2) % self.lines
        writes = np.where(looks, lookers.clearing[looker, lane], stage % 2 == 1)
        at, of_cpu = (line, lane), (line, cpu, lane)
        mine = (line == cpu % self.lines) & (lookers.cleared[cpu, lane] == held.generation[at])
        hits = ~writes & (held.copy[of_cpu] == held.version[at])
        takes, written = unserved & ~hits, unserved & writes
        grant = np.maximum(now, held.free[at])
        near = cpu % self.shape.sockets == held.owner[at] % self.shape.sockets
        transfer = np.where(near, self.cost["mask_line_ns"], self.cost["mask_line_cross_ns"])
        end = np.where(hits, now + self.cost["line_hit_ns"], grant + transfer)
        free = np.where(writes, end, grant + np.minimum(self.cost["line_fill_ns"], transfer))
        held.free[at] = np.where(takes, free, held.free[at])
        held.owner[at] = np.where(written, cpu, held.owner[at])
        held.version[at] += written
        held.copy[of_cpu] = np.where(takes, held.version[at], held.copy[of_cpu])
        counts.queue_ns += np.where(posts & takes, grant - now, 0.0)
        counts.line_misses += posts & takes & ~writes
        counts.line_writes += posts & writes
        counts.line_clears += looks & writes
        return Access(looks, posts, cpu, line, writes, mine, now, end)

    def _look(self, access: Access) -> None:
        """A look has read its line, and will write; or it has cleared its note there."""
        lookers, held = self.lookers, self.held
        at, clears = (access.cpu, self.lane), access.looks & access.writes
        generation = held.generation[access.line, self.lane]
        lookers.look[at] = np.where(access.looks, np.where(clears, np.inf, access.end), lookers.look[at])
        lookers.clearing[at] = np.where(access.looks, ~clears, lookers.clearing[at])
        lookers.cleared[at] = np.where(clears, generation, lookers.cleared[at])
        held.clear[access.line, self.lane] += clears
        self._next_looker.changed(access.cpu)

    def _visit(self, access: Access) -> np.ndarray:
        """A flush event has read a line, or written it, and goes on; where it is over instead, [lane]."""
        visitors, lookers, held, lane = self.visitors, self.lookers, self.held, self.lane
        cpu, at = access.cpu, (access.line, lane)
        others = held.clear[at] > access.mine  # notes of others are clear
        sets = access.posts & access.writes  # cpumask_or()
        self._arm(access, np.flatnonzero(sets & others))
        held.generation[at] += sets
        held.clear[at] = np.where(sets, access.mine, held.clear[at])
        lookers.cleared[cpu, lane] = np.where(  # it leaves itself no note
            sets & access.mine, held.generation[at], lookers.cleared[cpu, lane]
        )
        of_visitor = (np.minimum(cpu, self.shape.flushers - 1), lane)
        stage = visitors.stage[of_visitor] + np.where(access.writes | others, 1, 2)
        over = access.posts & (stage >= 2 * self.lines)
        goes_on = access.posts & ~over
        visitors.stage[of_visitor] = np.where(goes_on, stage, visitors.stage[of_visitor])
        visitors.arrival[of_visitor] = np.where(goes_on, access.end, visitors.arrival[of_visitor])
        self._next_arrival.changed(of_visitor[0])
        return over

    def _arm(self, access: Access, lanes: np.ndarray) -> None:
        """In these lanes (indices) all notes of others are set: CPUs whose note was clear will look, and find it."""
        if not len(lanes):
            return
        lookers, draws, cpu = self.lookers, self.source.entry_draws, np.arange(self.shape.busy)[:, None]
        line = access.line[lanes]
        was_clear = lookers.cleared[:, lanes] == self.held.generation[line, lanes]
        armed = was_clear & (cpu % self.lines == line) & (cpu != access.cpu[lanes])
        used = lookers.used[:, lanes]
        draws.reserve(int(used.max()) + 1)
        index = (self.source.replica_row[lanes] * self.shape.busy + cpu) * draws.length + used
        with np.errstate(over="ignore"):  # of CPUs that never look
            look = access.end[lanes] + draws.tables[0].take(index) * self.gap_ns[lanes]
        lookers.look[:, lanes] = np.where(armed, look, lookers.look[:, lanes])
        lookers.used[:, lanes] = used + armed
        self._next_looker = Earliest(lookers.look)

    def _refill_ns(self, full: np.ndarray) -> np.ndarray:
        """What the misses after its own flush add to a CPU's next compute."""
        if self.flush.own is Own.NEVER:
            return np.zeros(self.lanes)
        self.counts.refills += full
        self.counts.range_misses += ~full
        return np.where(full, self.cost["refill_ns"], self.cost["user_refill_ns"])
